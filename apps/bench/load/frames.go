package load

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/millrace-mq/millrace/protocol"
)

// readSize is what one read can bring: the in-flight messages of a consumer
// several times over.
const readSize = 1 << 20

// maxFrame bounds what the peer can make us allocate.
const maxFrame = 64 << 20

// frames walks the frames of a stream that is read in pieces as large as the
// socket gives, so that a frame costs no read of its own.
type frames struct {
	r          io.Reader
	buf        []byte
	start, end int // what is read and not yet walked
	err        error
}

func newFrames(r io.Reader, size int) *frames {
	return &frames{r: r, buf: make([]byte, size)}
}

// fill reads once and invalidates what next returned before. An error means
// that nothing was read.
func (f *frames) fill() error {
	if f.err != nil {
		return f.err
	}
	if f.start > 0 {
		f.end = copy(f.buf, f.buf[f.start:f.end])
		f.start = 0
	}
	if f.end == len(f.buf) {
		f.buf = append(f.buf, make([]byte, len(f.buf))...)
	}
	n, err := f.r.Read(f.buf[f.end:])
	f.end += n
	if n > 0 {
		return nil
	}
	return err
}

// next returns the next frame if all of it has been read. A size out of range
// ends the walk; the following fill reports it.
func (f *frames) next() (t protocol.FrameType, data []byte, ok bool) {
	rest := f.buf[f.start:f.end]
	if len(rest) < protocol.FrameHeaderSize {
		return 0, nil, false
	}
	size := binary.BigEndian.Uint32(rest)
	if size-4 > maxFrame-4 { // below 4 it wraps around
		f.err = fmt.Errorf("%w: %d not in 4-%d", protocol.ErrFrameSize, size, maxFrame)
		return 0, nil, false
	}
	whole := 4 + int(size)
	if whole > len(rest) {
		return 0, nil, false
	}
	f.start += whole
	// #nosec G115 -- numbers that the bench itself has drawn or counted, never negative
	return protocol.FrameType(binary.BigEndian.Uint32(rest[4:])), rest[protocol.FrameHeaderSize:whole], true
}
