package broker

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
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
				topic.CreateChannel("c"), topic.CreateChannel("paused"), topic.PauseChannel("paused"),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			publish(t, topic, 0, 300, 100)
			if err := topic.Pause(); err != nil {
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

// TestMetadata opens data paths that cannot be used. The error must say why,
// and nothing may be changed.
func TestMetadata(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, func(s *Settings) { s.MemoryMessages = 0 })
	publish(t, r.topic("t"), 0, 1000, 100)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, metaFile))
	if err != nil {
		t.Fatal(err)
	}
	var newer map[string]any
	if err := json.Unmarshal(whole, &newer); err != nil {
		t.Fatal(err)
	}
	newer["version"] = metaVersion + 1
	newerText, err := json.Marshal(newer)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		text []byte // nil is no file
		says string
	}{
		"cut short":        {whole[:len(whole)/2], "unexpected end of JSON"},
		"empty":            {[]byte{}, "unexpected end of JSON"},
		"zeros":            {make([]byte, 500), "invalid character"},
		"of another kind":  {[]byte("[1,2]"), "cannot unmarshal"},
		"newer":            {newerText, "format version 2"},
		"missing":          {nil, "is missing"},
		"with a bad topic": {[]byte(strings.Replace(string(whole), `"t"`, `"../t"`, 1)), "not a topic name"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, metaFile)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if test.text != nil {
				if err := os.WriteFile(path, test.text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := contents(t, dir)
			s := settings(dir)
			b, err := Open(s)
			if err == nil {
				t.Fatal(b.Close())
			}
			if !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("the error is %q", err)
			}
			if after := contents(t, dir); after != before {
				t.Errorf("files were changed:\n%s\nwere\n%s", after, before)
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	r = start(t, dir, nil)
	c := subscribe(t, r.topic("t"), "c", 2500)
	inOrder(t, c.consume(1000), 0)
	c.close()
}

// contents lists files and their sizes.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var list strings.Builder
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, failed := d.Info()
			if failed != nil {
				return failed
			}
			fmt.Fprintln(&list, path, info.Size())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return list.String()
}

func TestLock(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	if _, err := Open(settings(r.DataPath)); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second broker on the same data path: %v", err)
	}
	for name, path := range map[string]string{"that is missing": filepath.Join(r.DataPath, "no"), "with a %": r.DataPath + "/%d"} {
		if _, err := Open(settings(path)); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("a data path %s: %v", name, err)
		}
	}
	r = r.restart(nil)
	r.topic("t")
}

// copyOf copies a data path as a crash would leave it.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestCrash copies the data path of a broker while it runs and opens the copy:
// what has been on disk comes, once and in order, with and without the files
// of go-diskqueue that say how much there is.
func TestCrash(t *testing.T) {
	for _, every := range []int64{1, 3, 1 << 40} {
		t.Run(fmt.Sprintf("a sync every %d records", every), func(t *testing.T) {
			change := func(s *Settings) { s.MemoryMessages, s.SyncEvery, s.FileBytes = 0, every, 100<<20 }
			r := start(t, t.TempDir(), change)
			topic := r.topic("t")
			fast := subscribe(t, topic, "fast", 2500)
			if err := topic.CreateChannel("slow"); err != nil {
				t.Fatal(err)
			}
			seen := map[uint64]bool{}
			publish(t, topic, 0, 10_000, 500)
			for _, m := range fast.consume(7000) { // the slow channel's go to a disk queue of its own
				seen[m.id] = true
			}
			r.rest(topic)
			want := map[string]int{"slow": onDisk(topic, "slow"), "fast": onDisk(topic, "fast")}
			time.Sleep(200 * time.Millisecond) // the metadata is written a moment later
			crashed := start(t, copyOf(t, r.DataPath), change)
			fast.close()
			if !crashed.log.contains("no orderly stop") {
				t.Error("the crash is not reported")
			}

			topic = crashed.topic("t")
			publish(t, topic, 10_000, 10_100, 500)
			for channel, messages := range want {
				c := subscribe(t, topic, channel, 2500)
				last := -1
				for n := 0; last < 10_099; n++ {
					m := c.consume(1)
					for _, m := range m {
						if m.number <= last {
							t.Fatalf("channel %s: %d comes after %d", channel, m.number, last)
						}
						last = m.number
						if seen[m.id] && m.number >= 10_000 {
							t.Errorf("the ID of message %d was used before the crash", m.number)
						}
						messages--
					}
				}
				if messages > -100 {
					t.Errorf("channel %s: %d messages that were on disk are missing", channel, messages+100)
				}
				c.close()
			}
			crashed.rest(topic)
			noFiles(t, crashed, "diskqueue")
		})
	}
}

