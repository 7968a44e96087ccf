package history_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/history"
)

// raceDetector is on: what only one goroutine does takes ten times as long, and it
// finds nothing in that.
var raceDetector bool

// many are the samples of so many topics with two channels each, and the totals.
func many(topics int) []history.Sample {
	samples := []history.Sample{{}}
	for i := range topics {
		name := fmt.Sprintf("topic.number-%05d", i)
		samples = append(samples,
			history.Sample{Key: history.Key{Topic: name}},
			history.Sample{Key: history.Key{Topic: name, Channel: "archive"}},
			history.Sample{Key: history.Key{Topic: name, Channel: "invoices"}})
	}
	return samples
}

// busily is samples such that each key, in each metric, has another value in each: none
// that is easily packed. They are to be added in turn.
func busily(samples []history.Sample) [][]history.Sample {
	r := rand.New(rand.NewPCG(3, 3))
	turns := make([][]history.Sample, 4)
	for n := range turns {
		turns[n] = slices.Clone(samples)
		for i := range samples {
			for m := range samples[i].Values {
				bits := r.Uint64()
				turns[n][i].Values[m] = float32(bits>>40) * float32(uint64(1)<<(bits&31)) / 1000
			}
		}
	}
	return turns
}

func gaps(values []float64) (n int) {
	for _, v := range values {
		if math.IsNaN(v) {
			n++
		}
	}
	return n
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Ten thousand topics with two channels each, with the worst values there are, stay
// within the bound, by the Store's own count and by the heap's.
func TestManyTopicsStayWithinTheBound(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("takes seconds, and half a minute with the race detector")
	}
	const most = 128 << 20
	samples := many(10_000)
	turns := busily(samples)
	before := heap()
	s := history.New(history.Settings{MaxBytes: most})
	at := epoch
	for n := range 300 {
		s.Add(at, turns[n%len(turns)])
		// A minute between polls is the longest that is no gap: a week is passed in few.
		at = at.Add([]time.Duration{2 * time.Second, time.Minute}[n/200%2])
		if b := s.Bytes(); b > most {
			t.Fatalf("%d bytes are taken after %d samples", b, n)
		}
	}
	if used := heap() - before; used > most {
		t.Errorf("the heap has grown by %d bytes, the Store counts %d", used, s.Bytes())
	}
	last := s.Series(samples[17].Key, at.Add(-30*time.Minute), at, 31)
	if gaps(last.Values[history.Out]) > 2 { // the points under way
		t.Errorf("of the last minute is known: %s", shown(last.Values[history.Out]))
	}
	if s.Note() != "" {
		t.Errorf("keys are left out: %s", s.Note())
	}
	runtime.KeepAlive(turns)
}

// The same for a week, in a small house: what counts is the memory for each key.
func TestWeekOfBusyTopicsStaysWithinTheBound(t *testing.T) {
	if raceDetector {
		t.Skip("takes half a minute with it")
	}
	const most = 1 << 20
	samples := many(75)
	turns := busily(samples)
	s := history.New(history.Settings{MaxBytes: most})
	at := epoch
	for n := 0; at.Before(epoch.Add(8 * 24 * time.Hour)); n++ {
		s.Add(at, turns[n%len(turns)])
		if b := s.Bytes(); b > most {
			t.Fatalf("%d bytes are taken at %v", b, at)
		}
		at = at.Add(30 * time.Second)
	}
	// What is older is coarser, but there is no hole in it.
	for _, k := range []history.Key{{}, samples[5].Key} {
		week := s.Series(k, at.Add(-7*24*time.Hour), at, 1009)
		for m := range history.Metrics {
			if gaps(week.Values[m]) > 1 {
				t.Fatalf("%s of %v: %s", m, k, shown(week.Values[m]))
			}
		}
	}
}

