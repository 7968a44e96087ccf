package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/queue"
)

// restart stops a broker in order and starts it again.
func (r *running) restart(change func(*Settings)) *running {
	r.t.Helper()
	r.audit()
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
	return start(r.t, r.DataPath, change)
}

// TestRestart stops and starts a broker, with little and with much memory.
// What was in flight comes first, then what was requeued, then what was never
// delivered, in order; due times and attempts are as they were.
func TestRestart(t *testing.T) {
	for _, memory := range []int{0, 300, 1 << 30} {
		t.Run(fmt.Sprintf("memory for %d", memory), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testRestart(t, func(s *Settings) { s.MemoryMessages = memory }) })
		})
	}
}

func testRestart(t *testing.T, change func(*Settings)) {
	r := start(t, t.TempDir(), change)
	topic := r.topic("t")
	for _, channel := range []string{"a", "b"} {
		if err := topic.CreateChannel(channel); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, topic, 0, 10, 100)
	a := subscribe(t, topic, "a", 10)
	first := a.receive(10)
	inOrder(t, first, 0)
	for range 3 { // message 3 comes again and again
		if err := a.Requeue(first[3].id, 0); err != nil {
			t.Fatal(err)
		}
		first[3] = a.receive(1)[0]
	}
	publish(t, topic, 10, 1000, 100)
	began := time.Now()
	if err := topic.Defer(body(5000, 1), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := a.Requeue(first[5].id, 30*time.Minute); err != nil { // waits
		t.Fatal(err)
	}
	a.finish(first[:3])
	// Still in flight: 3 (attempts 4), 4, 6 to 9.
	r = r.restart(change)

	topic = r.topic("t")
	if got := figures(topic, "a"); got != "depth 996, in flight 0, deferred 2" {
		t.Errorf("channel a has %s", got)
	}
	a = subscribe(t, topic, "a", 2500)
	again := a.receive(6)
	for i, want := range []got{{number: 3, attempts: 5}, {number: 4, attempts: 2}, {number: 6, attempts: 2}, {number: 7, attempts: 2}, {number: 8, attempts: 2}, {number: 9, attempts: 2}} {
		if m := again[i]; m.number != want.number || m.attempts != want.attempts {
			t.Errorf("message %d after the restart is number %d with attempts %d, not %d with %d", i, m.number, m.attempts, want.number, want.attempts)
		}
	}
	a.finish(again)
	inOrder(t, append(again[6:], a.consume(990-len(again[6:]))...), 10)
	time.Sleep(time.Until(began.Add(30*time.Minute - time.Second)))
	if some := a.poll(); some != nil {
		t.Errorf("%v come before they are due", some)
	}
	time.Sleep(time.Second)
	if m := a.consume(1)[0]; m.number != 5 || m.attempts != 2 {
		t.Errorf("number %d with attempts %d comes, not 5 with 2", m.number, m.attempts)
	}
	a.receiveAt(began.Add(time.Hour), 5000)
	b := subscribe(t, topic, "b", 2500)
	all := b.consume(1001)
	if m := all[0]; m.number == 5000 { // due by now, so ready
		all = all[1:]
	}
	inOrder(t, all[:500], 0)
	a.close()
	b.close()
}

// receiveAt checks that a message comes at a time, and no sooner.
func (c *client) receiveAt(at time.Time, number int) {
	c.t.Helper()
	for some := c.poll(); ; some = c.poll() {
		if len(some) > 0 {
			if early := time.Until(at); some[0].number != number || early > 0 || early < -time.Millisecond {
				c.t.Errorf("number %d comes %v before it is due", some[0].number, early)
			}
			c.finish(some)
			return
		}
		<-c.Awake()
	}
}

// TestRestartPaused keeps pauses, and what they hold back apart from what they
// do not.
func TestRestartPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, memory := range []int{0, 1 << 30} {
			change := func(s *Settings) { s.MemoryMessages = memory }
			r := start(t, t.TempDir(), change)
			topic := r.topic("t")
			for _, err := range []error{
				topic.CreateChannel("c"), topic.CreateChannel("paused"), topic.PauseChannel("paused", queue.Pause{}),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			publish(t, topic, 0, 300, 100)
			if err := topic.Pause(queue.Pause{}); err != nil {
				t.Fatal(err)
			}
			publish(t, topic, 300, 400, 100)
			if err := topic.Empty(); err != nil { // these never come
				t.Fatal(err)
			}
			publish(t, topic, 400, 500, 100)
			if err := topic.Defer(body(500, 1), time.Second); err != nil {
				t.Fatal(err)
			}
			for range 2 { // nothing changes by being stopped
				r = r.restart(change)
			}
			topic = r.topic("t")
			c := subscribe(t, topic, "c", 2500)
			inOrder(t, c.consume(300), 0)
			time.Sleep(time.Minute)
			if some := c.poll(); some != nil {
				t.Errorf("%d messages come from a paused topic", len(some))
			}
			if err := topic.Unpause(); err != nil {
				t.Fatal(err)
			}
			rest := c.consume(101)
			if rest[0].number == 500 {
				rest = append(rest[1:], rest[0])
			}
			inOrder(t, rest, 400)
			p := subscribe(t, topic, "paused", 2500)
			if some := p.poll(); some != nil {
				t.Errorf("%d messages come from a paused channel", len(some))
			}
			if got := figures(topic, "paused"); got != "depth 401, in flight 0, deferred 0" {
				t.Errorf("the paused channel has %s", got)
			}
			if err := topic.UnpauseChannel("paused"); err != nil {
				t.Fatal(err)
			}
			p.consume(401)
			c.close()
			p.close()
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestMemoryAtKill kills a daemon with topics of level memory whose messages were for
// some channels and not for others, and one of an older program, which wrote down how
// many. What was in memory is lost, and nothing else.
func TestMemoryAtKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := boot(t, Memory, nil)
		later, held, emptied := m.topic("later"), m.topic("held"), m.topic("emptied")
		for _, topic := range []*Topic{later, held, emptied} {
			allNil(t, topic.CreateChannel("c"))
			publish(t, topic, 0, 300, 100)
		}
		allNil(t, later.CreateChannel("d"), held.Pause(queue.Pause{Reason: "r"}), emptied.Pause(queue.Pause{}))
		publish(t, emptied, 300, 400, 100)
		allNil(t, emptied.Empty(), emptied.CreateChannel("d"))
		time.Sleep(time.Minute) // it is written down behind
		path := filepath.Join(m.path, metaFile)
		text, err := readFile(m.disk, path)
		allNil(t, err)
		old := strings.ReplaceAll(string(text), `"state": {}`, `"state": {"skip": 300}`)
		old = strings.ReplaceAll(old, `"paused": true,`, `"paused": true, "paused_after": 300, "cuts": [{"after": 300, "messages": 100}],`)
		if !strings.Contains(old, "skip") || !strings.Contains(old, "cuts") {
			t.Fatalf("unexpected: %s", text)
		}
		for _, text := range []string{string(text), old} {
			killed := m.disk.Kill()
			m.end()
			allNil(t, m.stop(), os.RemoveAll(m.spill.Dir), replaceFile(killed, path, []byte(text)))
			m.disk = killed
			m.running = start(t, m.path, m.set)
			if ofTopic, _ := paused(m.topic("held"), "c"); ofTopic == nil || ofTopic.Reason != "r" {
				t.Errorf("the topic is paused: %+v", ofTopic)
			}
			allNil(t, m.topic("held").Unpause(), m.topic("emptied").Unpause())
			for _, name := range []string{"later", "held", "emptied"} {
				topic := m.topic(name)
				publish(t, topic, 500, 600, 100)
				for _, channel := range []string{"c", "d"} {
					c := subscribe(t, topic, channel, 2500)
					if channel == "c" || name != "held" {
						inOrder(t, c.consume(100), 500)
					}
					c.close()
				}
			}
		}
	})
}

