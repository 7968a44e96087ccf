package queue

// backlog is a sequence of blocks of which a middle part may lie on disk:
//
//	head (memory) → disk → tail (memory)
//
// Blocks enter the tail or, while nothing lies behind it, the head. What is in
// the tail beyond the memory allowed goes to disk in order; what is on disk
// comes back to the head in order. The backlog itself moves nothing: it says
// what is to be moved, by write and read, and is told when that is done.
type backlog struct {
	head, tail fifo[span]
	disk       Disk

	writing bool // the tail's first span is on its way to disk
	reading bool // the first block on disk is on its way to the head
	wanted  bool // somebody waits for, or will soon need, what is on disk
	purging bool // what is on disk is to be deleted
	epoch   int  // counts clearings, so that work begun before one is known
	hasRead bool // the last thing moved came from disk: it is the writes' turn

	next    uint64 // ID of the first message on disk; 0 if that is not known
	damaged bool   // what lay before it could not be read
}

// Disk is what a backlog has on disk.
type Disk struct {
	Blocks   int `json:"blocks"`
	Messages int `json:"messages"`
}

// ahead is how many blocks are read before they are needed; one while memory
// is tight.
const ahead = 4

// messages is the number of messages in memory.
func (b *backlog) messages() int { return messagesIn(&b.head) + messagesIn(&b.tail) }

func messagesIn(spans *fifo[span]) int {
	n := 0
	for i := range spans.len() {
		n += spans.at(i).messages()
	}
	return n
}

// onDisk reports whether the next blocks behind the head are on disk, or on
// their way there or back.
func (b *backlog) onDisk() bool { return b.disk.Blocks > 0 || b.writing || b.reading }

// push adds a block at the end. full says that the backlog has its share of
// memory already.
func (b *backlog) push(s span, full bool) {
	s.block.refs++
	if !full && !b.onDisk() && b.tail.len() == 0 && !b.purging {
		b.head.push(s)
	} else {
		b.tail.push(s)
	}
}

// pop removes the first block. When ok is false, there is none, or stalled is
// true: it has to come from disk first.
func (b *backlog) pop() (s span, ok, stalled bool) {
	if b.head.len() == 0 && b.tail.len() > 0 && !b.onDisk() {
		for b.tail.len() > 0 {
			b.head.push(b.tail.pop())
		}
	}
	if b.head.len() <= ahead/2 && b.onDisk() {
		b.wanted = true
	}
	if b.head.len() == 0 {
		return span{}, false, b.onDisk()
	}
	return b.head.pop(), true, false
}

// forgetEmpty removes the last span if it is the end of block b, now sealed,
// and nothing came there. The span's hold on the block is the caller's then.
func (b *backlog) forgetEmpty(block *Block) bool {
	for _, spans := range []*fifo[span]{&b.tail, &b.head} {
		if n := spans.len(); n > 0 {
			last := spans.at(n - 1)
			if last.block != block || last.messages() > 0 {
				return false
			}
			spans.dropLast()
			return true
		}
	}
	return false
}

// work says what is to be moved next. full is as for push; tight is that memory
// is. Reads and writes
// take turns: a reader as fast as the disk must not let the tail grow, nor a
// writer starve the reader.
func (b *backlog) work(full, tight bool) WorkKind {
	reads := b.wanted && b.disk.Blocks > 0 && b.head.len() < ahead && !(tight && b.head.len() > 0)
	writes := b.tail.len() > 0 && b.tail.at(0).block.sealed && (full || b.disk.Blocks > 0)
	switch {
	case b.writing || b.reading:
		return nothing // one thing at a time keeps the order
	case b.purging:
		return Purge
	case reads && !(writes && b.hasRead):
		return Read
	case writes:
		return Write
	}
	return nothing
}

// behind is how many blocks wait to be written. full is as for push.
func (b *backlog) behind(full bool) int {
	n := b.tail.len()
	if n == 0 || !full && !b.onDisk() {
		return 0
	}
	if !b.tail.at(n - 1).block.sealed {
		n-- // not before it is full
	}
	return n
}

// clear forgets everything and returns the spans whose blocks are to be let
// go. What is on disk, or on its way there, has to be purged.
func (b *backlog) clear() (dropped []span) {
	if b.writing || b.reading || b.disk.Blocks > 0 {
		b.purging = true
	}
	for b.head.len() > 0 {
		dropped = append(dropped, b.head.pop())
	}
	for b.tail.len() > 0 {
		dropped = append(dropped, b.tail.pop())
	}
	*b = backlog{purging: b.purging, writing: b.writing, reading: b.reading, epoch: b.epoch + 1}
	return dropped
}
