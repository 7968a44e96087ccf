// Package layer is compression between a socket and protocol V2: Snappy in its
// framing format, and raw DEFLATE.
//
// Writers compress whole writes, of as many messages as there are, into a
// buffer of their own, and write that when it is large or when they are
// flushed: so what is written beneath is few and large pieces, whatever
// the compressor makes of it. A connection that says little keeps no
// compressor between two flushes; there are few at work at any time, and they
// are pooled.
//
// Readers live with deadlines: a read that a deadline has ended can be made
// again.
package layer

import (
	"fmt"
	"io"
	"sync"
)

// Writer compresses what is written to it. One goroutine at a time may use it.
type Writer interface {
	// Write compresses b, of which nothing need be written beneath until Flush.
	// b is not kept.
	Write(b []byte) (int, error)
	// Flush writes what there is, so that the other end can decompress all of it.
	Flush() error
	// Unflushed reports whether Flush has something to write.
	Unflushed() bool
	// Rest is called now and then, after a Flush. If little was written since the
	// last call, the memory that compressing takes is given up until the next
	// Write.
	Rest()
	// Close gives up all memory without writing anything.
	Close()
}

// Reader decompresses. One goroutine at a time may use it.
type Reader interface {
	// Await returns when there is something for Read, so that a caller need not
	// have a buffer ready before. It can be called again after an error that is
	// temporary beneath.
	Await() error
	// Read decompresses. Errors from beneath are returned as they are; what cannot
	// be decompressed is a *StreamError.
	Read(b []byte) (int, error)
	// Close gives up all memory.
	Close()
}

// StreamError tells that the other end has sent what is no stream of the
// compression that it asked for.
type StreamError struct {
	Compression string // Snappy or Deflate
	Reason      error
}

func (e *StreamError) Error() string {
	return fmt.Sprintf("what the client sends is not %s: %v", e.Compression, e.Reason)
}

func (e *StreamError) Unwrap() error { return e.Reason }

// large is how many compressed bytes are written without a flush.
const large = 64 << 10

// drain writes all of buf, which is to be used again, to w.
func drain(w io.Writer, buf []byte) ([]byte, error) {
	if len(buf) == 0 {
		return buf, nil
	}
	_, err := w.Write(buf)
	return buf[:0], err
}

// buffers are for compressed bytes on their way in or out.
var buffers = sync.Pool{New: func() any { return new([]byte) }}
