package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A file of history is a line that says what it is, and blocks:
//
//	"millrace history 1\n"
//	block   kind (1 byte), length of payload (4), CRC-32C of kind, length and payload (4), payload
//
// with the kinds, in this order:
//
//	K  keys, as many as find room in a block: node, topic, channel (each a length and
//	   text), born, seen, busy. The first key of the file is number 0, the next 1, …
//	P  a page: step, number of rows, and each row's from, to and held
//	R  behind its page: of each key in turn a length and a record; length 0 if it has none.
//	   As many blocks as it takes until each key had its turn
//	M  marks: time, node and what
//	E  the end: up to when anything was added
//
// Lengths and numbers of things in payloads are uvarints, times varints of ms since the
// Unix epoch. A block is at most blockMost long, so that reading one takes no more
// memory than that, whatever it says. No block is ever left out: a file without its
// end is torn.
const (
	fileHead  = "millrace history 1\n"
	blockMost = 64 << 10
	blockHead = 1 + 4 + 4
)

// timeMost bounds times such that their sums and differences do not overflow. It is
// some ten thousand years.
const timeMost = 1 << 48

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blockWriter collects a block's payload and writes it when it is full.
type blockWriter struct {
	w   io.Writer
	buf []byte // with room for the head
	err error
}

func newBlockWriter(w io.Writer) *blockWriter {
	b := &blockWriter{w: w, buf: make([]byte, blockHead, blockHead+blockMost)}
	_, b.err = io.WriteString(w, fileHead)
	return b
}

// room flushes the block if it has not so much room left.
func (b *blockWriter) room(kind byte, n int) {
	if len(b.buf)-blockHead+n > blockMost {
		b.flush(kind)
	}
}

// flush writes the block, if there is anything in it.
func (b *blockWriter) flush(kind byte) {
	if len(b.buf) > blockHead && b.err == nil {
		b.buf[0] = kind
		// #nosec G115 -- a block is flushed long before 4 GiB
		binary.LittleEndian.PutUint32(b.buf[1:], uint32(len(b.buf)-blockHead))
		binary.LittleEndian.PutUint32(b.buf[5:], blockSum(b.buf))
		_, b.err = b.w.Write(b.buf)
	}
	b.buf = b.buf[:blockHead]
}

// blockSum is the checksum of a block with its head.
func blockSum(block []byte) uint32 {
	return crc32.Update(crc32.Checksum(block[:5], castagnoli), castagnoli, block[blockHead:])
}

// #nosec G115 -- counts and lengths, never negative
func (b *blockWriter) number(n int)     { b.buf = binary.AppendUvarint(b.buf, uint64(n)) }
func (b *blockWriter) time(t int64)     { b.buf = binary.AppendVarint(b.buf, t) }
func (b *blockWriter) text(text string) { b.number(len(text)); b.buf = append(b.buf, text...) }

// blockReader reads blocks, and then what is in them.
type blockReader struct {
	r       io.Reader
	at      int64 // bytes read
	kind    byte
	block   []byte
	payload []byte // what is not read yet of the block
	bad     bool   // the payload ended too soon or says what cannot be
}

// next reads the next block. The end of the file is an error: E must come before it.
func (b *blockReader) next() error {
	if b.block == nil {
		b.block = make([]byte, blockHead+blockMost)
	}
	head := b.block[:blockHead]
	if err := b.full(head); err != nil {
		return err
	}
	length := binary.LittleEndian.Uint32(head[1:])
	if length > blockMost {
		return errors.New("a block is longer than any may be")
	}
	whole := b.block[:blockHead+int(length)]
	if err := b.full(whole[blockHead:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(head[5:]) != blockSum(whole) {
		return errors.New("a checksum is wrong")
	}
	b.kind, b.payload, b.bad = head[0], whole[blockHead:], false
	return nil
}

func (b *blockReader) full(into []byte) error {
	n, err := io.ReadFull(b.r, into)
	b.at += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("it is cut off")
	}
	return err
}

func (b *blockReader) number(most int) int {
	v, n := binary.Uvarint(b.payload)
	// #nosec G115 -- a bound of ours, never negative
	if n <= 0 || v > uint64(most) {
		b.bad, b.payload = true, nil
		return 0
	}
	b.payload = b.payload[n:]
	// #nosec G115 -- at most most, which is an int
	return int(v)
}

func (b *blockReader) time() int64 {
	v, n := binary.Varint(b.payload)
	if n <= 0 || v > timeMost || v < -timeMost {
		b.bad, b.payload = true, nil
		return 0
	}
	b.payload = b.payload[n:]
	return v
}

func (b *blockReader) bytes(most int) []byte {
	n := b.number(most)
	if n > len(b.payload) {
		b.bad, b.payload = true, nil
		return nil
	}
	v := b.payload[:n]
	b.payload = b.payload[n:]
	return v
}

// more says whether there is more in the block.
func (b *blockReader) more() bool { return len(b.payload) > 0 }

// done returns an error if what was read of the block cannot be, or was not all.
func (b *blockReader) done() error {
	if b.bad || b.more() {
		return fmt.Errorf("what a block of kind %q says cannot be", b.kind)
	}
	return nil
}
