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
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
)

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
		"cutting less than none": {`{"version":1,"clean":true,"reserved":9,"topics":[{"name":"t","number":1,"state":{"cuts":[{"after":-1,"messages":1}]}}]}`, "topic t: the counts"},
		"cutting a negative":     {`{"version":1,"clean":true,"reserved":9,"topics":[{"name":"t","number":1,"state":{"cuts":[{"after":0,"messages":-1}]}}]}`, "topic t: the counts"},
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