// TestCrashUnsaved crashes a broker before it has written down anything since
// its start. Its IDs must not be given out again.
func TestCrashUnsaved(t *testing.T) {
	const topics = 3000
	seen := map[uint64]bool{}
	ids := func(b *Broker) {
		t.Helper()
		for i := range topics {
			topic, err := b.Topic(t.Context(), fmt.Sprint("t", i))
			if err != nil {
				t.Fatal(err)
			}
			c := subscribe(t, topic, "c", 10)
			publish(t, topic, 0, 1, 1)
			if err := topic.Defer(body(1, 1), 0); err != nil {
				t.Fatal(err)
			}
			for _, m := range c.consume(2) {
				if seen[m.id] {
					t.Fatalf("topic %d: ID %x is used twice", i, m.id)
				}
				seen[m.id] = true
			}
			c.close()
		}
	}
	s := settings(t.TempDir())
	for round := range 3 { // the broker is not Run, so nothing is written down in time
		b, err := Open(s)
		if err != nil {
			t.Fatal(err)
		}
		ids(b)
		path := copyOf(t, s.DataPath)
		if round == 0 { // all topics are known in the next rounds
			if err := b.save(b.describe()); err != nil {
				t.Fatal(err)
			}
			path = copyOf(t, s.DataPath)
		}
		s.DataPath = path
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCrashLeavings opens a data path on which a crash came between the
// deletion of a topic and that of its files.
func TestCrashLeavings(t *testing.T) {
	r := start(t, t.TempDir(), func(s *Settings) { s.MemoryMessages = 0 })
	publish(t, r.topic("t"), 0, 1000, 1000)
	r.topic("u")
	r.rest(r.topic("t"))
	dir := copyOf(t, r.DataPath)
	if err := r.DeleteTopic("t"); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(r.DataPath, metaFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, metaFile), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, nil)
	if !r.log.contains("not known") {
		t.Error("the files that are left are not reported")
	}
	c := subscribe(t, r.topic("t"), "c", 10)
	if some := c.poll(); some != nil {
		t.Errorf("%d messages of a deleted topic come back", len(some))
	}
	c.close()
}

// TestDamage damages one record on disk. It costs its own messages, and is
// said so.
func TestDamage(t *testing.T) {
	r := start(t, t.TempDir(), func(s *Settings) { s.MemoryMessages = 0 })
	topic := r.topic("t")
	publish(t, topic, 0, 5000, 500)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	names := files(t, r)
	for _, name := range names {
		if !strings.HasSuffix(name, "000000.diskqueue.000000.dat") {
			continue
		}
		data, err := os.ReadFile(name)
		if err == nil {
			data[len(data)/2] ^= 1
			err = os.WriteFile(name, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r = start(t, r.DataPath, nil)
	topic = r.topic("t")
	c := subscribe(t, topic, "c", 2500)
	var n, last int
	for last < 4999 {
		for _, m := range c.consume(1) {
			if m.number < last {
				t.Fatalf("%d comes after %d", m.number, last)
			}
			last = m.number
			n++
		}
	}
	lost := 0
	topic.View(func(core *queue.Topic) { lost = int(core.Channel("c").Counts().Lost) })
	if lost == 0 || lost > queue.MaxBlock/500 || n+lost != 5000 {
		t.Errorf("%d messages come and %d are lost of 5000", n, lost)
	}
	if !r.log.contains("damaged") || !r.log.contains("missing") {
		t.Error("the damage is not reported")
	}
	c.close()
}

// TestNonsense has somebody edit the metadata. What no broker writes is
// refused, in words that name it.
func TestNonsense(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a count below zero":     {`{"version":1,"clean":true,"reserved":9,"topics":[{"name":"t","number":1,"backlog":{"disk":{"blocks":1,"messages":-50}}}]}`, "topic t: the counts"},
		"fewer than blocks":      {`{"version":1,"clean":true,"reserved":9,"topics":[{"name":"t","number":1,"backlog":{"disk":{"blocks":3,"messages":2}}}]}`, "topic t: the counts"},
		"skipping too much":      {`{"version":1,"clean":true,"reserved":9,"topics":[{"name":"t","number":1,"channels":[{"name":"c","state":{"skip":7}}]}]}`, "topic t: the counts"},
		"a topic twice":          {`{"version":1,"clean":true,"reserved":9,"topics":[{"name":"t","number":1},{"name":"t","number":2}]}`, "topic t: its name"},
		"a number twice":         {`{"version":1,"clean":true,"reserved":9,"topics":[{"name":"t","number":1},{"name":"u","number":1}]}`, "topic u: its name"},
		"a number not given out": {`{"version":1,"clean":true,"reserved":0,"topics":[{"name":"t","number":1}]}`, "never given out"},
		"a channel twice":        {`{"version":1,"clean":true,"reserved":9,"topics":[{"name":"t","number":1,"channels":[{"name":"c"},{"name":"c"}]}]}`, `channel "c"`},
		"a name out of rule":     {`{"version":1,"clean":true,"reserved":9,"topics":[{"name":"../t","number":1}]}`, "not a topic name"},
		"an instance like none":  {`{"version":1,"clean":true,"reserved":9,"instance":"a b"}`, `instance "a b"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, metaFile), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			b, err := Open(Settings{DataPath: dir, Log: slog.New(slog.DiscardHandler)})
			if err == nil {
				_ = b.dir.Close()
				t.Fatal("it is believed")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), metaFile) {
				t.Errorf("the error is %v", err)
			}
		})
	}
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