// The topics of a real house are idle, most of them: then the hour is kept as it came.
func TestIdleTopicsTakeLittle(t *testing.T) {
	samples := many(1000)
	s := history.New(history.Settings{MaxBytes: 128 << 20 / 10})
	r := rand.New(rand.NewPCG(7, 7))
	at := epoch
	for range 2000 {
		for i := 0; i < len(samples); i += 20 {
			samples[i].Values[history.In] = 100 + 10*r.Float32()
			samples[i].Values[history.Out] = 100 + 10*r.Float32()
			samples[i].Values[history.Depth] = float32(r.IntN(50))
		}
		s.Add(at, samples)
		at = at.Add(2 * time.Second)
	}
	hour := s.Series(samples[20].Key, at.Add(-time.Hour), at, 1801)
	if hour.Step != 2*time.Second {
		t.Fatalf("the step is %v", hour.Step)
	}
	same := 0
	for i, v := range hour.Values[history.In][1:1790] {
		if v == hour.Values[history.In][i] {
			same++
		}
	}
	if same > 100 {
		t.Errorf("%d points of 1790 are like the one before: the hour is not kept as it came", same)
	}
	if b := s.Bytes(); b > 6<<20 {
		t.Errorf("an hour of idle topics takes %d bytes", b)
	}
}

// More keys than find room: those that are idle longest have no history, and a word
// says so.
func TestTooManyKeys(t *testing.T) {
	const most = 2 << 20
	s := history.New(history.Settings{MaxBytes: most})
	key := func(i int) history.Key { return history.Key{Topic: fmt.Sprint("t", i)} }
	var room int
	at := epoch
	add := func(samples []history.Sample) {
		s.Add(at, samples)
		at = at.Add(2 * time.Second)
	}
	// All are busy, then only each second one is, and then others come that are.
	all := []history.Sample{sample(history.Key{}, 1, 1)}
	for i := range 1000 {
		all = append(all, sample(key(i), 1, 7))
	}
	add(all)
	note := s.Note()
	if _, err := fmt.Sscanf(note, "history is kept of %d topics", &room); err != nil || room < 400 || room >= 1000 {
		t.Fatalf("the note is %q", note)
	}
	if want := fmt.Sprintf("%d that were idle longest", 1001-room); !strings.Contains(note, want) {
		t.Errorf("the note is %q, want %q", note, want)
	}
	for range 400 {
		for i := range all {
			all[i].Values[history.In] = float32(i % 2)
		}
		add(all[:400])
	}
	value := func(i int) string { return shown([]float64{s.Value(key(i), history.Depth, at.Add(-3*time.Second))}) }
	expect(t, "one of the first", value(4), "7")
	expect(t, "another of the first", value(5), "7")
	for range 100 {
		for i := range all {
			all[i].Values[history.In] = float32(i % 2)
		}
		add(all)
	}
	expect(t, "busy from the start", value(4), "7")
	expect(t, "idle from the start", value(5), ".")
	expect(t, "busy and late", value(600), "7")
	expect(t, "idle and late", value(901), ".")
	expect(t, "the totals", shown([]float64{s.Value(history.Key{}, history.Depth, at.Add(-3*time.Second))}), "1")
	if b := s.Bytes(); b > most {
		t.Errorf("%d bytes are taken", b)
	}
}

// A topic that is gone for a week is forgotten, and who has its place tells nothing of
// it.
func TestKeysThatAreGone(t *testing.T) {
	s := history.New(history.Settings{CoarseKeep: 4 * time.Hour})
	at := epoch
	for i := range 3 * 3600 {
		samples := []history.Sample{sample(history.Key{}, 0, 0)}
		if i < 600 {
			samples = append(samples, sample(history.Key{Topic: "first"}, 1, 111))
		}
		if i > 2*3600+1000 {
			samples = append(samples, sample(history.Key{Topic: "second"}, 2, 222))
		}
		s.Add(at, samples)
		at = at.Add(2 * time.Second)
		if i == 1200 {
			before := s.Series(history.Key{Topic: "first"}, epoch, at, 5)
			expect(t, "a topic that is gone", shown(before.Values[history.Depth]), "111 111 .")
		}
	}
	expect(t, "after a week", shown(s.Series(history.Key{Topic: "first"}, epoch, at, 4).Values[history.Depth]), ". . .")
	expect(t, "who has its place", shown(s.Series(history.Key{Topic: "second"}, epoch, at, 7).Values[history.Depth]), ". . . . 222 222")
}

