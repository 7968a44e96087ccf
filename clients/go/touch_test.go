package millrace

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// touches notes, in seconds since the test began, when a broker is told TOUCH, and of
// what: the last digit of the ID.
func touches(b *broker) *[]string {
	began, list := time.Now(), new([]string)
	b.intercept = func(_ *session, l protocol.Line, _ []byte) bool {
		if l.Verb == protocol.Touch {
			id := string(l.Args[0])
			*list = append(*list, fmt.Sprintf("%s at %v", id[len(id)-1:], time.Since(began).Round(time.Second/10).Seconds()))
		}
		return false
	}
	return list
}

// TestTouch has one handler take its time with one message.
func TestTouch(t *testing.T) {
	for name, c := range map[string]struct {
		touchFor, longest, takes time.Duration
		want                     string
	}{
		"in time":                     {0, 0, 29 * time.Second, ""},
		"a while":                     {0, 0, 100 * time.Second, "30 60 90"},
		"as long as the daemon lets":  {0, 3 * time.Minute, time.Hour, "30 60 90 120"},
		"fifteen minutes at most":     {0, 0, time.Hour, "30 60 90 120 150 180 210 240 270 300 330 360 390 420 450 480 510 540 570 600 630 660 690 720 750 780 810 840"},
		"as long as is wanted":        {150 * time.Second, 0, time.Hour, "30 60 90"},
		"longer than the daemon lets": {time.Hour, 3 * time.Minute, time.Hour, "30 60 90 120"},
		"no longer than anyway":       {time.Minute, 0, time.Hour, ""},
		"never":                       {-1, 0, time.Hour, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := newBroker(t)
				b.offers.maxMsgTimeout = c.longest
				list := touches(b)
				b.start(n.listen("q:1"))
				t.Cleanup(b.stop)
				b.put("t", "x")
				r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, TouchFor: c.touchFor, Handler: HandlerFunc(func(context.Context, *Message) error {
					time.Sleep(c.takes)
					return nil
				})})
				pass(c.takes + time.Hour)
				var got []string
				for _, s := range *list {
					got = append(got, strings.TrimPrefix(s, "1 at "))
				}
				want(t, "touched at", strings.Join(got, " "), c.want)
				want(t, "counted", r.Stats().Touched, uint64(len(got)))
				want(t, "finished", b.finishedBodies(), []string{"x"})
			})
		})
	}
}

// TestTouchesOfManyHandlers: each message is touched by its own clock, and only while its
// handler runs.
func TestTouchesOfManyHandlers(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		list := touches(b)
		b.start(n.listen("q:1"))
		t.Cleanup(b.stop)
		takes := map[string]time.Duration{"a": 65 * time.Second, "b": 45 * time.Second, "c": 45 * time.Second, "d": time.Second, "later": time.Second}
		startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Concurrency: 5, Handler: HandlerFunc(func(_ context.Context, m *Message) error {
			time.Sleep(takes[string(m.Body)])
			if string(m.Body) == "later" {
				return ErrAnswerLater
			}
			return nil
		})})
		for _, body := range []string{"a", "b", "c", "d", "later"} {
			b.put("t", body)
			pass(10 * time.Second)
		}
		pass(time.Hour)
		want(t, "touched", *list, []string{"1 at 30", "2 at 40", "3 at 50", "1 at 60"})
	})
}

// TestTouchesOfABatch: all of it that is not answered, of both daemons by their own timeouts.
func TestTouchesOfABatch(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		slow, fast := newBroker(t), newBroker(t)
		slow.msgTimeout = 2 * time.Minute
		slowly, quickly := touches(slow), touches(fast)
		for i, b := range []*broker{slow, fast} {
			b.start(n.listen(fmt.Sprintf("q:%d", i)))
			t.Cleanup(b.stop)
		}
		r := startReader(t, n, ReaderConfig{
			Addresses: []string{"q:0", "q:1"}, BatchWait: 5 * time.Second,
			BatchHandler: BatchHandlerFunc(func(_ context.Context, batch []*Message) error {
				want(t, "messages", len(batch), 4)
				time.Sleep(70 * time.Second)
				for _, m := range batch {
					if string(m.Body) == "early" {
						m.Finish()
					}
				}
				clear(batch)
				time.Sleep(70 * time.Second)
				return errors.New("too hard")
			}),
		})
		synctest.Wait()
		slow.put("t", "early", "x")
		fast.put("t", "x", "early")
		pass(147 * time.Second)
		r.stop()
		want(t, "of the one of two minutes", *slowly, []string{"1 at 60", "2 at 60", "2 at 120"})
		want(t, "of the one of one", *quickly, []string{"1 at 30", "2 at 30", "1 at 60", "2 at 60", "1 at 90", "1 at 120"})
		want(t, "counted", r.Stats().Touched, uint64(9))
	})
}
