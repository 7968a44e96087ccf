package millrace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestBatchGiveUp(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", "good", "dead", "refused", "later")
		var kept *Message
		var given []string
		r := startReader(t, n, ReaderConfig{
			Addresses: []string{"q:1"}, MaxAttempts: 2,
			BatchHandler: BatchHandlerFunc(func(_ context.Context, batch []*Message) error {
				for _, m := range batch {
					if string(m.Body) != "good" {
						m.Requeue(time.Second)
					}
				}
				return nil
			}),
			OnGiveUp: HandlerFunc(func(_ context.Context, m *Message) error {
				given = append(given, fmt.Sprint(string(m.Body), " ", m.Attempts))
				switch string(m.Body) {
				case "refused":
					return errors.New("not yet")
				case "later":
					kept = m
					return ErrAnswerLater
				}
				return nil
			}),
		})
		pass(2500 * time.Millisecond)
		b.put("t", "more", "and more")
		synctest.Wait()
		slices.Sort(given)
		want(t, "given up", given, []string{"dead 3", "later 3", "refused 3"})
		want(t, "the one to be answered later", string(kept.Body), "later")
		want(t, "it is", slices.Contains(b.finishedBodies(), "later"), false)
		kept.Finish()
		synctest.Wait()
		want(t, "now it is", slices.Contains(b.finishedBodies(), "later"), true)
		want(t, "dead", slices.Contains(b.finishedBodies(), "dead"), true)
		want(t, "refused", slices.Contains(b.requeued, "refused 15000"), true)
		want(t, "counted", r.Stats().GivenUp, uint64(3))
		r.stop()
	})
}

// TestGivenUpOfABatchIsKept: what OnGiveUp was given is its for good, as a Handler's is.
func TestGivenUpOfABatchIsKept(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", "dead")
		var dead *Message
		startReader(t, n, ReaderConfig{
			Addresses: []string{"q:1"}, MaxAttempts: 1, RequeueDelay: -1,
			BatchHandler: BatchHandlerFunc(func(context.Context, []*Message) error { return errors.New("no") }),
			OnGiveUp: HandlerFunc(func(_ context.Context, m *Message) error {
				if string(m.Body) == "dead" {
					dead = m
				}
				return nil
			}),
		})
		pass(time.Second)
		b.put("t", numbered(1000)...)
		pass(time.Second)
		want(t, "finished first", b.finishedBodies()[0], "dead")
		want(t, "what was kept", string(dead.Body), "dead")
	})
}

// TestGivenUpBesideOthers: the batch's answer is none to those given up.
func TestGivenUpBesideOthers(t *testing.T) {
	for result, finished := range map[error][]string{nil: {"fresh"}, errors.New("no"): nil} {
		t.Run(fmt.Sprint(result), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := startBroker(t, n.listen("q:1"))
				b.put("t", "old")
				sizes := batches{}
				r := startReader(t, n, ReaderConfig{
					Addresses: []string{"q:1"}, MaxAttempts: 1, BatchWait: 2 * time.Second, ShutdownTimeout: time.Second,
					BatchHandler: BatchHandlerFunc(func(ctx context.Context, batch []*Message) error {
						_ = sizes.HandleBatch(ctx, batch)
						if string(batch[0].Body) == "old" {
							batch[0].Requeue(time.Second)
							return nil
						}
						return result
					}),
					OnGiveUp: HandlerFunc(func(context.Context, *Message) error { return ErrAnswerLater }),
				})
				pass(3500 * time.Millisecond)
				b.put("t", "fresh")
				pass(2 * time.Second)
				want(t, "handled", sizes.bodies(), []string{"old", "fresh"})
				want(t, "finished", b.finishedBodies(), finished)
				want(t, "in flight", r.Stats().InFlight, 1)
				r.stop()
			})
		})
	}
}
