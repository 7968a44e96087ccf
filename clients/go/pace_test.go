package millrace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPace lets handlers fail (f) and succeed (s), and time pass (a number of
// seconds, or "." for until the stop is over), and looks at what may be in flight
// after each: 10 is everything.
func TestPace(t *testing.T) {
	for name, c := range map[string]struct {
		events, want string
	}{
		"nothing happens":                    {"s s 5 s", "10 10 10 10"},
		"one failure":                        {"f . s", "0 1 10"},
		"success is due":                     {"f . 100 s s", "0 1 1 10 10"},
		"failures of the same moment":        {"f f f s . s", "0 0 0 0 1 10"},
		"longer stops":                       {"f 1 f 1 1 f 3 1", "0 1 0 0 1 0 0 1"},
		"as many must succeed as had failed": {"f . f . f . s s s", "0 1 0 1 0 1 1 1 10"},
		"failing again on the way up":        {"f . f . s f 1 1 s s", "0 1 0 1 1 0 0 1 1 10"},
		"the longest stop":                   {"f . f . f . f 4 1 f 4 1 f 5 s s s s", "0 1 0 1 0 1 0 0 1 0 0 1 0 1 1 1 1 10"},
	} {
		t.Run(name, func(t *testing.T) {
			p, now := pace{first: time.Second, longest: 5 * time.Second}, time.Now()
			var got []string
			for _, event := range strings.Fields(c.events) {
				switch event {
				case "f":
					p.failed(now)
				case "s":
					p.succeeded(now)
				case ".":
					now = p.until
				default:
					d, err := time.ParseDuration(event + "s")
					noError(t, err)
					now = now.Add(d)
				}
				n, _ := p.credit(10, now)
				got = append(got, fmt.Sprint(n))
			}
			want(t, "may be in flight", strings.Join(got, " "), c.want)
		})
	}
}

// TestReaderBacksOff has a database go away for a while: what is tried meanwhile is little,
// and afterwards everything goes on.
func TestReaderBacksOff(t *testing.T) {
	for _, batch := range []bool{false, true} {
		inBubble(t, func(t *testing.T, n *pipeNet) {
			brokers := []*broker{startBroker(t, n.listen("q:1")), startBroker(t, n.listen("q:2"))}
			for _, b := range brokers {
				b.put("t", numbered(1000)...)
			}
			began := time.Now()
			var tried []time.Duration
			handle := func(messages int) error {
				since := time.Since(began)
				if since < 10*time.Second || since > 35*time.Second {
					time.Sleep(time.Duration(messages) * 50 * time.Millisecond)
					return nil
				}
				tried = append(tried, since)
				return errors.New("no database")
			}
			config := ReaderConfig{Addresses: []string{"q:1", "q:2"}, MaxInFlight: 4, MaxBackoff: 8 * time.Second, RequeueDelay: -1}
			if batch {
				config.BatchHandler = BatchHandlerFunc(func(_ context.Context, batch []*Message) error { return handle(len(batch)) })
			} else {
				config.Handler = HandlerFunc(func(context.Context, *Message) error { return handle(1) })
			}
			r := startReader(t, n, config)
			pass(9900 * time.Millisecond)
			want(t, "before", r.Stats().Backoff, 0)
			pass(25 * time.Second)
			// Those in flight fail, then one each after 1, 2, 4, 8 s and 8 s.
			if len(tried) < 5 || len(tried) > 12 {
				t.Errorf("tried at %v", tried)
			}
			if s := r.Stats(); s.Backoff < 4 {
				t.Errorf("%+v", s)
			}
			b0 := len(brokers[0].finishedBodies()) + len(brokers[1].finishedBodies())
			pass(time.Minute)
			want(t, "afterwards", r.Stats().Backoff, 0)
			b1 := len(brokers[0].finishedBodies()) + len(brokers[1].finishedBodies())
			if b1-b0 < 1000 {
				t.Errorf("%d were finished in a minute", b1-b0)
			}
		})
	}
}

func TestPauseAndResume(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		var rec recorder
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1", "q:2"}, Handler: &rec})
		synctest.Wait()
		r.Pause()
		want(t, "paused", r.Stats().Paused, true)
		pass(time.Second)
		b.put("t", "a")
		late := startBroker(t, n.listen("q:2"))
		late.put("t", "b")
		pass(time.Minute)
		want(t, "connections", r.Stats().Connections, 2)
		want(t, "handled while paused", len(rec.got()), 0)
		r.Resume()
		pass(time.Second)
		got := rec.got()
		slices.Sort(got)
		want(t, "handled", got, []string{"a", "b"})
		r.Pause()
		pass(time.Second)
		r.stop() // a paused one ends as well
	})
}
