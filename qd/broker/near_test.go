package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
)

func TestNearness(t *testing.T) {
	for _, c := range []struct {
		prefer               bool
		ofDaemon, ofConsumer [2]string // region, zone
		want                 queue.Nearness
	}{
		{true, [2]string{"eu", "a"}, [2]string{"eu", "a"}, queue.Zone},
		{true, [2]string{"eu", "a"}, [2]string{"eu", "b"}, queue.Region},
		{true, [2]string{"eu", "a"}, [2]string{"eu", ""}, queue.Region},
		{true, [2]string{"eu", ""}, [2]string{"eu", ""}, queue.Region},
		{true, [2]string{"eu", "a"}, [2]string{"us", "a"}, queue.Elsewhere},
		{true, [2]string{"eu", "a"}, [2]string{"", ""}, queue.Elsewhere},
		{true, [2]string{"", "a"}, [2]string{"", "a"}, queue.Zone},
		{true, [2]string{"", ""}, [2]string{"", ""}, queue.Elsewhere},
		{false, [2]string{"eu", "a"}, [2]string{"eu", "a"}, queue.Elsewhere},
	} {
		b := &Broker{Settings: Settings{PreferNear: c.prefer, Region: c.ofDaemon[0], Zone: c.ofDaemon[1]}}
		if got := b.Nearness(c.ofConsumer[0], c.ofConsumer[1]); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// TestStuckNear: one who is near and does not come back for more, though it has
// credit, holds up the others for a moment only, be they asleep and the publish
// all that happens.
func TestStuckNear(t *testing.T) {
	for level := Memory; level <= Fsync; level++ {
		t.Run(level.String(), func(t *testing.T) { stuckNear(t, level) })
	}
}

func stuckNear(t *testing.T, level Level) {
	path := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, path, func(s *Settings) { s.Durability = level })
		topic := r.topic("t")
		join := func(near queue.Nearness) *client {
			k, err := topic.Subscribe("c", nil, Membership{Timeout: time.Minute, Near: near})
			if err != nil {
				t.Fatal(err)
			}
			k.SetReady(100)
			c := &client{Consumer: k, t: t}
			if len(c.poll()) > 0 {
				t.Fatal("there is a message")
			}
			return c
		}
		near, far := join(queue.Zone), join(queue.Elsewhere)
		publish(t, topic, 0, 1, 10)
		near.receive(1)
		began := time.Now()
		publish(t, topic, 1, 4, 10)
		<-far.Awake()
		inOrder(t, far.receive(3), 1)
		if took := time.Since(began); took == 0 || took > 50*time.Millisecond {
			t.Errorf("the farther one has waited for %v", took)
		}
		near.close()
		far.close()
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
