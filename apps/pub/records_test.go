package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// published is what the sinks get of a stream.
type published struct {
	bodies  []string
	lines   []int64
	sizes   []int // messages in each batch
	refused []int64
}

// sponge is a sink that takes everything.
type sponge chan *batch

func (s sponge) input() chan<- *batch              { return s }
func (s sponge) run(context.Context, func()) error { return nil }

func split(in io.Reader, frames framing, limit int) (p published, err error) {
	inputs, err := newInputs(nil, in, "record")
	if err != nil {
		return p, err
	}
	s := make(sponge)
	f := &feed{
		inputs: inputs, framing: frames, limit: limit, decoder: decoder{topic: "t", limit: frames.limit},
		topics: map[string]*batch{}, sinks: []sink{s},
		refuse: func(r piece, err error) { p.refused = append(p.refused, r.line) },
	}
	done := make(chan error)
	go func() {
		defer close(s)
		err := f.run(context.Background())
		go func() { done <- err }()
	}()
	for b := range s {
		for _, body := range b.bodies {
			p.bodies = append(p.bodies, string(body))
		}
		p.lines = append(p.lines, b.lines...)
		p.sizes = append(p.sizes, len(b.bodies))
	}
	return p, <-done
}

func delimited(delim string, limit int) framing { return framing{delim: []byte(delim), limit: limit} }

// thinReader reads one byte at a time, and more of a stream that is long.
type thinReader struct {
	io.Reader
	read int
}

func (r *thinReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b[:min(len(b), 1+r.read/50)])
	r.read += n
	return n, err
}

func TestRecords(t *testing.T) {
	long := strings.Repeat("x", 3*chunkSize)
	tests := map[string]struct {
		in, delim string
		bodies    []string
		lines     []int64
	}{
		"nothing":               {"", "\n", nil, nil},
		"one":                   {"a\n", "\n", []string{"a"}, []int64{1}},
		"last without its end":  {"a\nb", "\n", []string{"a", "b"}, []int64{1, 2}},
		"empty ones":            {"\n\na\n\nb\n\n", "\n", []string{"a", "b"}, []int64{3, 5}},
		"only empty ones":       {"\n\n\n", "\n", nil, nil},
		"another delimiter":     {"a\nb,c", ",", []string{"a\nb", "c"}, []int64{1, 2}},
		"no byte is special":    {"\r\x00\xff\n", "\n", []string{"\r\x00\xff"}, []int64{1}},
		"several bytes":         {"a\r\nb\rc\r\n\r\nd\r", "\r\n", []string{"a", "b\rc", "d\r"}, []int64{1, 2, 4}},
		"NUL":                   {"a\x00\nb\x00", "\x00", []string{"a", "\nb"}, []int64{1, 2}},
		"longer than any chunk": {"a\n" + long + "\nb\n" + long, "\n", []string{"a", long, "b", long}, []int64{1, 2, 3, 4}},
	}
	readers := map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "few bytes": func(r io.Reader) io.Reader { return &thinReader{Reader: r} },
		"end with the last bytes": iotest.DataErrReader,
	}
	for name, tt := range tests {
		for kind, reader := range readers {
			t.Run(name+"/"+kind, func(t *testing.T) {
				got, err := split(reader(strings.NewReader(tt.in)), delimited(tt.delim, 1<<20), 200)
				if err != nil || !slices.Equal(got.bodies, tt.bodies) || !slices.Equal(got.lines, tt.lines) {
					t.Errorf("%d messages at %v (%v), want %d at %v", len(got.bodies), got.lines, err, len(tt.bodies), tt.lines)
				}
			})
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte("a\n\nb"), []byte("\n"), uint8(1), uint8(2))
	f.Add(bytes.Repeat([]byte("0123456789\n"), 100), []byte("56"), uint8(7), uint8(200))
	f.Add([]byte("ababaabab"), []byte("abab"), uint8(0), uint8(2))
	f.Fuzz(func(t *testing.T, in, delim []byte, chunk, limit uint8) {
		if len(delim) == 0 {
			return
		}
		n, most := int(chunk)+1, int(limit)+1
		var want []string
		var lines []int64
		for i, record := range bytes.Split(in, delim) {
			if len(record) > 0 {
				want, lines = append(want, string(record)), append(lines, int64(i+1))
			}
		}
		got, err := split(readsOf(in, n), delimited(string(delim), 1<<20), most)
		if err != nil || !slices.Equal(got.bodies, want) || !slices.Equal(got.lines, lines) {
			t.Fatalf("%q at %v (%v), want %q at %v", got.bodies, got.lines, err, want, lines)
		}
		if len(got.sizes) > 0 && slices.Max(got.sizes) > most {
			t.Fatalf("batches of %v messages, the limit is %d", got.sizes, most)
		}
	})
}

