package history_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
)

// Each picture is what a node's polls tell, one every 2 s:
//
//	polls   a counter; with an R before it the daemon has another start time; with an N
//	        (for new) its topic was deleted and made again, which nothing tells; "-" for a
//	        poll without an answer; "x" for an answer without the topic; 9*- is nine polls
//	now     what history gets, per second; "?" is unknown
//	shown   what people see
func TestMeter(t *testing.T) {
	tests := []struct{ name, polls, now, shown string }{
		{
			"a steady flow",
			"1000 1020 1040 1060 1080 1100 1120",
			"?    10   10   10   10   10   10",
			"?    10   10   10   10   10   10",
		},
		{
			"it begins, and it ends: ten seconds later people see nothing of it",
			"0 0 0 0 100 200 200 200 200 200 200 200",
			"? 0 0 0 50  50  0   0   0   0   0   0",
			"? 0 0 0 12.5 20  20 20 20 10   0   0",
		},
		{
			"a missed poll is spread over what was missed",
			"0 20 40 - 80 100",
			"? 10 10 - 10 10",
			"? 10 10 - 10 10",
		},
		{
			"what came while polls were missed is no spike",
			"0 20 40 3*- 340 360 380 400",
			"? 10 10 - - - 37.5 10 10 10",
			"? 10 10 - - - 32 32 10 10",
		},
		{
			"a restart: counters begin anew, the flow goes on",
			"1000 1020 1040 R5 25 45 65",
			"?    10   10   10 10 10 10",
			"?    10   10   10 10 10 10",
		},
		{
			"a restart that is away for two polls",
			"1000 1020 1040 - - R5 25 45",
			"?    10   10   - - 10 10 10",
			"?    10   10   - - 10 10 10",
		},
		{
			"a restart that brings its counters with it, and a backlog of a million",
			"1000 1020 1040 R1000000 1000020 1000040",
			"?    10   10   10       10      10",
			"?    10   10   10       10      10",
		},
		{
			"a counter that falls is a restart, even if the start time is not told",
			"1000 1020 1040 5  25 45",
			"?    10   10   10 10 10",
			"?    10   10   10 10 10",
		},
		{
			"a topic that was deleted and made again between two polls",
			"1000 1020 1040 N10 30 50",
			"?    10   10   10  10 10",
			"?    10   10   10  10 10",
		},
		{
			"a topic that is away for a poll is another when it comes again",
			"1000 1020 x x 6 26 46",
			"?    10   ? ? 3 10 10",
			"?    10   ? ? 3 6.5 7.67",
		},
		{
			"a node that is away for a minute without a restart: the mean, no spike",
			"0 20 40 30*- 660 680 700 720 740 760 780",
			"? 10 10 " + strings.Repeat("- ", 30) + "10 10 10 10 10 10 10",
			"? 10 10 " + strings.Repeat("- ", 30) + "10 10 10 10 10 10 10",
		},
		{
			"a node that is away for a minute and comes back as another: nothing is known for a poll",
			"1000 1020 1040 30*- R500 520 540",
			"?    10   10 " + strings.Repeat("- ", 30) + "? 10 10",
			"?    10   10 " + strings.Repeat("- ", 30) + "? 10 10",
		},
		{
			"a node that restarts with each poll",
			"1000 1020 R5 R5 R5 R5",
			"?    10   10 10 10 10",
			"?    10   10 10 10 10",
		},
		{
			"a restart before anything is known",
			"1000 R5 25 45",
			"?    ?  10 10",
			"?    ?  10 10",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now, shown := meter(tt.polls)
			expect(t, "now", now, strings.Join(strings.Fields(tt.now), " "))
			expect(t, "shown", shown, strings.Join(strings.Fields(tt.shown), " "))
		})
	}
}

