package layer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/flate"
)

// deflater is a compressor with the buffer that it writes to: it writes a few
// hundred bytes at a time, which must not each be a system call.
type deflater struct {
	z    *flate.Writer
	down io.Writer
	buf  []byte
}

// Write is called by z.
func (d *deflater) Write(b []byte) (n int, err error) {
	d.buf = append(d.buf, b...)
	if len(d.buf) >= large {
		d.buf, err = drain(d.down, d.buf)
	}
	return len(b), err
}

// deflaters are those not in use, by level. One takes 0.5 to 1.3 MB.
var deflaters [10]sync.Pool

// busy is how many bytes must be written between two calls of Rest, or since
// the first one, to earn a compressor that stays. With less, a flush costs the
// history that later messages could refer to, and saves a megabyte.
const busy = 16 << 10

// deflateWriter is a Writer.
//
// After a flush a stream is at the boundary of a byte and of a block, and a
// block refers to what came before only if its compressor knows it. So a fresh
// compressor can go on with the stream.
type deflateWriter struct {
	down      io.Writer
	level     int
	at        *deflater // nil at rest
	unflushed bool
	since     int  // bytes since Rest
	stays     bool // at, over flushes
}

// NewDeflateWriter returns a Writer of raw DEFLATE at a level from 1 to 9.
func NewDeflateWriter(w io.Writer, level int) (Writer, error) {
	if level < 1 || level > 9 {
		return nil, fmt.Errorf("deflate level %d: must be from 1 to 9", level)
	}
	return &deflateWriter{down: w, level: level}, nil
}

func (w *deflateWriter) Write(b []byte) (int, error) {
	if w.at == nil {
		if err := w.wake(); err != nil {
			return 0, err
		}
	}
	w.unflushed = true
	if w.since += len(b); w.since >= busy {
		w.stays = true
	}
	return w.at.z.Write(b)
}

func (w *deflateWriter) wake() (err error) {
	d, ok := deflaters[w.level].Get().(*deflater)
	if !ok {
		d = &deflater{}
		if d.z, err = flate.NewWriter(d, w.level); err != nil {
			return err
		}
	} else {
		d.z.Reset(d)
	}
	d.down, w.at = w.down, d
	return nil
}

func (w *deflateWriter) Flush() (err error) {
	if !w.unflushed {
		return nil
	}
	w.unflushed = false
	if err := w.at.z.Flush(); err != nil {
		return err
	}
	if w.at.buf, err = drain(w.down, w.at.buf); err != nil {
		return err
	}
	if !w.stays {
		w.Close()
	}
	return nil
}

func (w *deflateWriter) Unflushed() bool { return w.unflushed }

func (w *deflateWriter) Rest() {
	if w.since < busy && !w.unflushed {
		w.stays = false
		w.Close()
	}
	w.since = 0
}

func (w *deflateWriter) Close() {
	if w.at == nil {
		return
	}
	w.at.down, w.at.buf = nil, w.at.buf[:0]
	deflaters[w.level].Put(w.at)
	w.at = nil
}

// deflateReader is a Reader.
type deflateReader struct {
	down patient
	buf  *bufio.Reader
	z    io.ReadCloser // nil before the first byte
	more bool          // the last Read may have left something decompressed
}

// NewDeflateReader returns a Reader of raw DEFLATE. The decompressor keeps an
// error for ever, so between the parts of a block a deadline of r must not end
// a read: it calls wait instead, and goes on unless that returns an error.
func NewDeflateReader(r io.Reader, wait func() error) Reader {
	d := &deflateReader{down: patient{down: r, wait: wait}}
	d.buf = bufio.NewReaderSize(&d.down, 4<<10)
	return d
}

// Await may wait for compressed bytes only because the decompressor has nothing
// left to give: it gives what it has at a flush of the other end, and
// has not read beyond that.
func (r *deflateReader) Await() error {
	if r.more || r.buf.Buffered() > 0 {
		return nil
	}
	r.down.between = true
	_, err := r.buf.Peek(1)
	r.down.between = false
	return err
}

// inflaters are decompressors not in use. One takes about 45 KB.
var inflaters sync.Pool

func (r *deflateReader) Read(b []byte) (n int, err error) {
	if r.z == nil {
		z, ok := inflaters.Get().(io.ReadCloser)
		if !ok {
			z = flate.NewReader(r.buf)
		} else if err := z.(flate.Resetter).Reset(r.buf, nil); err != nil {
			return 0, err
		}
		r.z = z
	}
	n, err = r.z.Read(b)
	r.more = n == len(b)
	switch {
	case err == nil, err == io.EOF:
		return n, err
	case r.down.err != nil:
		return n, r.down.err
	}
	return n, &StreamError{"Deflate", err}
}

func (r *deflateReader) Close() {
	if r.z != nil {
		_ = r.z.(flate.Resetter).Reset(eof{}, nil) // lets go of the connection
		inflaters.Put(r.z)
		r.z = nil
	}
}

// eof is what a decompressor in the pool reads from.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
func (eof) ReadByte() (byte, error)  { return 0, io.EOF }

// patient keeps deadlines from a decompressor.
type patient struct {
	down    io.Reader
	wait    func() error
	between bool  // Await waits, not the decompressor
	err     error // what ended the stream
}

func (p *patient) Read(b []byte) (n int, err error) {
	for {
		n, err = p.down.Read(b)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if p.between {
			return 0, err
		}
		if err = p.wait(); err != nil {
			break
		}
	}
	if n == 0 {
		p.err = err
	}
	return n, err
}
