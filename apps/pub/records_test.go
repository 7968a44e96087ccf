package main

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// published is what batches makes of a stream.
type published struct {
	bodies []string
	lines  []int64
	sizes  []int // messages in each batch
}

func split(r *records, limit int) (p published, err error) {
	err = batches(r, limit, func(b *batch) bool {
		for _, body := range b.bodies {
			p.bodies = append(p.bodies, string(body))
		}
		p.lines = append(p.lines, b.lines...)
		p.sizes = append(p.sizes, len(b.bodies))
		return true
	})
	return p, err
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
		"longer than any chunk": {"a\n" + long + "\nb\n" + long, "\n", []string{"a", long, "b", long}, []int64{1, 2, 3, 4}},
	}
	readers := map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
		"end with the last bytes": iotest.DataErrReader,
	}
	for name, tt := range tests {
		for kind, reader := range readers {
			t.Run(name+"/"+kind, func(t *testing.T) {
				got, err := split(newRecords(reader(strings.NewReader(tt.in)), tt.delim[0], 1<<20), 200)
				if err != nil || !slices.Equal(got.bodies, tt.bodies) || !slices.Equal(got.lines, tt.lines) {
					t.Errorf("%d messages at %v (%v), want %d at %v", len(got.bodies), got.lines, err, len(tt.bodies), tt.lines)
				}
			})
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte("a\n\nb"), byte('\n'), uint8(1), uint8(2))
	f.Add(bytes.Repeat([]byte("0123456789\n"), 100), byte('5'), uint8(7), uint8(200))
	f.Fuzz(func(t *testing.T, in []byte, delim byte, chunk, limit uint8) {
		n, most := int(chunk)+1, int(limit)+1
		var want []string
		var lines []int64
		for i, record := range bytes.Split(in, []byte{delim}) {
			if len(record) > 0 {
				want, lines = append(want, string(record)), append(lines, int64(i+1))
			}
		}
		got, err := split(newRecords(readsOf(in, n), delim, 1<<20), most)
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
			got, err := split(newRecords(tt.in, '\n', 100), 200)
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

func TestTooLong(t *testing.T) {
	tests := map[string]string{
		"whole":     "a\n\nb\n" + strings.Repeat("x", 101) + "\nc\n",
		"unended":   "a\n\nb\n" + strings.Repeat("x", 101),
		"unbounded": "a\n\nb\n" + strings.Repeat("x", 3*chunkSize),
	}
	for name, in := range tests {
		for _, n := range []int{7, 1 << 20} {
			got, err := split(newRecords(readsOf([]byte(in), n), '\n', 100), 200)
			if err == nil || !strings.Contains(err.Error(), "line 4 is longer than the 100 bytes") {
				t.Errorf("%s in reads of %d: %v", name, n, err)
			}
			if !slices.Equal(got.bodies, []string{"a", "b"}) {
				t.Errorf("%s in reads of %d: %q came before it", name, n, got.bodies)
			}
		}
	}
}

// What precedes a read error is published, but for a record that may be half.
func TestReadError(t *testing.T) {
	bad := errors.New("bad cable")
	in := io.MultiReader(strings.NewReader("a\nb\nhal"), iotest.ErrReader(bad))
	got, err := split(newRecords(in, '\n', 100), 200)
	if !errors.Is(err, bad) || !strings.Contains(err.Error(), "after line 2") {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(got.bodies, []string{"a", "b"}) {
		t.Errorf("published %q", got.bodies)
	}
}
