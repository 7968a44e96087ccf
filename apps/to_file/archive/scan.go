package archive

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/millrace-mq/millrace/apps/internal/record"
)

// tally counts what is in a file, before compression.
type tally struct {
	lines, bytes int64
}

func (t *tally) add(o tally) {
	t.lines += o.lines
	t.bytes += o.bytes
}

// whole returns where the last whole member, record or line of a file of size
// bytes ends, and what lies between from, where one begins, and there. It reads
// from there on only, in bounded memory. An error is the disk's: whatever the
// file holds is none.
func whole(r io.ReaderAt, format record.Format, c Compression, from, size int64) (end int64, t tally, err error) {
	s := &source{r: io.NewSectionReader(r, from, size-from)}
	s.buf = bufio.NewReaderSize(s, flushSize)
	switch {
	case c == Gzip:
		end, t = wholeMembers(s, format)
	case c == Zstd:
		end, t = wholeFrames(s, r, from, format)
	case format == record.Length:
		end, t = wholeRecords(s, size-from)
	default:
		end, t = wholeLines(s, format)
	}
	return from + end, t, s.err
}

// source reads a file, and knows how far it was read and which errors are the
// disk's: those that read from it have errors of their own.
type source struct {
	r    io.Reader
	buf  *bufio.Reader // reads from this source
	read int64
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.read += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// at is how much was taken out of buf.
func (s *source) at() int64 { return s.read - int64(s.buf.Buffered()) }

// wholeLines ends behind the last newline. A file of a machine that has lost
// its power may hold zeros where lines were to be: JSON has none, so it ends
// before them.
func wholeLines(s *source, format record.Format) (end int64, t tally) {
	var at int64
	for {
		if _, err := s.buf.Peek(1); err != nil { // fills the buffer
			return end, t
		}
		b, _ := s.buf.Peek(s.buf.Buffered())
		text := b
		if format == record.JSON {
			if zero := bytes.IndexByte(b, 0); zero >= 0 {
				text = b[:zero]
			}
		}
		if last := bytes.LastIndexByte(text, '\n'); last >= 0 {
			end = at + int64(last) + 1
			t = tally{t.lines + int64(bytes.Count(text, []byte("\n"))), end}
		}
		if len(text) < len(b) {
			return end, t
		}
		at += int64(len(b))
		_, _ = s.buf.Discard(len(b)) // it is in the buffer
	}
}

// lineEnd returns where the last line ends that ends at or before end.
func lineEnd(r io.ReaderAt, end int64) (int64, error) {
	b := make([]byte, flushSize/4)
	for end > 0 {
		b = b[:min(end, int64(len(b)))]
		at := end - int64(len(b))
		if _, err := r.ReadAt(b, at); err != nil {
			return 0, err
		}
		if last := bytes.LastIndexByte(b, '\n'); last >= 0 {
			return at + int64(last) + 1, nil
		}
		end = at
	}
	return 0, nil
}

// wholeRecords ends behind the last record that is there in full. Zeros up to
// the end of the file are not taken for empty records: they are what a power
// cut leaves where something was to be written, and daemons refuse empty
// messages.
func wholeRecords(s *source, size int64) (end int64, t tally) {
	var at, empty int64 // empty counts the records of nothing that came last
	var head [record.PrefixSize]byte
	for {
		if _, err := io.ReadFull(s.buf, head[:]); err != nil {
			break
		}
		n := record.BodySize(head[:])
		if at+4+n > size {
			break
		}
		if _, err := io.CopyN(io.Discard, s.buf, n); err != nil {
			break
		}
		at += 4 + n
		t.lines++
		t.bytes += 4 + n
		if empty++; n > 0 {
			empty = 0
		}
	}
	if rest := size - at; empty > 0 && rest < 4 && bytes.Count(head[:rest], []byte{0}) == int(rest) {
		t.lines -= empty
		t.bytes -= 4 * empty
		at -= 4 * empty
	}
	return at, t
}

// wholeMembers ends behind the last gzip member with a right checksum.
func wholeMembers(s *source, format record.Format) (end int64, t tally) {
	z := new(gzip.Reader)
	for {
		if z.Reset(s.buf) != nil {
			return end, t
		}
		z.Multistream(false)
		count := counter{format: format}
		if _, err := io.Copy(&count, z); err != nil {
			return end, t
		}
		end = s.at()
		t.add(count.tally)
	}
}

// wholeFrames ends behind the last zstd frame with a right checksum. The
// decoder reads ahead, so where frames end is found by their blocks' headers,
// and each is then decoded alone.
func wholeFrames(s *source, r io.ReaderAt, from int64, format record.Format) (end int64, t tally) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(1<<27))
	if err != nil {
		s.err = err
		return 0, t
	}
	defer z.Close()
	for {
		if skipFrame(s.buf) != nil {
			return end, t
		}
		frame := &source{r: io.NewSectionReader(r, from+end, s.at()-end)}
		count := counter{format: format}
		err := z.Reset(frame)
		if err == nil {
			_, err = io.Copy(&count, z)
		}
		if err != nil {
			s.err = errors.Join(s.err, frame.err)
			return end, t
		}
		end = s.at()
		t.add(count.tally)
	}
}

var errTorn = errors.New("not a whole frame")

// skipFrame reads over a frame (RFC 8878, section 3.1.1).
func skipFrame(r *bufio.Reader) error {
	head, err := r.Peek(zstd.HeaderMaxSize)
	if len(head) == 0 {
		return err
	}
	var h zstd.Header
	if h.Decode(head) != nil || h.Skippable {
		return errTorn
	}
	if _, err := r.Discard(h.HeaderSize); err != nil {
		return err
	}
	for last := false; !last; {
		var b [3]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return err
		}
		v := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
		last = v&1 != 0
		n := v >> 3
		if v>>1&3 == 1 { // one byte, to be repeated
			n = 1
		}
		if _, err := r.Discard(n); err != nil {
			return err
		}
	}
	if h.HasCheckSum {
		_, err = r.Discard(4)
		return err
	}
	return nil
}

// counter counts what is written to it.
type counter struct {
	format record.Format
	tally
	head [record.PrefixSize]byte
	have int   // of head
	skip int64 // of a body
}

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	if c.format.Lines() {
		c.lines += int64(bytes.Count(p, []byte("\n")))
		return len(p), nil
	}
	for b := p; len(b) > 0; {
		if c.skip > 0 {
			n := min(c.skip, int64(len(b)))
			c.skip -= n
			b = b[n:]
			continue
		}
		n := copy(c.head[c.have:], b)
		b = b[n:]
		if c.have += n; c.have == len(c.head) {
			c.have = 0
			c.lines++
			c.skip = record.BodySize(c.head[:])
		}
	}
	return len(p), nil
}
