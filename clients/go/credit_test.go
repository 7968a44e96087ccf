package millrace

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// shares are lines that have been given ready for long, of which some are hungry:
// "10 10! 3/7" is two with 10, the second one hungry, and one with 3 that had up to 7 in flight.
func shares(t *testing.T, text string) (lines []*share) {
	for _, word := range strings.Fields(text) {
		s := &share{limit: 2500, probe: probeLeast}
		word, s.hungry = strings.CutSuffix(word, "!")
		word, peak, _ := strings.Cut(word, "/")
		_, err := fmt.Sscan(word, &s.ready)
		noError(t, err)
		if peak != "" {
			_, err := fmt.Sscan(peak, &s.peak)
			noError(t, err)
		}
		if s.hungry {
			s.inFlight, s.peak = s.ready, s.ready
		}
		lines = append(lines, s)
	}
	return lines
}

func readies(lines []*share) (text string) {
	var words []string
	for _, s := range lines {
		words = append(words, fmt.Sprint(s.ready))
	}
	return strings.Join(words, " ")
}

// TestDivide gives credit to lines, of which there are few, at one moment, and
// again when everything is answered.
func TestDivide(t *testing.T) {
	start := time.Now()
	for name, c := range map[string]struct {
		total       int
		lines, want string
		answered    string // what they have once nothing is in flight, if that differs
	}{
		"one line":                     {200, "0", "200", ""},
		"what does not divide":         {200, "0 0 0", "67 67 66", ""},
		"nobody is hungry":             {200, "181 1 9 9", "181 1 9 9", ""},
		"one has all the traffic":      {200, "50! 50 50 50", "197 1 1 1", ""},
		"all have":                     {200, "50! 50! 50! 50!", "50 50 50 50", ""},
		"a second one gets its part":   {200, "197! 1! 1 1", "99 1 1 1", "99 99 1 1"},
		"a modest one keeps enough":    {100, "25! 25/10 25 25", "73 25 1 1", ""},
		"one keeps twice what it used": {100, "25! 25/3 25 25", "92 6 1 1", ""},
		"less than before":             {10, "50 50 50 50", "3 3 2 2", ""},
		"none at all":                  {0, "50! 50 50 50", "0 0 0 0", ""},
		"more lines than credit":       {2, "0 0 0 0", "1 1 0 0", ""},
		"as many as credit":            {3, "0 0 0", "1 1 1", ""},
		"crowded, one has the traffic": {4, "2! 1 1", "4 0 0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			lines := shares(t, c.lines)
			for _, s := range lines {
				s.given, s.due = start, start
			}
			at := start.Add(time.Hour)
			divide(lines, c.total, at)
			want(t, "at once", readies(lines), c.want)
			for _, s := range lines {
				s.inFlight = 0
			}
			divide(lines, c.total, at)
			if c.answered != "" {
				want(t, "in the end", readies(lines), c.answered)
			}
		})
	}
}

// daemon is a line's other end, in a test without time: a backlog, and a handler
// that takes as long as it likes.
type fakeDaemon struct {
	share
	backlog int
	latest  time.Time // when it last was without backlog, or handed out something
	worst   time.Duration
}

// TestDivideAtRandom lets daemons take and answer messages at random, and
// looks at every step: credit is never exceeded, nothing that could be given
// lies idle while somebody is hungry, and whoever has something gets to hand
// it out, within the time that is promised.
func TestDivideAtRandom(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		total := 1 + rnd.IntN(12)
		daemons := make([]*fakeDaemon, 1+rnd.IntN(30))
		var lines []*share
		now := time.Now()
		for i := range daemons {
			daemons[i] = &fakeDaemon{share: share{limit: 2500, probe: probeLeast, due: now}, latest: now}
			lines = append(lines, &daemons[i].share)
		}
		var again time.Time
		for step := range 3000 {
			now = now.Add(time.Millisecond)
			changed := step == 0
			for _, d := range daemons {
				changed = d.step(rnd, now) || changed
			}
			if changed || !again.IsZero() && !now.Before(again) {
				again = divide(lines, total, now)
				for _, s := range lines {
					s.peak, s.hungry = s.inFlight, false
				}
			}
			sum := 0
			for _, s := range lines {
				sum += max(s.ready, s.inFlight)
			}
			if sum > total {
				t.Fatalf("seed %d: %d of %d credits are given", seed, sum, total)
			}
		}
		for i, d := range daemons {
			if d.worst > 1500*time.Millisecond {
				t.Errorf("seed %d: of %d daemons with %d credits one, %d, was not let in for %v", seed, len(daemons), total, i, d.worst)
			}
		}
	}
}

// step lets a millisecond pass. It reports what a line would tell of.
func (d *fakeDaemon) step(rnd *rand.Rand, now time.Time) (changed bool) {
	if d.inFlight > 0 && rnd.IntN(5) == 0 {
		changed = d.inFlight > d.ready
		if d.inFlight--; d.inFlight == 0 {
			d.heard = now
		}
	}
	if rnd.IntN(200) == 0 {
		d.backlog = rnd.IntN(50)
	}
	switch {
	case d.backlog == 0:
		d.latest = now
	case d.ready > d.inFlight:
		d.backlog--
		d.inFlight++
		d.heard, d.latest = now, now
		d.peak = max(d.peak, d.inFlight)
		d.hungry = d.inFlight >= d.ready
	default:
		d.worst = max(d.worst, now.Sub(d.latest))
	}
	return changed || d.hungry
}
