package acks

import (
	"bytes"
	"fmt"
	"io"

	"github.com/millrace-mq/millrace/qd/disk"
)

// windowSize is how much of a file is read at a time.
const windowSize = 4 << 20

// window is a file that is read from the beginning on, through a buffer.
type window struct {
	file disk.File
	path string
	size int64
	from int64  // offset of the buffer
	buf  []byte // what is read
}

// at returns n bytes from off on, or those up to the end of the file. They are
// valid until the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.size-off))
	if off < w.from || off+int64(n) > w.from+int64(len(w.buf)) {
		if cap(w.buf) == 0 {
			w.buf = make([]byte, min(w.size, windowSize))
		}
		w.from, w.buf = off, w.buf[:min(w.size-off, int64(cap(w.buf)))]
		if got, err := w.file.ReadAt(w.buf, off); got < len(w.buf) {
			w.buf = w.buf[:0]
			if err == io.EOF { // the length was asked for before: it is no end
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("read %s at %d: %w", w.path, off, err)
		}
	}
	return w.buf[off-w.from:][:n], nil
}

// parse decodes the record at off and returns its length.
func (w *window) parse(off int64, p *part) (int64, error) {
	b, err := w.at(off, headerSize)
	if err != nil {
		return 0, err
	}
	size, err := recordSize(b)
	if err != nil {
		return 0, err
	}
	if b, err = w.at(off, size); err != nil {
		return 0, err
	}
	return int64(size), p.parse(b)
}

// find returns the offset at or behind off of the next whole record that
// begins a delta, or the size of the file. Records that only go on with a
// delta prove nothing: they are what is left of the one that is not whole.
func (w *window) find(off int64, p *part) (int64, error) {
	for off < w.size {
		b, err := w.at(off, maxBody)
		if err != nil {
			return 0, err
		}
		i := bytes.Index(b, []byte(magic))
		if i < 0 {
			off += max(1, int64(len(b)-len(magic)+1))
			continue
		}
		off += int64(i)
		_, err = w.parse(off, p)
		if err == nil && p.flags&flagFirst != 0 {
			return off, nil
		}
		if err != nil && !isBad(err) {
			return 0, err
		}
		off++
	}
	return w.size, nil
}
