package broker

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
)

// TestGone deletes what sleeping consumers are subscribed to. Each must be
// woken and told, whatever it does meanwhile.
func TestGone(t *testing.T) {
	deletions := map[string]func(r *running) error{
		"channel": func(r *running) error { return r.topic("t").DeleteChannel("c") },
		"topic":   func(r *running) error { return r.DeleteTopic("t") },
	}
	for name, del := range deletions {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, t.TempDir(), nil)
				topic := r.topic("t")
				var cs []*client
				for range 3 {
					cs = append(cs, subscribe(t, topic, "c", 1))
				}
				publish(t, topic, 0, 1, 10)
				m := cs[0].receive(1)[0]
				for _, c := range cs[1:] {
					if c.poll() != nil {
						t.Fatal("a message is delivered twice")
					}
				}
				if err := del(r); err != nil {
					t.Fatal(err)
				}
				for _, c := range cs {
					<-c.Awake()
					c.SetReady(0)
					c.SetReady(10)
					c.SetTimeout(time.Second)
					mustFail(t, c.Touch(m.id), queue.ErrNotInFlight)
					mustFail(t, c.Requeue(m.id, 0), queue.ErrNotInFlight)
					_, err := c.Next(&c.run, 1000)
					mustFail(t, err, ErrGone)
					c.close()
				}
				// Another one of the same name is another one.
				topic = r.topic("t")
				c := subscribe(t, topic, "c", 10)
				if some := c.poll(); some != nil {
					t.Errorf("%v come from a new channel", some)
				}
				publish(t, topic, 7, 8, 10)
				if some := c.consume(1); some[0].number != 7 || some[0].id == m.id {
					t.Errorf("%v come from a new channel", some)
				}
				c.close()
			})
		})
	}
}

// TestEphemeral deletes ephemeral channels with their last consumer, and
// ephemeral topics with their last channel.
func TestEphemeral(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	topic := r.topic("t#ephemeral")
	a, b := subscribe(t, topic, "c#ephemeral", 1), subscribe(t, topic, "c#ephemeral", 1)
	a.close()
	if figures(topic, "c#ephemeral") == "none" {
		t.Error("an ephemeral channel went before its last consumer")
	}
	if err := topic.CreateChannel("stays"); err != nil {
		t.Fatal(err)
	}
	b.close()
	if figures(topic, "c#ephemeral") != "none" {
		t.Error("an ephemeral channel outlives its last consumer")
	}
	if _, err := r.Find("t#ephemeral"); err != nil {
		t.Errorf("an ephemeral topic that has a channel: %v", err)
	}
	if err := topic.DeleteChannel("stays"); err != nil {
		t.Fatal(err)
	}
	_, err := r.Find("t#ephemeral")
	mustFail(t, err, ErrNoTopic)
	r.topic("other#ephemeral")
	r = r.restart(nil)
	if n := len(r.Topics()); n != 0 {
		t.Errorf("%d ephemeral topics outlive a restart", n)
	}
}

func TestLimits(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	topic := r.topic("t")
	a := subscribe(t, topic, "c", 1)
	if _, err := topic.Subscribe("c", nil, Membership{Timeout: time.Second, Limit: 1}); err == nil || err.Error() != "consumers for t:c exceeds limit of 1" {
		t.Errorf("one consumer too many: %v", err)
	}
	a.close()
	b, err := topic.Subscribe("c", nil, Membership{Timeout: time.Second, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	mustFail(t, topic.EmptyChannel("no"), ErrNoChannel)
	mustFail(t, topic.DeleteChannel("no"), ErrNoChannel)
	mustFail(t, r.DeleteTopic("no"), ErrNoTopic)
	r.Refuse()
	mustFail(t, topic.Publish([][]byte{{1}}), ErrExiting)
	mustFail(t, topic.Defer([]byte{1}, 0), ErrExiting)
	_, err = r.Topic(t.Context(), "new")
	mustFail(t, err, ErrExiting)
	_, err = topic.Subscribe("c", nil, Membership{Timeout: time.Second})
	mustFail(t, err, ErrExiting)
}

// TestHalt holds back deliveries while what is in flight can be answered.
func TestHalt(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	topic := r.topic("t")
	c := subscribe(t, topic, "c", 5)
	publish(t, topic, 0, 10, 10)
	held := c.receive(5)
	r.Halt()
	if n := r.InFlight(); n != 5 {
		t.Errorf("%d messages are in flight", n)
	}
	c.finish(held)
	if some := c.poll(); some != nil {
		t.Errorf("%d messages come after the halt", len(some))
	}
	if n := r.InFlight(); n != 0 {
		t.Errorf("%d messages are in flight", n)
	}
	c.close()
}

// TestTimeouts delivers a message again that nobody answered, at its time, to
// whoever waits.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), func(s *Settings) { s.MaxMsgTimeout = 90 * time.Second })
		topic := r.topic("t")
		slow, other := subscribe(t, topic, "c", 2), subscribe(t, topic, "c", 1)
		publish(t, topic, 0, 1, 10)
		began := time.Now()
		m := slow.receive(1)[0]
		time.Sleep(50 * time.Second)
		if err := slow.Touch(m.id); err != nil {
			t.Fatal(err)
		}
		other.receiveAt(began.Add(90*time.Second), 0) // not 110: it was held for the longest time
		mustFail(t, slow.Touch(m.id), queue.ErrNotInFlight)
		slow.close()
		other.close()
	})
}

// TestWatch tells of creations, deletions and pauses, and knows the channels that new
// topics should have.
func TestWatch(t *testing.T) {
	r := start(t, t.TempDir(), func(s *Settings) {
		s.Channels = func(_ context.Context, topic string) ([]string, []string) { return []string{"of-" + topic}, nil }
	})
	changes, cancel := r.Watch()
	topic := r.topic("t")
	<-changes
	if got := figures(topic, "of-t"); got == "none" {
		t.Error("the channel that others have is missing")
	}
	if err := topic.CreateChannel("c"); err != nil {
		t.Fatal(err)
	}
	<-changes
	if err := topic.CreateChannel("c"); err != nil { // again
		t.Fatal(err)
	}
	if err := topic.Empty(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changes:
		t.Error("nothing was created, deleted or paused")
	default:
	}
	for _, change := range []func() error{
		func() error { return topic.Pause(queue.Pause{}) }, topic.Unpause,
		func() error { return topic.PauseChannel("c", queue.Pause{}) }, func() error { return topic.UnpauseChannel("c") },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		<-changes
	}
	if err := topic.DeleteChannel("c"); err != nil {
		t.Fatal(err)
	}
	<-changes
	cancel()
	if err := r.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changes:
		t.Error("a watch goes on after it was cancelled")
	default:
	}
	r.topic("b")
	r.topic("a")
	names := []string{}
	for _, topic := range r.Topics() {
		names = append(names, topic.Name())
	}
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("topics %v", names)
	}
	if r.topic("a").Number() == r.topic("b").Number() {
		t.Error("two topics have one number")
	}
}
