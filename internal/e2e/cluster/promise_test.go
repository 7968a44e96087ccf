package cluster

import (
	"testing"
	"time"
)

// A promise is broken only by what is asked after the last fault, and only when
// its time is up.
func TestPromise(t *testing.T) {
	type asked struct {
		at     int // seconds
		held   bool
		broken int // seconds that are reported
	}
	tests := []struct {
		name    string
		faults  map[int]int // from, to: when they heal
		asked   []asked
		slowest int
		lapses  int
		holds   bool
	}{
		{name: "it holds", asked: []asked{{at: 1, held: true}, {at: 2, held: true}}, slowest: 1, holds: true},
		{name: "not yet", asked: []asked{{at: 1}, {at: 10}}},
		{name: "broken", asked: []asked{{at: 1}, {at: 11, broken: 11}, {at: 12}, {at: 22, broken: 22}, {at: 30, held: true}}, slowest: 30, holds: true},
		{name: "late, and in time", asked: []asked{{at: 1}, {at: 9, held: true}}, slowest: 9, holds: true},
		{name: "it lapses", asked: []asked{{at: 1, held: true}, {at: 20}, {at: 29}, {at: 30, held: true}}, slowest: 10, lapses: 1, holds: true},
		{name: "it lapses for too long", asked: []asked{{at: 1, held: true}, {at: 20}, {at: 31, broken: 11}}, slowest: 1, lapses: 1},
		{
			name: "a fault works late", faults: map[int]int{2: 30},
			asked: []asked{{at: 31, held: true}, {at: 35}, {at: 36, held: true}}, slowest: 1, holds: true,
		},
		{
			name: "not while there is a fault", faults: map[int]int{2: 30},
			asked: []asked{{at: 1, held: true}, {at: 3}, {at: 29}, {at: 31}, {at: 39, held: true}}, slowest: 9, holds: true,
		},
		{name: "each fault begins its time anew", faults: map[int]int{8: 9, 15: 16}, asked: []asked{{at: 7}, {at: 14}, {at: 26}, {at: 27, broken: 11}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			begun := time.Now()
			at := func(seconds int) time.Time { return begun.Add(time.Duration(seconds) * time.Second) }
			var now int
			p := &promise{within: 10 * time.Second, since: func() time.Time {
				since := begun
				for from, to := range tt.faults {
					switch {
					case now >= to:
						since = latest(since, at(to))
					case now >= from:
						return time.Time{}
					}
				}
				return since
			}}
			for _, a := range tt.asked {
				now = a.at
				if got, _ := p.judge(at(a.at), p.since(), at(a.at), a.held); got != time.Duration(a.broken)*time.Second {
					t.Errorf("at %d s it is broken for %v, want %d s", a.at, got, a.broken)
				}
			}
			if p.slowest != time.Duration(tt.slowest)*time.Second || p.lapses != tt.lapses || p.holds() != tt.holds {
				t.Errorf("slowest %v, %d lapses, holds: %v; want %d s, %d, %v", p.slowest, p.lapses, p.holds(), tt.slowest, tt.lapses, tt.holds)
			}
		})
	}
}

// A promise that can be kept in two ways is not new when one of them is lost.
func TestPromiseWithLess(t *testing.T) {
	begun := time.Now()
	since := begun
	p := &promise{within: time.Minute, since: func() time.Time { return since }}
	p.judge(begun.Add(10*time.Second), since, begun.Add(10*time.Second), true)
	since = begun.Add(5 * time.Second)
	p.judge(begun.Add(20*time.Second), since, begun.Add(20*time.Second), true)
	if p.slowest != 10*time.Second {
		t.Errorf("the slowest took %v, want 10s", p.slowest)
	}
}

// What was asked before a fault and answered after it says nothing.
func TestPromiseAskedAcrossFault(t *testing.T) {
	w := newWorld()
	p := &promise{within: time.Nanosecond, since: func() time.Time { return w.since("q1") }}
	since := p.since()
	w.breaks("q1")
	w.heals("q1")
	if got, _ := p.judge(time.Now(), since, time.Now(), false); got != 0 {
		t.Errorf("it is broken for %v", got)
	}
	if p.holds() {
		t.Error("it holds, and nobody has asked")
	}
}