// readsOf returns b in reads of at most n bytes.
func readsOf(b []byte, n int) io.Reader {
	var parts []io.Reader
	for part := range slices.Chunk(b, n) {
		parts = append(parts, bytes.NewReader(part))
	}
	return io.MultiReader(parts...)
}

// inReads returns b in reads of n bytes or, if n is 0, of few at first.
func inReads(b []byte, n int) io.Reader {
	if n == 0 {
		return &thinReader{Reader: bytes.NewReader(b)}
	}
	return readsOf(b, n)
}

func TestBatches(t *testing.T) {
	tests := map[string]struct {
		in    io.Reader
		sizes []int
	}{
		"by number":                   {strings.NewReader(strings.Repeat("a\n", 450)), []int{200, 200, 50}},
		"what is there does not wait": {readsOf([]byte("a\nb\nc\n"), 4), []int{2, 1}},
		"a part waits for its rest":   {readsOf([]byte("a\nb\nc\n"), 3), []int{1, 2}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := split(tt.in, delimited("\n", 100), 200)
			if err != nil || !slices.Equal(got.sizes, tt.sizes) {
				t.Errorf("batches of %v (%v), want %v", got.sizes, err, tt.sizes)
			}
		})
	}
}

func TestBatchFits(t *testing.T) {
	var b batch
	if !b.fits(10*maxBatchBytes, 1) {
		t.Error("an empty batch must take anything")
	}
	b.add(make([]byte, maxBatchBytes-100), 1)
	if !b.fits(100-4-4, 2) || b.fits(100-4-4+1, 2) || b.fits(1, 1) {
		t.Error("a batch takes what its limits allow, and no more")
	}
}

// A record that is too long is left out, and what follows it is read.
func TestTooLong(t *testing.T) {
	tests := map[string]struct {
		in     string
		bodies []string
	}{
		"whole":     {"a\r\n\r\nb\r\n" + strings.Repeat("x", 101) + "\r\nc\r\n", []string{"a", "b", "c"}},
		"unended":   {"a\r\n\r\nb\r\n" + strings.Repeat("x", 101), []string{"a", "b"}},
		"unbounded": {"a\r\n\r\nb\r\n" + strings.Repeat("x", 3*chunkSize) + "\r\nc\r\n", []string{"a", "b", "c"}},
	}
	for name, tt := range tests {
		for _, n := range []int{0, 7_000, 1 << 20} {
			got, err := split(inReads([]byte(tt.in), n), delimited("\r\n", 100), 200)
			if err != nil || !slices.Equal(got.refused, []int64{4}) || !slices.Equal(got.bodies, tt.bodies) {
				t.Errorf("%s in reads of %d: %q published, %v refused (%v)", name, n, got.bodies, got.refused, err)
			}
		}
	}
}

func TestLengthPrefixed(t *testing.T) {
	frame := func(bodies ...string) (b []byte) {
		for _, body := range bodies {
			b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
			b = append(b, body...)
		}
		return b
	}
	long := strings.Repeat("x", 3*chunkSize)
	tests := map[string]struct {
		in      []byte
		bodies  []string
		refused []int64
		err     string
	}{
		"nothing":            {nil, nil, nil, ""},
		"some":               {frame("a\n", "", "\x00", long[:1000]), []string{"a\n", "\x00", long[:1000]}, nil, ""},
		"too long":           {frame("a", long, "b", long[:1001], "c"), []string{"a", "b", "c"}, []int64{2, 4}, ""},
		"torn":               {frame("a", "bcd")[:10], []string{"a"}, nil, "standard input ends within record 2, of which it has 5 bytes of 7 bytes"},
		"torn in its length": {frame("a", "b")[:7], []string{"a"}, nil, "ends within record 2, of which it has 2 bytes of its length"},
		"text":               {[]byte("a line of text\n"), nil, nil, "ends within record 1"},
	}
	for name, tt := range tests {
		for _, n := range []int{0, 7_000, 1 << 20} {
			got, err := split(inReads(tt.in, n), framing{limit: 1000}, 200)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("%s in reads of %d: %v, want %q", name, n, err, tt.err)
			}
			if !slices.Equal(got.bodies, tt.bodies) || !slices.Equal(got.refused, tt.refused) {
				t.Errorf("%s in reads of %d: %d published, %v refused", name, n, len(got.bodies), got.refused)
			}
		}
	}
}

// What precedes a read error is published, but for a record that may be half.
func TestReadError(t *testing.T) {
	bad := errors.New("bad cable")
	in := io.MultiReader(strings.NewReader("a\nb\nhal"), iotest.ErrReader(bad))
	got, err := split(in, delimited("\n", 100), 200)
	if !errors.Is(err, bad) || !strings.Contains(err.Error(), "after record 2") {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(got.bodies, []string{"a", "b"}) {
		t.Errorf("published %q", got.bodies)
	}
}
