package millrace

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestFinishAll finishes messages of two daemons together, some of which are answered already.
func TestFinishAll(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		a, b := startBroker(t, n.listen("a:1")), startBroker(t, n.listen("b:1"))
		b.msgTimeout = 20 * time.Second
		a.put("t", "a1", "a2", "a3")
		b.put("t", "b1", "b2")
		held := map[string]*Message{}
		r := startReader(t, n, ReaderConfig{
			Addresses: []string{"a:1", "b:1"},
			BatchHandler: BatchHandlerFunc(func(_ context.Context, batch []*Message) error {
				for _, m := range batch {
					held[string(m.Body)] = m
				}
				return ErrAnswerLater
			}),
		})
		pass(3 * time.Second) // until both are connected, and their credit is divided
		want(t, "held", len(held), 5)
		want(t, "timeouts", []time.Duration{held["a1"].Timeout(), held["b1"].Timeout(), new(Message).Timeout()},
			[]time.Duration{time.Minute, 20 * time.Second, 0})
		want(t, "longest timeouts", []time.Duration{held["a1"].MaxTimeout(), new(Message).MaxTimeout()}, []time.Duration{15 * time.Minute, 0})
		held["a2"].Requeue(time.Hour)
		all := []*Message{held["a3"], held["a2"], held["b2"], {Body: []byte("nobody's")}, held["a1"], held["a3"]}
		FinishAll(all)
		FinishAll(all)
		FinishAll(nil)
		synctest.Wait()

		want(t, "finished at a", a.finishedBodies(), []string{"a3", "a1"})
		want(t, "requeued at a", a.requeued, []string{"a2 3600000"})
		want(t, "finished at b", b.finishedBodies(), []string{"b2"})
		want(t, "stats", r.Stats(), Stats{Connections: 2, InFlight: 1, Received: 5, Finished: 3, Requeued: 1})
		r.stop()
		FinishAll([]*Message{held["b1"]}) // its connection is gone
	})
}
