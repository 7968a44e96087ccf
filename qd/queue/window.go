package queue

import "sort"

// chunk is the part of a window that lies in one block: for each message
// delivered from it, the lease that it is under.
type chunk struct {
	first  uint64 // ID of the message of entries[0]
	pos    uint64 // its position, in a topic that has a log
	block  *Block // nil once the chunk is spent
	at     int    // index in the block of entries[0]
	leases []uint32
	open   int  // entries under a lease
	left   bool // the cursor went elsewhere before the end of the block
}

// rest is the number of messages of the block not yet delivered.
func (ch *chunk) rest() int {
	if ch.left {
		return 0
	}
	return ch.block.Len() - ch.at - len(ch.leases)
}

// over reports whether no more can be delivered from the chunk's block.
func (ch *chunk) over() bool { return ch.left || ch.block.sealed && ch.rest() == 0 }

// frame returns the frame of the message of entry i.
func (ch *chunk) frame(i int) []byte { return ch.block.span(ch.at+i, ch.at+i+1) }

// window holds the chunks between the oldest unanswered message and the
// cursor, in the order of their IDs.
type window struct {
	chunks fifo[*chunk]
	hint   *chunk   // where the last answer was: the next one is likely there too
	spare  []*chunk // spent ones, to be used again
}

func (w *window) begin(s span) *chunk {
	var ch *chunk
	if n := len(w.spare); n > 0 {
		ch, w.spare = w.spare[n-1], w.spare[:n-1]
	} else {
		ch = new(chunk)
	}
	*ch = chunk{
		// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
		first: s.block.first + uint64(s.from), pos: s.block.pos + uint64(s.from),
		block: s.block, at: s.from, leases: ch.leases[:0],
	}
	w.chunks.push(ch)
	return ch
}

// find returns the chunk with the entry of the message, and its index, or nil.
func (w *window) find(id uint64) (*chunk, int) {
	ch := w.hint
	if ch == nil || id-ch.first >= uint64(len(ch.leases)) {
		// IDs rise from chunk to chunk, since a topic never goes back.
		i := sort.Search(w.chunks.len(), func(i int) bool { return w.chunks.at(i).first > id })
		if i == 0 {
			return nil, 0
		}
		ch = w.chunks.at(i - 1)
		if ch.block == nil || id-ch.first >= uint64(len(ch.leases)) {
			return nil, 0
		}
		w.hint = ch
	}
	// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
	return ch, int(id - ch.first)
}

// spend gives up a chunk without open entries, and returns its block. Its
// place in the order is kept until it is the first.
func (w *window) spend(ch *chunk) *Block {
	b := ch.block
	ch.block = nil
	if w.hint == ch {
		w.hint = nil
	}
	for w.chunks.len() > 0 && w.chunks.at(0).block == nil {
		if spent := w.chunks.pop(); len(w.spare) < 8 {
			w.spare = append(w.spare, spent)
		}
	}
	return b
}

// clogged returns the oldest chunk if its messages should be parked, so that
// stuck messages neither keep the order of spent chunks growing behind them
// nor each hold a whole block: few of the messages in the blocks that are held
// are open, or most chunks are spent.
func (w *window) clogged() *chunk {
	const few = 16 // chunks that are not worth the trouble
	n := w.chunks.len()
	if n <= few {
		return nil
	}
	spent, open, held := 0, 0, 0
	for i := range n {
		if ch := w.chunks.at(i); ch.block == nil {
			spent++
		} else {
			open += ch.open
			held += len(ch.leases)
		}
	}
	if oldest := w.chunks.at(0); 2*spent > n || open*16 < held || oldest.open*16 < len(oldest.leases) {
		return oldest
	}
	return nil
}
