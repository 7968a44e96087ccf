package broker

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/queue"
)

func (m *machine) policy(topic string, p Policy) *Topic {
	m.t.Helper()
	t := m.topic(topic)
	if err := t.SetPolicy(p); err != nil {
		m.t.Fatal(err)
	}
	return t
}

func place(t *testing.T, text string) Place {
	t.Helper()
	p, err := ParsePlace(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRetention keeps what is finished, as long as it was told to.
func TestRetention(t *testing.T) {
	m := boot(t, Disk, nil)
	for name, p := range map[string]Policy{
		"none": {}, "bytes": {RetentionBytes: 300 << 10}, "age": {RetentionAge: time.Hour},
	} {
		topic := m.policy(name, p)
		c := subscribe(t, topic, "c", 2500)
		publish(t, topic, 0, 3000, 200)
		c.consume(3000)
	}
	m.quiet()
	m.kill()
	for name, want := range map[string]struct{ least, most int64 }{
		"none": {0, 128 << 10}, "bytes": {300 << 10, 364 << 10}, "age": {700 << 10, 1 << 20},
	} {
		topic := m.topic(name)
		if bytes := topic.logs.main.Bytes(); bytes < want.least || bytes > want.most {
			t.Errorf("%s: %d bytes are kept", name, bytes)
		}
	}
	topic := m.topic("age")
	if err := topic.CreateChannelAt("again", place(t, "earliest")); err != nil {
		t.Fatal(err)
	}
	inOrder(t, subscribe(t, topic, "again", 2500).consume(3000), 0)
}

func TestSeek(t *testing.T) {
	m := boot(t, Disk, nil)
	topic := m.policy("t", Policy{RetentionAge: time.Hour})
	c := subscribe(t, topic, "c", 2500)
	publish(t, topic, 0, 1000, 200)
	first := c.consume(1000)
	between := time.Now()
	publish(t, topic, 1000, 2000, 200)
	c.consume(1000)
	id := protocol.FormatID(first[700].id)
	for _, test := range []struct {
		to   string
		from int
	}{
		{"earliest", 0},
		{string(id[:]), 700},
		{between.Format(time.RFC3339Nano), 1000},
		{"latest", 2000},
	} {
		if err := topic.Seek("c", place(t, test.to)); err != nil {
			t.Fatal(err)
		}
		m.kill()
		topic = m.topic("t")
		c = subscribe(t, topic, "c", 2500)
		if n := 2000 - test.from; n > 0 {
			inOrder(t, c.consume(n), test.from)
		}
		if got := c.poll(); got != nil {
			t.Errorf("after a move to %s, %d more", test.to, len(got))
		}
		m.quiet()
	}
	if err := topic.Seek("c", place(t, "0123456789abcdef")); !errors.Is(err, ErrNoMessage) {
		t.Errorf("moving to a message that is not there: %v", err)
	}
	if err := topic.Seek("nowhere", place(t, "earliest")); !errors.Is(err, ErrNoChannel) {
		t.Errorf("moving a channel that is not there: %v", err)
	}
}

// TestSeekKeepsDeferred moves a channel to the end while deferred publishes are in
// flight, were requeued, and wait: the log could not bring them back.
func TestSeekKeepsDeferred(t *testing.T) {
	m := boot(t, Disk, nil)
	topic := m.topic("t")
	c := subscribe(t, topic, "c", 10)
	for i := range 3 {
		if err := topic.Defer(body(i, 10), time.Duration(i/2)*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	held := c.receive(2)
	if err := c.Requeue(held[0].id, time.Hour); err != nil {
		t.Fatal(err)
	}
	publish(t, topic, 3, 5, 10)
	if err := topic.Seek("c", place(t, "latest")); err != nil {
		t.Fatal(err)
	}
	if got := figures(topic, "c"); got != "depth 1, in flight 0, deferred 2" {
		t.Error(got)
	}
	if g := c.consume(1)[0]; g.id != held[1].id || g.attempts != 2 {
		t.Errorf("message %d, attempts %d", g.number, g.attempts)
	}
}

// TestSideLogIsCleared requeues what is then finished, again and again: what had
// to be moved to the side log does not stay there.
func TestSideLogIsCleared(t *testing.T) {
	m := boot(t, Disk, nil)
	topic := m.topic("t")
	c := subscribe(t, topic, "c", 2500)
	n := 0
	for range 20 {
		publish(t, topic, n, n+2000, 200)
		n += 2000
		var late []got
		for done := 0; done < 2000; {
			for _, g := range c.receive(1) {
				if done++; done%10 == 0 {
					late = append(late, g)
				} else {
					c.finish([]got{g})
				}
			}
		}
		for _, g := range late {
			if err := c.Requeue(g.id, time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		if err := topic.inPlaceOfTend(func() error { return topic.trim(topic.cut(topic.low(), Policy{}, false)) }); err != nil {
			t.Fatal(err)
		}
		c.consume(200)
	}
	m.quiet()
	if err := topic.inPlaceOfTend(topic.sweep); err != nil {
		t.Fatal(err)
	}
	if got := len(topic.logs.side.Segments()); got > 2 {
		t.Errorf("%d segments of the side log are left with nothing parked", got)
	}
}

// low is the core's Low.
func (t *Topic) low() (low uint64) {
	t.View(func(core *queue.Topic) { low = core.Low() })
	return low
}

// TestBounds fills a topic up to its bound of messages or bytes.
func TestBounds(t *testing.T) {
	m := boot(t, Disk, nil)
	for name, p := range map[string]Policy{"messages": {MaxMessages: 1000}, "bytes": {MaxBytes: 250_000}} {
		topic := m.policy(name, p)
		c := subscribe(t, topic, "c", 2500)
		n := 0
		var full *BacklogError
		for ; full == nil; n++ {
			if err := topic.Publish([][]byte{body(n, 200)}); err != nil && !errors.As(err, &full) {
				t.Fatal(err)
			}
		}
		n--
		if n < 700 || n > 1100 {
			t.Errorf("%s: full after %d messages", name, n)
		}
		inOrder(t, c.consume(n), 0)
		publish(t, topic, n, n+1, 200)
		inOrder(t, c.consume(1), n)
	}
	for name, p := range map[string]Policy{
		"oldest messages": {MaxMessages: 1000, DropOldest: true}, "oldest bytes": {MaxBytes: 250_000, DropOldest: true},
	} {
		topic := m.policy(name[:6]+name[7:10], p)
		if err := topic.CreateChannel("c"); err != nil {
			t.Fatal(err)
		}
		publish(t, topic, 0, 5000, 200)
		var depth int
		var dropped uint64
		topic.View(func(core *queue.Topic) {
			depth, dropped = core.Channel("c").Depth(), core.Channel("c").Counts().Dropped
		})
		if depth < 700 || depth > 1100 || depth+int(dropped) != 5000 {
			t.Errorf("%s: %d left, %d dropped", name, depth, dropped)
		}
		inOrder(t, subscribe(t, topic, "c", 2500).consume(depth), 5000-depth)
	}
}

// TestReplayHoldsNobodyUp has an ephemeral channel that begins far back in the log of a topic
// with bounds, and does not read: publishers go on, what is to be dropped for others is not
// dropped for it, and the log becomes no longer than it is to be.
func TestReplayHoldsNobodyUp(t *testing.T) {
	m := boot(t, Disk, nil)
	for name, p := range map[string]Policy{
		"messages": {MaxMessages: 100}, "bytes": {MaxBytes: 30_000}, "oldest": {MaxMessages: 100, DropOldest: true}, "oldestbytes": {MaxBytes: 30_000, DropOldest: true},
	} {
		p.RetentionBytes = 300 << 10
		topic := m.policy(name, p)
		c := subscribe(t, topic, "c", 2500)
		more := func(from, to int) {
			t.Helper()
			for ; from < to; from += 50 {
				publish(t, topic, from, from+50, 200)
				c.consume(50)
			}
		}
		more(0, 1000)
		if err := topic.CreateChannelAt("look#ephemeral", place(t, "earliest")); err != nil {
			t.Fatal(err)
		}
		more(1000, 1100)
		look := subscribe(t, topic, "look#ephemeral", 2500)
		inOrder(t, look.consume(1100), 0)
		if err := topic.CreateChannelAt("stuck#ephemeral", place(t, "earliest")); err != nil {
			t.Fatal(err)
		}
		for n := 1100; n < 5000; n += 50 {
			more(n, n+50)
			look.consume(50)
		}
		m.quiet()
		if bytes := topic.logs.main.Bytes(); bytes > 364<<10 {
			t.Errorf("%s: %d bytes are kept", name, bytes)
		}
	}
}

// TestPolicyKept sets everything there is to set, and is killed.
func TestPolicyKept(t *testing.T) {
	m := boot(t, Disk, nil)
	level := Fsync
	want := Policy{
		Durability: &level, RetentionAge: time.Hour, RetentionBytes: 1 << 20, MaxMessages: 5, MaxBytes: 7, DropOldest: true,
	}
	topic := m.policy("t", want)
	if err := topic.CreateChannel("c"); err != nil {
		t.Fatal(err)
	}
	for _, do := range []func() error{
		func() error { return topic.Pause(queue.Pause{}) }, func() error { return topic.PauseChannel("c", queue.Pause{}) }, func() error { return topic.SetMaxAttempts("c", 3) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	m.kill()
	topic = m.topic("t")
	if topic.Level() != Fsync {
		t.Errorf("level %v", topic.Level())
	}
	got := topic.Policy()
	if *got.Durability != Fsync {
		t.Errorf("durability %v", *got.Durability)
	}
	if got.Durability = want.Durability; got != want {
		t.Errorf("%+v", got)
	}
	topic.View(func(core *queue.Topic) {
		if c := core.Channel("c"); !core.Paused() || !c.Paused() || c.MaxAttempts() != 3 {
			t.Errorf("paused %v, channel paused %v, max attempts %d", core.Paused(), c.Paused(), c.MaxAttempts())
		}
	})
	memory := Memory
	if err := topic.SetPolicy(Policy{Durability: &memory}); !errors.Is(err, ErrLevel) {
		t.Errorf("to memory: %v", err)
	}
}

// TestDeadKept buries messages for each reason, is killed, revives one and
// deletes one.
func TestDeadKept(t *testing.T) {
	m := boot(t, Disk, nil)
	topic := m.topic("t")
	publish(t, topic, 0, 3, 10)
	c := subscribe(t, topic, "c", 10)
	if err := topic.SetMaxAttempts("c", 2); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, g := range c.receive(3) {
			if err := c.Requeue(g.id, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := c.poll(); got != nil {
		t.Fatalf("a message is delivered a third time: %v", got)
	}
	m.quiet()
	m.kill()
	topic = m.topic("t")
	var dead []uint64
	topic.View(func(core *queue.Topic) { dead = core.Channel("c").DeadIDs() })
	if len(dead) != 3 {
		t.Fatalf("%d are dead", len(dead))
	}
	if _, err := topic.Revive("c", dead[1], false); err != nil {
		t.Fatal(err)
	}
	if _, err := topic.DeleteDead("c", dead[0], false); err != nil {
		t.Fatal(err)
	}
	m.kill()
	topic = m.topic("t")
	topic.View(func(core *queue.Topic) {
		if c := core.Channel("c"); c.Dead() != 1 || c.Depth() != 1 {
			t.Errorf("%d dead, %d ready", c.Dead(), c.Depth())
		}
	})
	if g := subscribe(t, topic, "c", 10).consume(1)[0]; g.number != 1 || g.attempts != 1 {
		t.Errorf("message %d, attempts %d", g.number, g.attempts)
	}
}

// TestDeadActsKept cuts the power right after an operator has decided on dead
// messages at level fsync.
func TestDeadActsKept(t *testing.T) {
	m := boot(t, Fsync, nil)
	topic := m.topic("t")
	publish(t, topic, 0, 2, 10)
	c := subscribe(t, topic, "c", 10)
	if err := topic.SetMaxAttempts("c", 1); err != nil {
		t.Fatal(err)
	}
	held := c.receive(2)
	for _, g := range held {
		if err := c.Requeue(g.id, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := topic.Revive("c", held[0].id, false); err != nil {
		t.Fatal(err)
	}
	if _, err := topic.DeleteDead("c", held[1].id, false); err != nil {
		t.Fatal(err)
	}
	m.restart(m.disk.Crash(disktest.None, nil))
	m.topic("t").View(func(core *queue.Topic) {
		if c := core.Channel("c"); c.Dead() != 0 || c.Depth() != 1 {
			t.Errorf("%d dead, %d ready", c.Dead(), c.Depth())
		}
	})
}

// TestDeadKeptInMemory stops a topic of level memory in good order.
func TestDeadKeptInMemory(t *testing.T) {
	m := boot(t, Memory, nil)
	topic := m.topic("t")
	publish(t, topic, 0, 3, 10)
	c := subscribe(t, topic, "c", 10)
	if err := topic.SetMaxAttempts("c", 1); err != nil {
		t.Fatal(err)
	}
	for _, g := range c.receive(3)[1:] {
		if err := c.Requeue(g.id, 0); err != nil {
			t.Fatal(err)
		}
	}
	c.close()
	m.reboot()
	topic = m.topic("t")
	topic.View(func(core *queue.Topic) {
		if c := core.Channel("c"); c.Dead() != 3 || c.Depth() != 0 || c.MaxAttempts() != 1 {
			t.Errorf("%d dead, %d ready, at most %d attempts", c.Dead(), c.Depth(), c.MaxAttempts())
		}
	})
	if n, err := topic.Revive("c", 0, true); n != 3 || err != nil {
		t.Errorf("%d revived, %v", n, err)
	}
	inOrder(t, subscribe(t, topic, "c", 10).consume(3), 0)
}
