package layer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/s2"
)

// The framing format: a stream identifier, then chunks, each a byte that says
// what it is, three bytes of size (little-endian), and its data. The data of a
// message chunk is a masked checksum of what it unpacks to, and a block.
//
// The library's reader and writer for it hold 140 KB each for as long as a
// connection lives and copy everything once more, so the format is here, and
// libraries do the blocks: golang/snappy unpacks them; klauspost's packs the same
// format in a little more than half the time.
const (
	chunkPacked     = 0x00
	chunkPlain      = 0x01
	chunkSkippable  = 0x80 // from here on, but for the identifier
	chunkIdentifier = 0xff

	chunkHeader = 4
	checksum    = 4
	maxBlock    = 64 << 10 // bytes that a chunk unpacks to
	identifier  = "\xff\x06\x00\x00sNaPpY"
)

// maxChunk is the largest data that a packed chunk may have.
var maxChunk = checksum + snappy.MaxEncodedLen(maxBlock)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the checksum that stands in a chunk.
func masked(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// snappyWriter is a Writer. Chunks know nothing of each other, so it keeps
// nothing over a flush.
type snappyWriter struct {
	down  io.Writer
	begun bool
	buf   *[]byte // of the pool; nil after a flush
}

// NewSnappyWriter returns a Writer of Snappy's framing format.
func NewSnappyWriter(w io.Writer) Writer { return &snappyWriter{down: w} }

func (w *snappyWriter) Write(b []byte) (n int, err error) {
	if w.buf == nil {
		w.buf = buffers.Get().(*[]byte)
	}
	if !w.begun {
		*w.buf = append(*w.buf, identifier...)
		w.begun = true
	}
	for n < len(b) {
		block := b[n:min(len(b), n+maxBlock)]
		*w.buf = appendChunk(*w.buf, block)
		n += len(block)
		if len(*w.buf) >= large {
			if *w.buf, err = drain(w.down, *w.buf); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// appendChunk appends block, maxBlock bytes at most, packed if that makes it an
// eighth smaller.
func appendChunk(dst, block []byte) []byte {
	at := len(dst)
	body := at + chunkHeader + checksum
	if most := body + snappy.MaxEncodedLen(len(block)); most > cap(dst) {
		dst = append(make([]byte, 0, max(most, 4*cap(dst), 4<<10)), dst...)
	}
	kind := chunkPacked
	packed := s2.EncodeSnappy(dst[body:cap(dst)], block)
	end := body + len(packed)
	if len(packed) > len(block)-len(block)/8 {
		kind, end = chunkPlain, body+len(block)
		copy(dst[body:end], block)
	}
	dst = dst[:end]
	// #nosec G115 -- a chunk of the format: a byte for its kind, and 24 bits for its length, which are at most 64 KiB
	binary.LittleEndian.PutUint32(dst[at:], uint32(end-at-chunkHeader)<<8|uint32(kind))
	binary.LittleEndian.PutUint32(dst[at+chunkHeader:], masked(block))
	return dst
}

func (w *snappyWriter) Flush() (err error) {
	if w.buf == nil {
		return nil
	}
	*w.buf, err = drain(w.down, *w.buf)
	w.Close()
	return err
}

func (w *snappyWriter) Unflushed() bool { return w.buf != nil }

func (w *snappyWriter) Rest() {}

func (w *snappyWriter) Close() {
	if w.buf != nil {
		*w.buf = (*w.buf)[:0]
		buffers.Put(w.buf)
		w.buf = nil
	}
}

// snappyReader is a Reader.
type snappyReader struct {
	down       io.Reader
	begun      bool
	buf        *[]byte // compressed, of the pool; nil while there is nothing
	start, end int     // of what is not yet unpacked, in buf
	skip       int     // bytes to come of a chunk that says nothing
	block      *[]byte // unpacked, of the pool; nil while there is nothing
	given      int     // of block
	small      [512]byte
}

// NewSnappyReader returns a Reader of Snappy's framing format.
func NewSnappyReader(r io.Reader) Reader { return &snappyReader{down: r} }

// errs that a stream can have.
var (
	errNoIdentifier = errors.New("it does not begin with a stream identifier")
	errChecksum     = errors.New("a checksum is wrong")
)

// Await reads into a small buffer as long as there is nothing, so that an idle
// connection has no other.
func (r *snappyReader) Await() error {
	if r.block != nil || r.start < r.end {
		return nil
	}
	r.buf = release(r.buf)
	n, err := r.down.Read(r.small[:])
	if n == 0 {
		return err
	}
	r.buf = buffers.Get().(*[]byte)
	if cap(*r.buf) < 2*maxBlock {
		*r.buf = make([]byte, 0, 2*maxBlock)
	}
	r.start, r.end = 0, copy((*r.buf)[:cap(*r.buf)], r.small[:n])
	return nil
}

func (r *snappyReader) Read(b []byte) (n int, err error) {
	for {
		if r.block != nil {
			n := copy(b, (*r.block)[r.given:])
			if r.given += n; r.given == len(*r.block) {
				r.block = release(r.block)
			}
			return n, nil
		}
		if err := r.Await(); err != nil {
			return 0, err
		}
		whole, n, err := r.chunk(b)
		if err != nil {
			return 0, &StreamError{"Snappy", err}
		}
		if n > 0 {
			return n, nil
		}
		if !whole {
			if err := r.fill(); err != nil {
				return 0, err
			}
		}
	}
}

// fill reads more of a chunk that has not come whole.
func (r *snappyReader) fill() error {
	buf := (*r.buf)[:cap(*r.buf)]
	if r.start > 0 {
		r.start, r.end = 0, copy(buf, buf[r.start:r.end])
	}
	n, err := r.down.Read(buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	return err
}

// chunk unpacks the next chunk to b, or to block if there is no room. whole is
// false if it has not come whole.
func (r *snappyReader) chunk(b []byte) (whole bool, n int, err error) {
	rest := (*r.buf)[r.start:r.end]
	if r.skip > 0 {
		n := min(r.skip, len(rest))
		r.start, r.skip = r.start+n, r.skip-n
		return true, 0, nil
	}
	if len(rest) < chunkHeader {
		return false, 0, nil
	}
	header := binary.LittleEndian.Uint32(rest)
	// #nosec G115 -- a chunk of the format: a byte for its kind, and 24 bits for its length, which are at most 64 KiB
	kind, size := byte(header), int(header>>8)
	if !r.begun && kind != chunkIdentifier {
		return false, 0, errNoIdentifier
	}
	switch {
	case kind == chunkIdentifier && size != len(identifier)-chunkHeader:
		return false, 0, errNoIdentifier
	case kind >= chunkSkippable && kind != chunkIdentifier:
		r.start, r.skip = r.start+chunkHeader, size
		return true, 0, nil
	case kind > chunkPlain && kind < chunkSkippable:
		return false, 0, fmt.Errorf("a chunk is of unknown kind %#x", kind)
	case kind <= chunkPlain && (size < checksum || size > maxChunk):
		return false, 0, fmt.Errorf("a chunk has %d bytes", size)
	}
	if len(rest) < chunkHeader+size {
		return false, 0, nil
	}
	r.start += chunkHeader + size
	data := rest[chunkHeader : chunkHeader+size]
	if kind == chunkIdentifier {
		if string(data) != identifier[chunkHeader:] {
			return false, 0, errNoIdentifier
		}
		r.begun = true
		return true, 0, nil
	}
	n, err = r.unpack(b, kind, data)
	return true, n, err
}

// unpack unpacks the data of a message chunk.
func (r *snappyReader) unpack(b []byte, kind byte, data []byte) (n int, err error) {
	sum, data := binary.LittleEndian.Uint32(data), data[checksum:]
	size := len(data)
	if kind == chunkPacked {
		if size, err = snappy.DecodedLen(data); err != nil {
			return 0, err
		}
	}
	if size > maxBlock {
		return 0, fmt.Errorf("a chunk unpacks to %d bytes", size)
	}
	into := b
	if size > len(b) {
		r.block = buffers.Get().(*[]byte)
		if cap(*r.block) < size {
			*r.block = make([]byte, 0, maxBlock)
		}
		*r.block = (*r.block)[:size]
		into, r.given = *r.block, 0
	}
	into = into[:size]
	if kind == chunkPlain {
		copy(into, data)
	} else if _, err = snappy.Decode(into, data); err != nil {
		return 0, err
	}
	if masked(into) != sum {
		return 0, errChecksum
	}
	if r.block != nil {
		return 0, nil
	}
	return size, nil
}

func (r *snappyReader) Close() { r.buf, r.block = release(r.buf), release(r.block) }

// release gives a buffer back. It returns nil.
func release(b *[]byte) *[]byte {
	if b != nil {
		*b = (*b)[:0]
		buffers.Put(b)
	}
	return nil
}