// TestRestartInTheMiddle restarts a broker again and again while channels
// drain what they and the topic have on disk.
func TestRestartInTheMiddle(t *testing.T) {
	const messages, step = 12_000, 1700
	change := func(s *Settings) { s.MemoryMessages = 300 }
	r := start(t, t.TempDir(), change)
	topic := r.topic("t")
	for _, channel := range []string{"fast", "slow"} {
		if err := topic.CreateChannel(channel); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, topic, 0, messages, 500)
	next := map[string]int{}
	for next["slow"] < messages {
		for channel, n := range map[string]int{"fast": 3 * step, "slow": step} {
			c := subscribe(t, topic, channel, 2500)
			for n = min(n, messages-next[channel]); n > 0; {
				c.SetReady(min(n, 100))
				some := c.consume(1)
				inOrder(t, some, next[channel])
				next[channel] += len(some)
				n -= len(some)
			}
			c.close()
		}
		r = r.restart(change)
		topic = r.topic("t")
	}
	noFiles(t, r, "diskqueue")
}

// TestEmptyAndStop stops a broker right after channels were emptied and
// deleted, before anybody has deleted their files.
func TestEmptyAndStop(t *testing.T) {
	change := func(s *Settings) { s.MemoryMessages = 0 }
	r := start(t, t.TempDir(), change)
	topic := r.topic("t")
	fast := subscribe(t, topic, "fast", 2500)
	for _, channel := range []string{"emptied", "deleted", "kept"} {
		if err := topic.CreateChannel(channel); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, topic, 0, 1000, 3000)
	fast.consume(1000)
	publish(t, topic, 1000, 1200, 3000)
	r.rest(topic)
	r.end() // the disk worker does nothing any more
	if err := topic.EmptyChannel("emptied"); err != nil {
		t.Fatal(err)
	}
	if err := topic.DeleteChannel("deleted"); err != nil {
		t.Fatal(err)
	}
	publish(t, topic, 1200, 1210, 3000)
	fast.close()
	r = r.restart(change)

	topic = r.topic("t")
	for _, test := range []struct {
		channel string
		from    int
	}{{"emptied", 1200}, {"deleted", 1210}, {"kept", 0}, {"fast", 1000}} {
		c := subscribe(t, topic, test.channel, 2500)
		if n := 1210 - test.from; n > 0 {
			inOrder(t, c.consume(n), test.from)
		}
		if some := c.poll(); some != nil {
			t.Errorf("channel %s has %d messages too many", test.channel, len(some))
		}
		c.close()
	}
	r.rest(topic)
	noFiles(t, r, "diskqueue")
}

// TestInstance is the same after every restart and kill, and made where there is
// none.
func TestInstance(t *testing.T) {
	m := boot(t, Disk, nil)
	first := m.Instance()
	if !protocol.ValidName(first) {
		t.Errorf("the instance is %q", first)
	}
	m.kill()
	if got := m.Instance(); got != first {
		t.Errorf("after a kill it is %q, was %q", got, first)
	}
	m.reboot()
	if got := m.Instance(); got != first {
		t.Errorf("after a restart it is %q, was %q", got, first)
	}
	if other := boot(t, Disk, nil).Instance(); other == first {
		t.Errorf("another data path is %q, too", other)
	}
	old := t.TempDir()
	if err := os.WriteFile(filepath.Join(old, metaFile), []byte(`{"version":1,"clean":true,"reserved":9}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := start(t, old, nil).Instance(); !protocol.ValidName(got) {
		t.Errorf("where there was none it is %q", got)
	}
}
