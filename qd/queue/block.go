// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative.

package queue

import (
	"encoding/binary"
	"errors"
	"sort"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Sizes of blocks in bytes. A topic's first block is small and each next one
// four times as large, so that a thousand topics with a message each cost
// little and a busy one works on large runs. A message larger than a block
// has a block to itself.
const (
	MinBlock = 4 << 10
	MaxBlock = 256 << 10
	// tightBlock is the largest block while memory is short: what cannot be
	// spilled is the block that each topic is writing to.
	tightBlock = 16 << 10
)

// Block holds messages with consecutive IDs as the frames of their next
// delivery. Frames are appended until the block is sealed; bytes that are
// there never change, so a run of them may be written to a socket while more
// are appended behind it.
type Block struct {
	first  uint64   // ID of the first message
	pos    uint64   // its position, in a topic that has a log
	frames []byte   // frame after frame
	ends   []uint32 // where in frames each message ends
	stamps []stamp  // when they were published
	n      int      // messages that may be delivered; those behind are staged
	refs   int      // holders: the topic, backlogs, windows, runs
	sealed bool     // nothing is appended any more
}

// stamped reports whether the stamps say what the frames do.
func (b *Block) stamped() bool {
	from := 0
	for _, s := range b.stamps {
		to := int(s.end)
		if to <= from || to > len(b.ends) || publishedIn(b.span(from, from+1)) != s.at || !s.covers(publishedIn(b.span(to-1, to))) {
			return false
		}
		from = to
	}
	return from == len(b.ends)
}

// NewBlock returns an empty block that keeps its frames in memory, all of it.
func NewBlock(memory []byte) *Block { return &Block{frames: memory[:0]} }

// Cap is the number of bytes that the block has room for.
func (b *Block) Cap() int { return cap(b.frames) }

// Len is the number of messages in the block that may be delivered.
func (b *Block) Len() int { return b.n }

// end is the position behind the last of them.
func (b *Block) end() uint64 { return b.pos + uint64(b.n) }

// First is the ID number of the block's first message.
func (b *Block) First() uint64 { return b.first }

// Reset makes the block empty, for a Store that uses it again.
func (b *Block) Reset() { *b = Block{frames: b.frames[:0], ends: b.ends[:0], stamps: b.stamps[:0]} }

func (b *Block) start(i int) uint32 {
	if i == 0 {
		return 0
	}
	return b.ends[i-1]
}

// span returns the frames of messages i up to but not including j.
func (b *Block) span(i, j int) []byte {
	from, to := b.start(i), b.start(j)
	return b.frames[from:to:to]
}

func (b *Block) room() int { return cap(b.frames) - len(b.frames) }

// append stages a message; the caller has checked that there is room, and has
// messages stamped that are published together.
func (b *Block) append(now int64, body []byte) {
	at := len(b.frames)
	end := at + protocol.MessageOverhead + len(body)
	b.frames = b.frames[:end]
	protocol.PutMessageHeader(b.frames[at:], now, 1, b.first+uint64(len(b.ends)), len(body))
	copy(b.frames[at+protocol.BodyOffset:], body)
	b.ends = append(b.ends, uint32(end))
}

// stamp is when neighbours were published: all before end that are in no stamp
// before. It is in their frames, too, but whoever ends them would have to fetch
// these from another processor's cache. Those that were published within grain of
// the first one share its stamp, so single publishes in a row do not need one each.
type stamp struct {
	at  int64
	end uint32
}

// grain is how much longer than it was, at most, a latency appears, in ns.
const grain = int64(10 * time.Microsecond)

func (s stamp) covers(at int64) bool { return at >= s.at && at-s.at < grain }

// stamp notes when what is behind the last stamp was published.
func (b *Block) stamp(at int64) {
	n := len(b.stamps)
	if n == 0 || !b.stamps[n-1].covers(at) {
		b.stamps = append(b.stamps, stamp{at: at})
		n++
	}
	b.stamps[n-1].end = uint32(len(b.ends))
}

// stampOf returns when message i was published, and which messages around it
// were then: from up to but not including to.
func (b *Block) stampOf(i int) (at int64, from, to int) {
	j := sort.Search(len(b.stamps), func(j int) bool { return int(b.stamps[j].end) > i })
	if j > 0 {
		from = int(b.stamps[j-1].end)
	}
	return b.stamps[j].at, from, int(b.stamps[j].end)
}

// show lets what is staged be delivered.
func (b *Block) show() { b.n = len(b.ends) }

// unstage forgets what is staged.
func (b *Block) unstage() {
	b.ends = b.ends[:b.n]
	b.frames = b.frames[:b.start(b.n)]
	n := len(b.stamps)
	for ; n > 0 && int(b.stamps[n-1].end) > b.n; n-- {
		if n == 1 || int(b.stamps[n-2].end) < b.n { // some of these stay
			b.stamps[n-1].end = uint32(b.n)
			break
		}
	}
	b.stamps = b.stamps[:n]
	if b.n == 0 {
		b.stamps = b.stamps[:0]
	}
}

// ErrFrames is returned for bytes that are not frames of consecutive messages.
var ErrFrames = errors.New("not the frames of consecutive messages")

// Load fills an empty block with a copy of frames, which must be those of
// consecutive messages, and seals it.
func (b *Block) Load(frames []byte) error {
	b.frames = append(b.frames[:0], frames...)
	b.ends, b.stamps = b.ends[:0], b.stamps[:0]
	b.sealed = true
	for at := 0; at < len(frames); {
		rest := frames[at:]
		if len(rest) < protocol.MessageOverhead {
			return ErrFrames
		}
		size := int(binary.BigEndian.Uint32(rest)) + 4
		id, ok := protocol.ParseID(rest[protocol.IDOffset:protocol.BodyOffset])
		if !ok || size < protocol.MessageOverhead || size > len(rest) ||
			binary.BigEndian.Uint32(rest[4:]) != uint32(protocol.FrameMessage) {
			return ErrFrames
		}
		if at == 0 {
			b.first = id
		} else if id != b.first+uint64(len(b.ends)) {
			return ErrFrames
		}
		at += size
		b.ends = append(b.ends, uint32(at))
		b.stamp(publishedIn(rest))
	}
	b.show()
	return nil
}

// Store provides blocks and counts the bytes in use. Its implementation is
// shared by all topics, so it is safe for concurrent use, and it never calls
// back.
type Store interface {
	// Block returns an empty block with room for at least size bytes.
	Block(size int) *Block
	// Recycle takes back a block that nobody holds.
	Recycle(*Block)
	// Charge counts bytes held outside blocks; negative, bytes given up.
	Charge(bytes int)
	// Tight reports whether so much memory is in use that what can go to disk
	// should.
	Tight() bool
	// Full reports whether no more memory should be used at all.
	Full() bool
	// ParkedLimit is how many bytes of parked messages a channel may have
	// before it gets no first deliveries, which could become more of them.
	ParkedLimit() int
}

// span is a block, or its end from a message on, waiting in a backlog. Whoever
// holds the span holds a reference to the block.
type span struct {
	block *Block
	from  int
}

func (s span) messages() int { return s.block.Len() - s.from }

// Memory is the block's memory, empty, for the frames that Load will be given.
func (b *Block) Memory() []byte { return b.frames[:0] }