// A key that takes the place of another tells nothing of it: not in the sample that
// both are in, nor before, nor when samples of both are put together.
func TestPlaceOfAnother(t *testing.T) {
	s := history.New(history.Settings{MaxBytes: 1 << 20})
	idle := []history.Sample{{}}
	for i := range 1000 {
		idle = append(idle, sample(history.Key{Topic: fmt.Sprint("idle", i)}, 0, 111))
	}
	at := epoch
	for range 400 {
		s.Add(at, idle)
		at = at.Add(2 * time.Second)
	}
	late := sample(history.Key{Topic: "late"}, 40, 5)
	born := at.Add(-1900 * time.Millisecond)
	s.Add(born, append(idle, late)) // too early for a row of its own
	for range 3000 {
		s.Add(at, []history.Sample{{}, late})
		at = at.Add(2 * time.Second)
		if early := at.Sub(born) < 10*time.Second; early || at.Sub(born) > 95*time.Minute {
			series := s.Series(late.Key, epoch.Add(-time.Hour), at, 1000)
			for i, begin := range series.Times {
				rate, depth := series.Values[history.In][i], series.Values[history.Depth][i]
				if !math.IsNaN(depth) && (depth != 5 || rate != 40 || begin.Before(born.Add(-10*time.Minute))) {
					t.Fatalf("%v after its birth at %v it seems that at %v there were %v, %v a second", at.Sub(born), born, begin, depth, rate)
				}
			}
		}
	}
	if v := s.Value(late.Key, history.Depth, at.Add(-3*time.Second)); v != 5 {
		t.Errorf("the key that came late has depth %v", v)
	}
}

func TestNamesThatAreNoNames(t *testing.T) {
	s := history.New(history.Settings{MaxBytes: 1 << 20})
	for i := range 2000 {
		s.Add(epoch.Add(time.Duration(i)*time.Second), []history.Sample{
			sample(history.Key{Node: strings.Repeat("n", 100_000), Topic: fmt.Sprint(i)}, 1, 1),
			sample(history.Key{Topic: strings.Repeat("t", 300) + fmt.Sprint(i), Channel: "c"}, 1, 1),
		})
	}
	if b := s.Bytes(); b > 1<<20 {
		t.Errorf("%d bytes are taken", b)
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, values := range []string{"random", "idle"} {
		b.Run(values, func(b *testing.B) {
			samples := many(10_000)
			s := history.New(history.Settings{})
			turns := [][]history.Sample{samples}
			if values == "random" {
				turns = busily(samples)
			}
			at := epoch
			n := 0
			for b.Loop() {
				s.Add(at, turns[n%len(turns)])
				at = at.Add(2 * time.Second)
				n++
			}
			b.ReportMetric(float64(s.Bytes())/(1<<20), "MiB")
		})
	}
}

// full is a Store that has seen two hours of many topics.
func full(topics int) (*history.Store, []history.Sample, time.Time) {
	samples := many(topics)
	s := history.New(history.Settings{})
	r := rand.New(rand.NewPCG(1, 1))
	at := epoch
	for range 3600 {
		for i := range samples {
			samples[i].Values[history.In] = 100 + 10*r.Float32()
			samples[i].Values[history.Depth] = float32(r.IntN(50))
		}
		s.Add(at, samples)
		at = at.Add(2 * time.Second)
	}
	return s, samples, at
}

func BenchmarkRead(b *testing.B) {
	s, samples, at := full(1000)
	k := samples[len(samples)/2].Key
	b.Run("Series", func(b *testing.B) {
		for b.Loop() {
			s.Series(k, at.Add(-time.Hour), at, 300)
		}
	})
	b.Run("Recent", func(b *testing.B) {
		for b.Loop() {
			s.Recent(k, history.Depth, 60)
		}
	})
	b.Run("Value", func(b *testing.B) {
		for b.Loop() {
			s.Value(k, history.Depth, at.Add(-10*time.Minute))
		}
	})
	b.Run("Mean", func(b *testing.B) {
		for b.Loop() {
			s.Mean(k, history.Timeout, at.Add(-time.Minute), at)
		}
	})
}
