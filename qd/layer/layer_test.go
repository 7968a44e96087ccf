package layer_test

import (
	"bytes"
	stdflate "compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/golang/snappy"

	"github.com/millrace-mq/millrace/qd/layer"
)

// kinds are our compressions, each with what others make of the same format.
var kinds = map[string]struct {
	writer func(io.Writer) layer.Writer
	reader func(r io.Reader, wait func() error) layer.Reader
	theirs func(io.Writer) flusher
	read   func(io.Reader) io.Reader
}{
	"snappy": {
		layer.NewSnappyWriter,
		func(r io.Reader, _ func() error) layer.Reader { return layer.NewSnappyReader(r) },
		func(w io.Writer) flusher { return snappy.NewBufferedWriter(w) },
		func(r io.Reader) io.Reader { return snappy.NewReader(r) },
	},
	"deflate1": deflate(1), "deflate2": deflate(2), "deflate3": deflate(3), "deflate4": deflate(4), "deflate5": deflate(5),
	"deflate6": deflate(6), "deflate7": deflate(7), "deflate8": deflate(8), "deflate9": deflate(9),
}

type flusher interface {
	io.Writer
	Flush() error
}

func deflate(level int) (k struct {
	writer func(io.Writer) layer.Writer
	reader func(r io.Reader, wait func() error) layer.Reader
	theirs func(io.Writer) flusher
	read   func(io.Reader) io.Reader
},
) {
	k.writer = func(w io.Writer) layer.Writer {
		z, err := layer.NewDeflateWriter(w, level)
		if err != nil {
			panic(err)
		}
		return z
	}
	k.reader = layer.NewDeflateReader
	k.theirs = func(w io.Writer) flusher {
		z, err := stdflate.NewWriter(w, level)
		if err != nil {
			panic(err)
		}
		return z
	}
	k.read = func(r io.Reader) io.Reader { return stdflate.NewReader(r) }
	return k
}

// pieces are writes of all sizes, compressible and not, small ones mostly.
func pieces(seed uint64) (all [][]byte) {
	r := rand.New(rand.NewPCG(seed, 1))
	for range 15 {
		b := make([]byte, r.IntN([]int{20, 400, 20_000, 150_000}[r.IntN(4)])+1)
		alphabet := []int{8, 40, 256}[r.IntN(3)]
		for i := range b {
			b[i] = byte(r.IntN(alphabet))
		}
		all = append(all, b)
	}
	return all
}

// TestOthersRead has another implementation read what a Writer writes, which
// rests now and then. After a flush all of it must be there.
func TestOthersRead(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			var wire bytes.Buffer
			w, r := k.writer(&wire), k.read(&wire)
			defer w.Close()
			for n, piece := range pieces(1) {
				half := len(piece) / 2
				mustWrite(t, w, piece[:half])
				mustWrite(t, w, piece[half:])
				if !w.Unflushed() {
					t.Fatal("it is flushed by itself")
				}
				mustFlush(t, w)
				if w.Unflushed() {
					t.Fatal("it is not flushed after a flush")
				}
				if n%7 == 0 {
					w.Rest()
				}
				got := make([]byte, len(piece))
				if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, piece) {
					t.Fatalf("piece %d, of %d bytes, came otherwise: %v", n, len(piece), err)
				}
				if wire.Len() > 0 && name == "snappy" {
					t.Fatalf("%d bytes are left over", wire.Len())
				}
			}
			before := wire.Len()
			mustFlush(t, w)
			if wire.Len() != before {
				t.Error("a flush of nothing writes something")
			}
		})
	}
}

func mustWrite(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if n, err := w.Write(b); n != len(b) || err != nil {
		t.Fatalf("Write of %d: %d, %v", len(b), n, err)
	}
}

func mustFlush(t *testing.T, w flusher) {
	t.Helper()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// slow gives a few bytes at a time, each time after a deadline has passed.
type slow struct {
	r      io.Reader
	rand   *rand.Rand
	passed bool
}

func (s *slow) Read(b []byte) (int, error) {
	if s.passed = !s.passed; s.passed {
		return 0, fmt.Errorf("reading: %w", os.ErrDeadlineExceeded)
	}
	return s.r.Read(b[:min(len(b), 1+s.rand.IntN(3000))])
}

// TestDeadlines reads what others have written, through deadlines that pass at
// every point, into room of every size.
func TestDeadlines(t *testing.T) {
	for _, name := range []string{"snappy", "deflate6"} { // to readers all levels are alike
		k := kinds[name]
		t.Run(name, func(t *testing.T) {
			var wire bytes.Buffer
			w := k.theirs(&wire)
			var want []byte
			for _, piece := range pieces(2) {
				mustWrite(t, w, piece)
				mustFlush(t, w)
				want = append(want, piece...)
			}
			random := rand.New(rand.NewPCG(3, 3))
			waits := 0
			r := k.reader(&slow{r: &wire, rand: random}, func() error { waits++; return nil })
			defer r.Close()
			var got []byte
			for len(got) < len(want) {
				err := r.Await()
				if err == nil {
					b := make([]byte, 1+random.IntN(100_000))
					var n int
					n, err = r.Read(b)
					got = append(got, b[:n]...)
				}
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("after %d of %d bytes: %v", len(got), len(want), err)
				}
			}
			if !bytes.Equal(got, want) {
				t.Error("other bytes came than were written")
			}
			for range 2 { // one of them is the deadline
				if err := r.Await(); err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the end is %v", err)
				}
			}
			if name != "snappy" && waits == 0 {
				t.Error("no deadline has passed within a block")
			}
		})
	}
}

