package millrace

import (
	"encoding/binary"
	"fmt"

	"github.com/millrace-mq/millrace/protocol"
)

// The sizes in bytes of the chunks that a connection is read into. They grow
// while reads fill them, so that an idle connection costs little and a busy one
// takes few system calls.
const (
	minChunk = 4 << 10
	maxChunk = 128 << 10
)

// inbox cuts a stream into frames where they lie. It reads into chunks that it
// fills once and never writes to again, so that what is cut from them is its
// user's for good, or, if it recycles, until all users have let go of the page.
type inbox struct {
	recycles   bool
	page       *page  // that chunk is of; nil if it does not recycle
	chunk      []byte // its first end bytes are filled
	start, end int    // the bytes between them are not cut yet
	size       int    // of the next chunk
}

// space returns the room to read into: some bytes at least. It moves an
// incomplete frame to a new chunk when the old one has little room left.
func (b *inbox) space() []byte {
	if b.page != nil && b.start == b.end && b.page.holders.Load() == 1 {
		b.start, b.end = 0, 0 // nobody holds anything of it any more
	}
	if len(b.chunk)-b.end >= len(b.chunk)/8 && b.end < len(b.chunk) {
		return b.chunk[b.end:]
	}
	if b.end == len(b.chunk) {
		b.size = min(max(minChunk, 4*b.size), maxChunk)
	}
	rest := b.chunk[b.start:b.end]
	// A frame longer than a chunk gets room as its bytes come, whatever length
	// it claims.
	old := b.page
	b.turnTo(max(b.size, 2*len(rest)))
	b.start, b.end = 0, copy(b.chunk, rest)
	if old != nil {
		old.letGo()
	}
	return b.chunk[b.end:]
}

// turnTo begins a chunk of size bytes.
func (b *inbox) turnTo(size int) {
	if !b.recycles {
		b.chunk = make([]byte, size)
		return
	}
	b.page = newPage(size)
	b.chunk = b.page.bytes
}

// filled says that n bytes were read into space.
func (b *inbox) filled(n int) { b.end += n }

// count returns how many complete message frames can be cut, up to the first
// frame that is incomplete or whose size is out of range.
func (b *inbox) count() (messages int) {
	for at := b.start; ; {
		size, ok := b.frameSize(at)
		if !ok || size < 4 || b.end-at-4 < size {
			return messages
		}
		// #nosec G115 -- the same 32 bits, only compared
		if protocol.FrameType(binary.BigEndian.Uint32(b.chunk[at+4:])) == protocol.FrameMessage {
			messages++
		}
		at += 4 + size
	}
}

// next cuts one frame. ok is false when no complete one is there.
func (b *inbox) next() (t protocol.FrameType, data []byte, ok bool, err error) {
	size, ok := b.frameSize(b.start)
	switch {
	case !ok:
		return 0, nil, false, nil
	case size < 4 || size > maxFrame:
		return 0, nil, false, fmt.Errorf("%w: %d not in 4-%d", protocol.ErrFrameSize, size, maxFrame)
	case b.end-b.start-4 < size:
		return 0, nil, false, nil
	}
	end := b.start + 4 + size
	// #nosec G115 -- the same 32 bits: a type that is none is refused by who reads it
	t = protocol.FrameType(binary.BigEndian.Uint32(b.chunk[b.start+4:]))
	// The capacity ends with the frame: appending to a body must not reach
	// the next message.
	data = b.chunk[b.start+protocol.FrameHeaderSize : end : end]
	b.start = end
	return t, data, true, nil
}

func (b *inbox) frameSize(at int) (size int, ok bool) {
	if b.end-at < protocol.FrameHeaderSize {
		return 0, false
	}
	// #nosec G115 -- signed in the protocol; below 4 is refused
	return int(int32(binary.BigEndian.Uint32(b.chunk[at:]))), true
}