// meter plays a picture.
func meter(polls string) (now, shown string) {
	m := history.NewMeter()
	started := epoch
	var nows, showns []string
	for i, poll := range spread(polls) {
		at := epoch.Add(time.Duration(i) * 2 * time.Second)
		a, b := "?", "?"
		switch {
		case poll == "-":
			a, b = "-", "-"
		case poll == "x":
			m.Read(started, at).End()
		default:
			if strings.HasPrefix(poll, "R") {
				started = at
			}
			n, _ := strconv.Atoi(strings.TrimLeft(poll, "RN"))
			r := m.Read(started, at)
			is, smooth := r.Rates("t", "", history.Counters{In: uint64(n), Out: uint64(n)})
			r.End()
			a, b = rate(is.In), rate(smooth.In)
		}
		nows, showns = append(nows, a), append(showns, b)
	}
	return strings.Join(nows, " "), strings.Join(showns, " ")
}

func spread(polls string) (all []string) {
	for _, word := range strings.Fields(polls) {
		n := 1
		if times, poll, ok := strings.Cut(word, "*"); ok {
			n, _ = strconv.Atoi(times)
			word = poll
		}
		for range n {
			all = append(all, word)
		}
	}
	return all
}

func rate(v float64) string {
	if v < 0 {
		return "?"
	}
	return fmt.Sprintf("%.3g", v)
}

func TestMeterOfAllCounters(t *testing.T) {
	m := history.NewMeter()
	m.Read(epoch, epoch).Rates("t", "c", history.Counters{In: 1, Out: 2, Requeue: 3, Timeout: 4})
	now, shown := m.Read(epoch, epoch.Add(2*time.Second)).Rates("t", "c", history.Counters{In: 3, Out: 6, Requeue: 9, Timeout: 12})
	want := fleet.Rates{In: 1, Out: 2, Requeue: 3, Timeout: 4}
	if now != want || shown != want {
		t.Errorf("rates are %v and %v, want %v", now, shown, want)
	}
}

// A clock that stands still or goes back makes no rate of its own.
func TestMeterWhenTheClockIsSetBack(t *testing.T) {
	m := history.NewMeter()
	at := epoch
	var got []string
	for _, step := range []time.Duration{0, 2, 2, 0, -3600, 2, 3600, 2} {
		at = at.Add(step * time.Second)
		r := m.Read(epoch, at)
		now, _ := r.Rates("t", "", history.Counters{In: uint64(10 * len(got))})
		r.End()
		got = append(got, rate(now.In))
	}
	expect(t, "rates", strings.Join(got, " "), "? 5 5 5 5 5 0.00278 5")
}

// A topic that an answer left out without being deleted there (End was not called) is
// begun anew, whatever its counters say.
func TestMeterOfPartsOfAnswers(t *testing.T) {
	m := history.NewMeter()
	var got []string
	for i, there := range []bool{true, true, false, true, true} {
		r := m.Read(epoch, epoch.Add(time.Duration(i)*2*time.Second))
		if there {
			now, _ := r.Rates("t", "", history.Counters{In: uint64(i * 20)})
			got = append(got, rate(now.In))
		}
	}
	expect(t, "rates", strings.Join(got, " "), "? 10 ? 10")
}

func TestMeterForgets(t *testing.T) {
	m := history.NewMeter()
	var got []string
	for _, at := range []time.Duration{0, time.Hour, 2*time.Hour + time.Second} {
		r := m.Read(epoch, epoch.Add(at))
		now, _ := r.Rates("t", "", history.Counters{In: uint64(at / time.Second)})
		r.End()
		got = append(got, rate(now.In))
	}
	expect(t, "rates", strings.Join(got, " "), "? 1 ?")
}

func BenchmarkMeter(b *testing.B) {
	m := history.NewMeter()
	samples := many(10_000)
	at := epoch
	n := uint64(0)
	for b.Loop() {
		r := m.Read(epoch, at)
		for i := range samples {
			r.Rates(samples[i].Topic, samples[i].Channel, history.Counters{In: n, Out: n})
		}
		r.End()
		at = at.Add(2 * time.Second)
		n++
	}
}
