package history_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/millrace-mq/millrace/admin/history"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

// small makes a week pass in an hour.
var small = history.Settings{Keep: 5 * time.Minute, CoarseStep: time.Minute, CoarseKeep: time.Hour, MaxBytes: 1 << 20}

// house is a Store that has seen a few keys for a while, some of which came and went.
func house() (*history.Store, time.Time) {
	s := history.New(small)
	r := rand.New(rand.NewPCG(9, 9))
	at := epoch
	for i := range 900 {
		samples := []history.Sample{sample(history.Key{}, 100*r.Float64(), 5), sample(orders, float64(i%7), float64(i))}
		if i%500 < 200 {
			samples = append(samples, sample(history.Key{Node: "a:4151"}, 1, 1), sample(history.Key{Topic: "orders", Channel: "é"}, 2, 0))
		}
		s.Add(at, samples)
		at = at.Add(2 * time.Second)
	}
	s.Mark(epoch.Add(time.Minute), "a:4151", "restarted")
	return s, at
}

func saved(t testing.TB, s *history.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// told is all that a Store tells of some keys.
func told(s *history.Store, at time.Time) string {
	var b strings.Builder
	for _, k := range []history.Key{{}, orders, {Node: "a:4151"}, {Topic: "orders", Channel: "é"}} {
		for _, from := range []time.Duration{5 * time.Minute, time.Hour} {
			series := s.Series(k, at.Add(-from), at, 400)
			fmt.Fprintln(&b, k, series.Step, series.Marks)
			for m := range history.Metrics {
				fmt.Fprintln(&b, m, shown(series.Values[m]))
			}
		}
	}
	return b.String()
}

func TestSaveAndLoad(t *testing.T) {
	s, at := house()
	file := saved(t, s)
	got := history.New(small)
	if err := got.Load(bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	expect(t, "what is loaded", told(got, at), told(s, at))
	if again := saved(t, got); !bytes.Equal(again, file) {
		t.Errorf("saved again, %d bytes become %d other ones", len(file), len(again))
	}

	// The time between is a gap, and all goes on.
	for _, s := range []*history.Store{s, got} {
		feed(s, orders, at.Add(30*time.Second), at.Add(time.Minute), 2*time.Second, always(3))
	}
	series := got.Series(orders, at, at.Add(time.Minute), 7)
	expect(t, "after a restart", shown(series.Values[history.In]), ". . 3 3 3 3")
	if err := got.Load(bytes.NewReader(file)); err == nil || !strings.Contains(err.Error(), "before anything is added") {
		t.Errorf("loaded into a Store that is in use: %v", err)
	}
}

func TestSavingOftenChangesNothing(t *testing.T) {
	s, plain := history.New(history.Settings{}), history.New(history.Settings{})
	var at time.Time
	for i := range 2000 {
		at = epoch.Add(time.Duration(i) * 2 * time.Second)
		for _, s := range []*history.Store{s, plain} {
			s.Add(at, []history.Sample{sample(orders, float64(i%13), float64(i))})
		}
		if i%5 == 0 {
			if err := s.Save(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	}
	expect(t, "the last hour", shown(s.Series(orders, at.Add(-50*time.Minute), at, 1600).Values[history.In]),
		shown(plain.Series(orders, at.Add(-50*time.Minute), at, 1600).Values[history.In]))
	if a, b := s.Bytes(), plain.Bytes(); a > 2*b {
		t.Errorf("it takes %d bytes instead of %d", a, b)
	}
}

func TestLoadOfLess(t *testing.T) {
	big := history.New(history.Settings{MaxBytes: 8 << 20})
	samples := many(100)
	turns := busily(samples)
	at := epoch
	for n := range 2000 {
		big.Add(at, turns[n%len(turns)])
		at = at.Add(2 * time.Second)
	}
	less := history.New(history.Settings{MaxBytes: 1536 << 10})
	if err := less.Load(bytes.NewReader(saved(t, big))); err != nil {
		t.Fatal(err)
	}
	if b := less.Bytes(); b > 1536<<10 {
		t.Errorf("%d bytes are taken", b)
	}
	if n := gaps(less.Series(samples[9].Key, at.Add(-time.Hour), at, 60).Values[history.In]); n > 2 {
		t.Errorf("%d points of an hour are not known", n)
	}
	tiny := history.New(history.Settings{MaxBytes: 1 << 20})
	err := tiny.Load(bytes.NewReader(saved(t, big)))
	if err == nil || !strings.Contains(err.Error(), "there is more in it than 1 MiB of memory can take") {
		t.Errorf("loaded with more keys than there is room for: %v", err)
	}
}

// A file that is cut off anywhere, or has a bit turned anywhere, is refused, in one
// line, and nothing of it is used.
func TestDamagedFiles(t *testing.T) {
	s := history.New(history.Settings{})
	feed(s, orders, epoch, epoch.Add(5*time.Minute), 2*time.Second, func(at time.Time) float64 { return float64(at.Unix() % 17) })
	s.Mark(epoch, "a", "b")
	file := saved(t, s)
	check := func(what string, r io.Reader) {
		t.Helper()
		s := history.New(history.Settings{})
		err := s.Load(r)
		if err == nil {
			t.Fatalf("%s: it was loaded", what)
		}
		if text := err.Error(); strings.Contains(text, "\n") || !strings.HasPrefix(text, "loading history: ") || !strings.Contains(text, "begins anew") {
			t.Fatalf("%s: %q", what, text)
		}
		if n := gaps(s.Series(orders, epoch, epoch.Add(5*time.Minute), 11).Values[history.In]); n != 10 {
			t.Fatalf("%s: something is loaded", what)
		}
	}
	for n := range file {
		check(fmt.Sprintf("cut off at %d of %d", n, len(file)), bytes.NewReader(file[:n]))
		bad := bytes.Clone(file)
		bad[n] ^= 1 << (n % 8)
		check(fmt.Sprintf("a bit turned at %d of %d", n, len(file)), bytes.NewReader(bad))
	}
	check("a disk that fails", iotest.TimeoutReader(bytes.NewReader(file)))
	check("another version", strings.NewReader("millrace history 2\n"))
}

// Whoever can write the file can make its checksums right, too. Whatever it says then,
// it is refused, or harmless.
func TestHostileFiles(t *testing.T) {
	s := history.New(small)
	at := epoch.Add(4 * time.Minute)
	feed(s, orders, epoch, at, 4*time.Second, func(at time.Time) float64 { return float64(at.Unix() % 17) })
	s.Mark(epoch, "a", "b")
	blocks := unsealed(saved(t, s))
	refused := 0
	for n := range blocks {
		for _, v := range []byte{0, 0xff, blocks[n] + 1} {
			bad := bytes.Clone(blocks)
			bad[n] = v
			s := history.New(small)
			if err := s.Load(bytes.NewReader(sealed(bad))); err != nil {
				refused++
			}
			feed(s, orders, at, at.Add(2*time.Minute), 2*time.Second, always(1))
			s.Series(orders, epoch, at, 100)
			if b := s.Bytes(); b > 1<<20 {
				t.Fatalf("with %d at %d it takes %d bytes", v, n, b)
			}
		}
	}
	if refused < len(blocks)/2 {
		t.Errorf("only %d of %d are refused", refused, 3*len(blocks))
	}
}

func TestSaveToADiskThatIsFull(t *testing.T) {
	s, _ := house()
	err := s.Save(fullDisk{})
	if err == nil || err.Error() != "saving history: no space left" {
		t.Errorf("the error is %v", err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, fmt.Errorf("no space left") }

// What version 1 wrote is read as long as there is a version 1.
func TestGoldenFile(t *testing.T) {
	const name = "testdata/version1.history"
	s, at := house()
	if *rewrite {
		if err := os.WriteFile(name, saved(t, s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(saved(t, s), file) {
		t.Error("what is written is another format; is it another version?")
	}
	got := history.New(small)
	if err := got.Load(bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	expect(t, "what is loaded", told(got, at), told(s, at))
}

// FuzzLoad takes blocks as kinds and payloads, and makes their checksums right: who
// wants to harm us can do that, too.
func FuzzLoad(f *testing.F) {
	s := history.New(history.Settings{})
	feed(s, orders, epoch, epoch.Add(3*time.Minute), 2*time.Second, func(at time.Time) float64 { return float64(at.Unix() % 17) })
	s.Mark(epoch, "a", "b")
	f.Add(unsealed(saved(f, s)))
	s.Add(epoch.Add(40*time.Hour), []history.Sample{sample(history.Key{}, 1, 1)})
	f.Add(unsealed(saved(f, s)))
	f.Add([]byte("E\x01\x00\x00"))
	f.Add([]byte("K\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, blocks []byte) {
		s := history.New(history.Settings{MaxBytes: 1 << 20})
		err := s.Load(bytes.NewReader(sealed(blocks)))
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Fatalf("more than one line: %q", err)
		}
		if b := s.Bytes(); b > 1<<20 {
			t.Fatalf("%d bytes are taken", b)
		}
		file := saved(t, s)
		again := history.New(history.Settings{MaxBytes: 1 << 20})
		if err := again.Load(bytes.NewReader(file)); err != nil {
			t.Fatalf("what was loaded and saved is refused: %v", err)
		}
		for i := range 70 {
			s.Add(epoch.Add(time.Duration(i)*2*time.Second), []history.Sample{sample(orders, 1, 1), sample(history.Key{}, 2, 2)})
		}
		s.Series(orders, epoch.Add(-time.Hour), epoch.Add(time.Hour), 100)
		if b := s.Bytes(); b > 1<<20 {
			t.Fatalf("%d bytes are taken after more was added", b)
		}
	})
}

const fileHead = "millrace history 1\n"

// unsealed is a file without its head and checksums: of each block its kind, the length
// of its payload in three bytes, and the payload.
func unsealed(file []byte) (blocks []byte) {
	for rest := file[len(fileHead):]; len(rest) > 0; {
		n := int(binary.LittleEndian.Uint32(rest[1:]))
		blocks = append(blocks, rest[:4]...)
		blocks = append(blocks, rest[9:9+n]...)
		rest = rest[9+n:]
	}
	return blocks
}

// sealed undoes it. A length that is too long is kept, with what there is.
func sealed(blocks []byte) []byte {
	file := []byte(fileHead)
	for len(blocks) >= 4 {
		n := int(blocks[1]) | int(blocks[2])<<8 | int(blocks[3])<<16
		head := []byte{blocks[0], blocks[1], blocks[2], blocks[3], 0}
		payload := blocks[4:min(4+n, len(blocks))]
		blocks = blocks[4+len(payload):]
		table := crc32.MakeTable(crc32.Castagnoli)
		sum := crc32.Update(crc32.Checksum(head, table), table, payload)
		file = append(binary.LittleEndian.AppendUint32(append(file, head...), sum), payload...)
	}
	return file
}

func BenchmarkSaveAndLoad(b *testing.B) {
	s, _, _ := full(1000)
	var file bytes.Buffer
	if err := s.Save(&file); err != nil {
		b.Fatal(err)
	}
	b.Run("Save", func(b *testing.B) {
		b.SetBytes(int64(file.Len()))
		for b.Loop() {
			if err := s.Save(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Load", func(b *testing.B) {
		b.SetBytes(int64(file.Len()))
		for b.Loop() {
			if err := history.New(history.Settings{}).Load(bytes.NewReader(file.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}