// TestWaitEnds checks that the error of wait ends a read within a block.
func TestWaitEnds(t *testing.T) {
	var wire bytes.Buffer
	w := kinds["deflate6"].theirs(&wire)
	mustWrite(t, w, bytes.Repeat([]byte("0123456789"), 100))
	mustFlush(t, w)
	wire.Truncate(10)
	silent := errors.New("silent")
	r := layer.NewDeflateReader(io.MultiReader(&wire, &slow{r: strings.NewReader(""), rand: nil}), func() error { return silent })
	defer r.Close()
	var err error
	for err == nil {
		_, err = r.Read(make([]byte, 4096))
	}
	if err != silent {
		t.Errorf("the end is %v, want what wait returned", err)
	}
}

// TestGarbage checks that what is no stream is told apart from what ends.
func TestGarbage(t *testing.T) {
	packed := snappy.Encode(nil, make([]byte, 1000))
	chunk := func(kind byte, size int, data ...byte) string {
		return string(append([]byte{kind, byte(size), byte(size >> 8), byte(size >> 16)}, data...))
	}
	const head = "\xff\x06\x00\x00sNaPpY"
	for name, c := range map[string]struct{ kind, text string }{
		"plain text":       {"snappy", "PUB topic\n\x00\x00\x00\x04body"},
		"other identifier": {"snappy", chunk(0xff, 6, []byte("snappY")...)},
		"long identifier":  {"snappy", chunk(0xff, 600)},
		"unknown chunk":    {"snappy", head + chunk(2, 4, 0, 0, 0, 0)},
		"no checksum":      {"snappy", head + chunk(1, 3, 0, 0, 0)},
		"wrong checksum":   {"snappy", head + chunk(1, 8, 0, 0, 0, 0, 'b', 'o', 'd', 'y')},
		"too large":        {"snappy", head + chunk(1, 4+65537) + strings.Repeat("x", 4+65537)},
		"too large packed": {"snappy", head + chunk(0, 100_000)},
		"unpacks too far":  {"snappy", head + chunk(0, 9, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0)},
		"no block":         {"snappy", head + chunk(0, 4+len(packed)/2, append([]byte{0, 0, 0, 0}, packed[:len(packed)/2]...)...)},
		"text":             {"deflate6", "PUB topic\n\x00\x00\x00\x04body, and a little more for good measure"},
		"reserved block":   {"deflate6", "\x07"},
		"no length":        {"deflate6", "\x00\x01\x00\x01\x00"},
	} {
		r := kinds[c.kind].reader(strings.NewReader(c.text), nil)
		var err error
		for err == nil {
			_, err = r.Read(make([]byte, 4096))
		}
		if e, ok := errors.AsType[*layer.StreamError](err); !ok || !strings.EqualFold(e.Compression, strings.TrimRight(c.kind, "6")) {
			t.Errorf("%s: %v", name, err)
		}
		r.Close()
	}
}

// TestPadding checks that chunks which say nothing are skipped, whatever their
// size, without being kept, and that the end in one is an end.
func TestPadding(t *testing.T) {
	const head = "\xff\x06\x00\x00sNaPpY"
	var wire bytes.Buffer
	w := layer.NewSnappyWriter(&wire)
	mustWrite(t, w, []byte("hello"))
	mustFlush(t, w)
	hello := strings.TrimPrefix(wire.String(), head)
	for kind, size := range map[string]int{"\x80": 1<<18 - 1, "\xfd": 1<<16 - 1, "\xfe": 1<<24 - 1} {
		text := head + kind + string([]byte{byte(size), byte(size >> 8), byte(size >> 16)}) + strings.Repeat("\x00", size) + head + kind + "\x00\x00\x00" + hello + kind + "\xff\xff\xffxx"
		r := layer.NewSnappyReader(strings.NewReader(text))
		b := make([]byte, 100)
		if n, err := r.Read(b); string(b[:n]) != "hello" || err != nil {
			t.Errorf("%x: %q, %v", kind, b[:n], err)
		}
		if n, err := r.Read(b); n > 0 || err != io.EOF {
			t.Errorf("%x: the end is %d, %v", kind, n, err)
		}
		r.Close()
	}
}

// TestBrokenWire checks that an error beneath comes up.
func TestBrokenWire(t *testing.T) {
	for name, k := range kinds {
		w := k.writer(broken{})
		_, err := w.Write(bytes.Repeat([]byte("x"), 1<<16))
		if err == nil {
			err = w.Flush()
		}
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: %v", name, err)
		}
		w.Close()
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// FuzzReaders compares what comes of any bytes with what others make of them.
func FuzzReaders(f *testing.F) {
	for name, k := range kinds {
		var wire bytes.Buffer
		w := k.theirs(&wire)
		for _, piece := range [][]byte{[]byte("NOP\n"), bytes.Repeat([]byte("x"), 1000), make([]byte, 70_000)} {
			_, _ = w.Write(piece)
			_ = w.Flush()
		}
		f.Add(wire.Bytes(), name == "snappy")
	}
	f.Fuzz(func(t *testing.T, text []byte, isSnappy bool) {
		k := kinds["deflate6"]
		if isSnappy {
			k = kinds["snappy"]
		}
		read := func(r io.Reader) []byte {
			all, _ := io.ReadAll(io.LimitReader(r, 1<<20))
			return all
		}
		r := k.reader(bytes.NewReader(text), nil)
		defer r.Close()
		// Of a stream that breaks off, one may give more than the other.
		got, want := read(r), read(k.read(bytes.NewReader(text)))
		if !bytes.HasPrefix(got, want) && !bytes.HasPrefix(want, got) {
			t.Errorf("%q… came, others read %q…", got[:min(len(got), 100)], want[:min(len(want), 100)])
		}
	})
}
