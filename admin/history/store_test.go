package history_test

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/history"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var nan = math.NaN()

// sample is one in which a key's rates and its depth have a value each, and all else
// is 0.
func sample(k history.Key, rate, depth float64) history.Sample {
	s := history.Sample{Key: k}
	s.Values[history.In] = float32(rate)
	s.Values[history.Depth] = float32(depth)
	return s
}

// feed adds a sample of one key every so often, from a time up to another.
func feed(s *history.Store, k history.Key, from, to time.Time, every time.Duration, rate func(time.Time) float64) {
	for at := from; !at.After(to); at = at.Add(every) {
		v := rate(at)
		s.Add(at, []history.Sample{sample(k, v, v)})
	}
}

func always(v float64) func(time.Time) float64 { return func(time.Time) float64 { return v } }

// shown is one metric of a series, a point a word; "." is a gap.
func shown(values []float64) string {
	var words []string
	for _, v := range values {
		if math.IsNaN(v) {
			words = append(words, ".")
		} else {
			words = append(words, fmt.Sprintf("%.4g", v))
		}
	}
	return strings.Join(words, " ")
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

var orders = history.Key{Topic: "orders"}

func TestSeriesMergesPoints(t *testing.T) {
	s := history.New(history.Settings{})
	n := 0
	feed(s, orders, epoch.Add(2*time.Second), epoch.Add(time.Minute), 2*time.Second, func(time.Time) float64 {
		n++
		return float64(n)
	})
	fine := s.Series(orders, epoch, epoch.Add(20*time.Second), 11)
	expect(t, "each sample", shown(fine.Values[history.In]), "1 2 3 4 5 6 7 8 9 10")
	expect(t, "the first point", fine.Times[0].String(), epoch.String())
	merged := s.Series(orders, epoch, epoch.Add(time.Minute), 5)
	expect(t, "the step", merged.Step.String(), "15s") // what people count in
	expect(t, "the mean of rates", shown(merged.Values[history.In]), "4.267 11.73 19.27 26.73")
	expect(t, "the highest depth", shown(merged.Values[history.Depth]), "8 15 23 30")
	expect(t, "what did not happen", shown(merged.Values[history.Dead]), "0 0 0 0")
	beyond := s.Series(orders, epoch.Add(-30*time.Second), epoch.Add(90*time.Second), 9)
	expect(t, "what is not known", shown(beyond.Values[history.Depth]), ". . 8 15 23 30 . .")
	expect(t, "an unknown key", shown(s.Series(history.Key{Topic: "x"}, epoch, epoch.Add(20*time.Second), 3).Values[history.In]), ". .")
	expect(t, "no time at all", fmt.Sprint(len(s.Series(orders, epoch, epoch, 3).Times)), "0")
}

// Polls are never quite two seconds apart, so most samples are of two points' time. A
// peak shows in one.
func TestPeakShowsOnce(t *testing.T) {
	for shift := range 30 {
		s := history.New(history.Settings{})
		for i := range 60 {
			depth := 1.0
			if i == 30 {
				depth = 1000
			}
			s.Add(epoch.Add(time.Duration(i*2100+shift*211)*time.Millisecond), []history.Sample{sample(orders, 1, depth)})
		}
		for _, points := range []int{30, 20, 10} {
			series := s.Series(orders, epoch, epoch.Add(2*time.Minute), points)
			if n := strings.Count(shown(series.Values[history.Depth]), "1000"); n != 1 {
				t.Errorf("shifted by %d, in %d points, it shows %d times: %s", shift, points, n, shown(series.Values[history.Depth]))
			}
		}
	}
}

// A chart that is drawn again as time goes on shows the same points: only the last
// one, which is under way, may change.
func TestPointsDoNotJump(t *testing.T) {
	s := history.New(history.Settings{})
	r := rand.New(rand.NewPCG(1, 1))
	before := map[time.Time]float64{}
	for at := epoch; at.Before(epoch.Add(20 * time.Minute)); at = at.Add(2 * time.Second) {
		s.Add(at, []history.Sample{sample(orders, 1000*r.Float64(), 0)})
		series := s.Series(orders, at.Add(-10*time.Minute), at, 60)
		for i, at := range series.Times[:len(series.Times)-1] {
			v := series.Values[history.In][i]
			if was, ok := before[at]; ok && i > 0 && was != v && !math.IsNaN(was) {
				t.Fatalf("the point of %v was %v and is %v now", at, was, v)
			}
			before[at] = v
		}
	}
}

func TestGaps(t *testing.T) {
	s := history.New(history.Settings{})
	feed(s, orders, epoch, epoch.Add(10*time.Second), 2*time.Second, always(5))
	feed(s, orders, epoch.Add(20*time.Second), epoch.Add(30*time.Second), 2*time.Second, always(7)) // four polls were missed
	feed(s, orders, epoch.Add(3*time.Minute), epoch.Add(3*time.Minute+10*time.Second), 2*time.Second, always(9))
	series := s.Series(orders, epoch, epoch.Add(190*time.Second), 20)
	expect(t, "rates", shown(series.Values[history.In]), "5 7 7 . . . . . . . . . . . . . . 9 9")

	s.Add(epoch.Add(200*time.Second), []history.Sample{sample(orders, nan, -1)})
	s.Add(epoch.Add(210*time.Second), []history.Sample{sample(history.Key{}, 1, 1)}) // without it
	series = s.Series(orders, epoch.Add(180*time.Second), epoch.Add(210*time.Second), 4)
	expect(t, "rates", shown(series.Values[history.In]), "9 . .")
	expect(t, "depths", shown(series.Values[history.Depth]), "9 . .")
}

func TestSamplesThatComeEarly(t *testing.T) {
	s := history.New(history.Settings{})
	add := func(ms int, rate, depth float64) {
		s.Add(epoch.Add(time.Duration(ms)*time.Millisecond), []history.Sample{sample(orders, rate, depth)})
	}
	add(0, 0, 0)
	add(500, 4, 100) // somebody changed something
	add(2000, 8, 3)
	add(4000, 1, 1)
	expect(t, "the mean by time", shown(s.Series(orders, epoch, epoch.Add(4*time.Second), 3).Values[history.In]), "7 1")
	expect(t, "the highest", shown(s.Series(orders, epoch, epoch.Add(4*time.Second), 3).Values[history.Depth]), "100 1")
}

// After an hour samples are put together to ten minutes, for seven days.
func TestWeek(t *testing.T) {
	s := history.New(history.Settings{})
	end := epoch.Add(8 * 24 * time.Hour)
	// Ten minutes at 100 a second, ten at none, and so on; each begins with a peak of 999.
	wave := func(at time.Time) float64 {
		in := at.Add(-time.Millisecond).Sub(epoch) % (20 * time.Minute)
		switch {
		case in < 2*time.Second:
			return 999
		case in < 10*time.Minute:
			return 100
		}
		return 0
	}
	feed(s, orders, epoch, end, 2*time.Second, wave)
	week := s.Series(orders, end.Add(-7*24*time.Hour), end, 1009)
	expect(t, "the step", week.Step.String(), "10m0s")
	for i, at := range week.Times {
		rate, depth := (999+299*100)/300.0, 999.0
		if at.Sub(epoch)%(20*time.Minute) != 0 {
			rate, depth = 0, 0
		}
		if math.Abs(week.Values[history.In][i]-rate) > rate/200 || week.Values[history.Depth][i] != depth {
			t.Fatalf("the point of %v is %v a second, depth %v; want %v and %v", at, week.Values[history.In][i], week.Values[history.Depth][i], rate, depth)
		}
	}
	hour := s.Series(orders, end.Add(-10*time.Minute), end, 301)
	expect(t, "the step of the last minutes", hour.Step.String(), "2s")
	gone := s.Series(orders, epoch, epoch.Add(10*time.Hour), 11)
	expect(t, "what is older", shown(gone.Values[history.In]), ". . . . . . . . . .")
	if n := s.Bytes(); n > 400<<10 {
		t.Errorf("a week of one topic takes %d bytes", n)
	}
}

func TestRecent(t *testing.T) {
	s := history.New(history.Settings{})
	feed(s, orders, epoch.Add(-30*time.Minute), epoch.Add(time.Hour), 2*time.Second, func(at time.Time) float64 {
		return math.Ceil(at.Sub(epoch).Minutes() / 10)
	})
	expect(t, "the last hour", shown(s.Recent(orders, history.In, 6)), "1 2 3 4 5 6")
	expect(t, "an unknown key", shown(s.Recent(history.Key{Topic: "x"}, history.In, 3)), ". . .")
	expect(t, "nothing yet", shown(history.New(history.Settings{}).Recent(orders, history.In, 2)), ". .")
}

func TestValueAndMean(t *testing.T) {
	s := history.New(history.Settings{})
	feed(s, orders, epoch, epoch.Add(2*time.Hour), 2*time.Second, func(at time.Time) float64 { return math.Floor(at.Sub(epoch).Minutes()) })
	at := func(minutes float64) time.Time { return epoch.Add(time.Duration(minutes * float64(time.Minute))) }
	for _, tt := range []struct {
		minutes float64
		want    float64
	}{{119.5, 119}, {100.5, 100}, {62.5, 62}, {15.5, 20}, {-5, nan}, {121, nan}} {
		if got := s.Value(orders, history.Depth, at(tt.minutes)); got != tt.want && !(math.IsNaN(got) && math.IsNaN(tt.want)) {
			t.Errorf("depth after %v min was %v, want %v", tt.minutes, got, tt.want)
		}
	}
	if got := s.Mean(orders, history.In, at(110), at(112)); math.Abs(got-110.5) > 0.1 {
		t.Errorf("the mean is %v, want 110.5", got)
	}
	if got := s.Mean(orders, history.Depth, at(110), at(112)); got != 112 && got != 111 {
		t.Errorf("the highest is %v, want 111", got)
	}
	if got := s.Mean(orders, history.In, at(200), at(300)); !math.IsNaN(got) {
		t.Errorf("the mean of what is not known is %v", got)
	}
}

func TestMarks(t *testing.T) {
	s := history.New(history.Settings{})
	s.Add(epoch, []history.Sample{sample(orders, 1, 1)})
	s.Mark(epoch.Add(2*time.Minute), "b:4151", "restarted")
	s.Mark(epoch.Add(time.Minute), "a:4151", "restarted")
	s.Mark(epoch.Add(time.Hour), "a:4151", strings.Repeat("é", 500))
	list := func(k history.Key) string {
		var words []string
		for _, m := range s.Series(k, epoch, epoch.Add(10*time.Minute), 10).Marks {
			words = append(words, m.At.Format("15:04"), m.Node, m.What)
		}
		return strings.Join(words, " ")
	}
	expect(t, "of all", list(orders), "12:01 a:4151 restarted 12:02 b:4151 restarted")
	expect(t, "of a node", list(history.Key{Node: "b:4151"}), "12:02 b:4151 restarted")
	for range 5000 {
		s.Mark(epoch.Add(5*time.Minute), "c:4151", "restarted")
	}
	if n := len(s.Series(orders, epoch, epoch.Add(2*time.Hour), 10).Marks); n != 1000 {
		t.Errorf("%d marks are kept, want 1000", n)
	}
}

func TestClockIsSetBack(t *testing.T) {
	s := history.New(history.Settings{})
	feed(s, orders, epoch.Add(-time.Hour), epoch.Add(24*time.Hour), 10*time.Second, always(5))
	s.Mark(epoch.Add(time.Hour), "", "tomorrow")
	feed(s, orders, epoch.Add(10*time.Second), epoch.Add(10*time.Minute), 10*time.Second, always(7))
	series := s.Series(orders, epoch.Add(-10*time.Minute), epoch.Add(25*time.Minute), 8)
	expect(t, "rates", shown(series.Values[history.In]), "5 5 7 7 . . .")
	if m := series.Marks; len(m) != 1 || m[0].What != "the clock was set back by 23h59m50s" {
		t.Errorf("the marks are %v", m)
	}
	day := s.Series(orders, epoch.Add(6*time.Hour), epoch.Add(48*time.Hour), 10)
	expect(t, "tomorrow", strings.Trim(shown(day.Values[history.In]), ". "), "")
	expect(t, "now", shown(s.Recent(orders, history.In, 6)), "5 5 5 5 5 7")
}

func TestClockGoesAhead(t *testing.T) {
	s := history.New(history.Settings{})
	feed(s, orders, epoch, epoch.Add(time.Hour), 10*time.Second, always(5))
	feed(s, orders, epoch.Add(25*time.Hour+10*time.Second), epoch.Add(26*time.Hour), 10*time.Second, always(7))
	series := s.Series(orders, epoch, epoch.Add(26*time.Hour), 27)
	expect(t, "a gap", shown(series.Values[history.In]), "5 . . . . . . . . . . . . . . . . . . . . . . . . 7")
	// A moment in another year takes nothing away, if the clock is right again soon.
	s.Add(epoch.AddDate(70, 0, 0), []history.Sample{sample(orders, 1, 1)})
	s.Add(epoch.Add(26*time.Hour+10*time.Second), []history.Sample{sample(orders, 7, 7)})
	series = s.Series(orders, epoch, epoch.Add(26*time.Hour), 27)
	expect(t, "after a moment in another year", shown(series.Values[history.In]), "5 . . . . . . . . . . . . . . . . . . . . . . . . 7")
}

// Whatever the clock does and whatever comes, nothing panics, the bound holds, and
// each point is a value that was told, of its key.
func TestAnyHistory(t *testing.T) {
	seeds := uint64(10)
	if raceDetector {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { anyHistory(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func anyHistory(t *testing.T, r *rand.Rand) {
	s := history.New(history.Settings{Keep: 10 * time.Minute, CoarseStep: time.Minute, CoarseKeep: 6 * time.Hour, MaxBytes: 1 << 20})
	at := epoch
	keys := 1 + r.IntN(600)
	for range 1000 {
		at = at.Add(jump(r))
		var samples []history.Sample
		first := r.IntN(keys)
		for i := range keys - first {
			// The key of number n tells values from n·1000 on, so none can be another's.
			n := (first + i) * 1000
			smp := sample(history.Key{Topic: fmt.Sprint(n)}, float64(n)+1000*r.Float64(), float64(n)+1000*r.Float64())
			if r.IntN(50) == 0 {
				smp.Values[history.In] = float32(nan)
			}
			samples = append(samples, smp)
		}
		s.Add(at, samples)
		if b := s.Bytes(); b > 1<<20 {
			t.Fatalf("%d bytes are taken", b)
		}
		if r.IntN(20) == 0 {
			looks(t, s, r, keys, at)
		}
	}
}

func jump(r *rand.Rand) time.Duration {
	switch r.IntN(40) {
	case 0:
		return -time.Duration(r.Int64N(int64(2 * time.Hour)))
	case 1:
		return time.Duration(r.Int64N(int64(5 * time.Hour)))
	case 2:
		return 0
	case 3:
		return -time.Duration(r.Int64N(int64(5 * time.Second)))
	}
	return time.Duration(r.Int64N(int64(4 * time.Second)))
}

func looks(t *testing.T, s *history.Store, r *rand.Rand, keys int, at time.Time) {
	n := r.IntN(keys) * 1000
	from := at.Add(-time.Duration(r.Int64N(int64(8 * time.Hour))))
	series := s.Series(history.Key{Topic: fmt.Sprint(n)}, from, at.Add(time.Minute), 1+r.IntN(500))
	for i := range series.Times {
		for _, m := range []history.Metric{history.In, history.Depth} {
			v := series.Values[m][i]
			if slack := 0.001*float64(n) + 1; !math.IsNaN(v) && (v < float64(n)-slack || v > float64(n)+1000+slack) {
				t.Fatalf("key %d: %s at %v is %v", n, m, series.Times[i], v)
			}
			if series.Times[i].After(at) && !math.IsNaN(v) {
				t.Fatalf("%v is told of %v, and it is %v", v, series.Times[i], at)
			}
		}
	}
}

func TestOddTimes(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Unix(-1e15, 0), time.Unix(1e15, 0), time.Unix(1<<62, 0), epoch} {
		s := history.New(history.Settings{})
		for i := range 100 {
			s.Add(at.Add(time.Duration(i)*time.Second), []history.Sample{sample(orders, 3, 3)})
		}
		s.Series(orders, time.Time{}, time.Unix(1<<60, 0), 100)
		s.Series(orders, at.Add(-time.Hour), at.Add(time.Hour), -1)
		s.Recent(orders, history.Depth, -1)
		s.Mark(at, "", "x")
	}
}

func ExampleStore_Series() {
	s := history.New(history.Settings{})
	orders := history.Key{Topic: "orders"}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 60 {
		sample := history.Sample{Key: orders}
		sample.Values[history.In] = float32(i)
		s.Add(at.Add(time.Duration(2*i)*time.Second), []history.Sample{sample})
	}
	series := s.Series(orders, at, at.Add(2*time.Minute), 5)
	for i, begin := range series.Times {
		fmt.Println(begin.Format(time.TimeOnly), series.Step, series.Values[history.In][i])
	}
	// Output:
	// 12:00:00 30s 8
	// 12:00:30 30s 23
	// 12:01:00 30s 38
	// 12:01:30 30s 52.5
}

// Who looks and who saves never waits for, nor disturbs, who adds. The race detector
// has the say.
func TestReadersWhileOneAdds(t *testing.T) {
	s := history.New(history.Settings{Keep: time.Minute, CoarseStep: 20 * time.Second, MaxBytes: 1 << 20})
	samples := many(60)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				k := samples[n%len(samples)].Key
				s.Series(k, epoch, epoch.Add(time.Hour), 100)
				s.Recent(k, history.Depth, 20)
				s.Value(k, history.Depth, epoch.Add(time.Minute))
				s.Mark(epoch, "a", "b")
				s.Bytes()
				if err := s.Save(io.Discard); err != nil {
					t.Error(err)
				}
			}
		})
	}
	turns := busily(samples)
	for n := range 1000 {
		s.Add(epoch.Add(time.Duration(n)*2*time.Second), turns[n%len(turns)])
	}
	close(done)
	readers.Wait()
}
