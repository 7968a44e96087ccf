package pool

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// story plays what happens to a pool, and writes down what it says:
//
//	ask          chooses an endpoint for a message, "ask 0 1" for one that 0 and 1 have failed
//	ok 0 20ms    endpoint 0 answered, after 20ms
//	fail 0       its request failed, which has just begun
//	fail 0 5s    it failed, having begun 5s ago
//	later 0 9s   it failed, and asks to be left alone for 9s
//	+2s          time passes
func story(t *testing.T, mode Mode, n int, random float64, lines string) {
	t.Helper()
	p := New(mode, n, func() float64 { return random })
	now := time.Unix(1e9, 0)
	for line := range strings.Lines(lines) {
		told, wanted, _ := strings.Cut(strings.TrimSpace(line), " -> ")
		if got := tell(t, p, &now, strings.Fields(told)); got != wanted {
			t.Fatalf("%s: got %q, want %q", told, got, wanted)
		}
	}
}

func tell(t *testing.T, p *Pool, now *time.Time, words []string) string {
	t.Helper()
	if len(words) == 0 {
		return ""
	}
	number := 0
	var d time.Duration
	if len(words) > 1 {
		_, _ = fmt.Sscan(words[1], &number)
	}
	if last := words[len(words)-1]; strings.HasSuffix(last, "s") {
		d, _ = time.ParseDuration(strings.TrimPrefix(last, "+"))
	}
	switch words[0] {
	case "ask":
		i, ok := p.Next(*now, func(i int) bool { return slices.Contains(words[1:], fmt.Sprint(i)) })
		if !ok {
			return "none"
		}
		return fmt.Sprint(i)
	case "ok":
		if p.Answered(number, d) {
			return "back"
		}
	case "fail":
		if paused := p.Failed(number, now.Add(-d), *now, 0); paused > 0 {
			return "pause " + paused.String()
		}
	case "later":
		if paused := p.Failed(number, *now, *now, d); paused > 0 {
			return "pause " + paused.String()
		}
	case "wait":
		return p.Wait(*now).String()
	case "down":
		return fmt.Sprint(p.AllBad(*now))
	case "bad":
		return fmt.Sprint(p.Bad(number, *now))
	default:
		*now = now.Add(d)
	}
	return ""
}

func TestInTurn(t *testing.T) {
	for _, mode := range []Mode{HostPool, RoundRobin} {
		story(t, mode, 3, 0, `
			ask -> 0
			ask -> 1
			ask -> 2
			ask -> 0
			ask 0 -> 1
			ask 0 1 -> 2
			ask 0 1 2 -> none`)
	}
}

// One that fails is left alone, longer each time it is tried again; a success makes
// it as good as new.
func TestPauses(t *testing.T) {
	story(t, HostPool, 2, 0, `
		fail 0
		fail 0
		ok 0 1ms
		fail 0
		fail 0
		bad 0 -> false
		fail 0 -> pause 1s
		bad 0 -> true
		down -> false
		ask -> 1
		ask -> 1
		ask 1 -> none
		+1s
		ask -> 0
		ask -> 1
		ask -> 1
		fail 0 -> pause 2s
		fail 0
		+2s
		ask -> 0
		fail 0 -> pause 4s
		+4s
		ask -> 1
		ask -> 0
		ok 0 1ms -> back
		ask -> 1
		ask -> 0
		fail 0
		fail 0
		bad 0 -> false`)
}

// Requests that began before a pause say nothing about what comes after it.
func TestLateFailures(t *testing.T) {
	story(t, HostPool, 1, 0, `
		fail 0
		fail 0
		fail 0 -> pause 1s
		fail 0
		+500ms
		fail 0 1s
		+500ms
		ask -> 0
		+1ms
		fail 0 900ms
		fail 0 -> pause 2s`)
}

// Where all are bad, a message finds one all the same: when it comes is up to whoever
// takes it. It does not make their pauses longer.
func TestAllBad(t *testing.T) {
	story(t, HostPool, 2, 0, `
		fail 0
		fail 0
		fail 0 -> pause 1s
		+100ms
		fail 1
		fail 1
		fail 1 -> pause 1s
		down -> true
		ask -> 0
		fail 0
		ask 0 -> none
		ask -> 0
		+900ms
		ask -> 0
		fail 0 -> pause 2s
		+100ms
		ask -> 1
		ok 1 1ms -> back
		down -> false
		ask -> 1`)
}

// The pause ends growing after a minute.
func TestLongestPause(t *testing.T) {
	want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute}
	for i, d := range want {
		if got := pause(i + 1); got != d {
			t.Errorf("pause %d: %s, want %s", i+1, got, d)
		}
	}
	if pause(1<<20) != lastPause {
		t.Error("the longest pause is not kept")
	}
}

// Who asks to be left alone is, in every mode, and by everybody.
func TestAsked(t *testing.T) {
	for _, mode := range []Mode{HostPool, RoundRobin, EpsilonGreedy} {
		story(t, mode, 2, 0.5, `
			later 0 9s
			bad 0 -> true
			down -> false
			wait -> 0s
			ask -> 1
			ask -> 1
			ask 1 -> none
			later 1 4s
			wait -> 4s
			down -> true
			ask -> none
			+3s
			later 1 30s
			later 1 1s -> pause 1s
			+5s
			ask -> none
			wait -> 1s
			+1s
			ask -> 0
			wait -> 0s
			bad 0 -> false`)
	}
}

// A bad one has its turn: that is what the mode is for.
func TestRoundRobinAsksAll(t *testing.T) {
	story(t, RoundRobin, 2, 0, `
		fail 0
		fail 0
		fail 0 -> pause 1s
		ask -> 0
		ask -> 1
		ask -> 0
		ask 0 -> 1`)
}

func TestFastest(t *testing.T) {
	measure := `
		ok 0 300ms
		ok 1 100ms
		ok 2 200ms
`
	story(t, EpsilonGreedy, 3, 0.5, "ask -> 0\n"+measure+`
		ask -> 1
		ask -> 1
		ask 1 -> 2
		ok 1 900ms
		ask -> 2
		fail 2
		fail 2
		fail 2 -> pause 1s
		ask -> 1`)
	story(t, EpsilonGreedy, 3, 0.05, measure+`
		ask -> 0
		ask -> 1
		ask -> 2
		ask -> 0`)
}

func TestParseMode(t *testing.T) {
	for i, name := range Modes {
		if m, err := ParseMode(name); err != nil || m != Mode(i) {
			t.Errorf("%s: %d, %v", name, m, err)
		}
	}
	if _, err := ParseMode("random"); err == nil {
		t.Error("an unknown mode was taken")
	}
}
