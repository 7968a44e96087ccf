package broker

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/histogram"
)

// sizeOf adds up the files below a folder, but for those whose names end in one
// of some ways.
func sizeOf(t *testing.T, dir string, without ...string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, end := range without {
			if strings.HasSuffix(path, end) {
				return nil
			}
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDiskBytes: what a topic says that it takes on disk is what its files have.
func TestDiskBytes(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		change := func(s *Settings) { s.Durability, s.SegmentBytes, s.SyncTimeout = Disk, 64<<10, time.Second }
		r := start(t, dir, change)
		check := func(what string) int64 {
			t.Helper()
			time.Sleep(5 * time.Second) // what is written behind has been
			topic := r.topic("t")
			got, want := topic.DiskBytes(), sizeOf(t, topic.logs.dir, "topic.json")
			if got != want || got == 0 {
				t.Errorf("%s: %d bytes, the files have %d", what, got, want)
			}
			return got
		}
		topic := r.topic("t")
		c, other := subscribe(t, topic, "c", 100), subscribe(t, topic, "other", 5000)
		publish(t, topic, 0, 3000, 100)
		if err := topic.Defer(body(3000, 50), time.Hour); err != nil {
			t.Fatal(err)
		}
		full := check("published")
		done := len(c.consume(1500))
		c.receive(10)
		check("partly consumed")
		other.consume(3000)
		c.close()
		other.close()
		check("requeued")
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = start(t, dir, change)
		check("after a restart")
		c = subscribe(t, r.topic("t"), "c", 5000)
		c.consume(3000 - done)
		c.close()
		if now := check("consumed"); now > full/2 {
			t.Errorf("%d bytes are left of %d", now, full)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDiskBytesInMemory is the same for what has spilled.
func TestDiskBytesInMemory(t *testing.T) {
	dir := t.TempDir()
	change := func(s *Settings) { s.MemoryMessages = 10 }
	r := start(t, dir, change)
	topic := r.topic("t")
	c := subscribe(t, topic, "c", 100)
	publish(t, topic, 0, 30_000, 100)
	r.rest(topic)
	check := func(what string) {
		t.Helper()
		topic := r.topic("t")
		if got, want := topic.DiskBytes(), sizeOf(t, topic.spillConfig().Dir, "meta.dat"); got != want || got == 0 {
			t.Errorf("%s: %d bytes, the files have %d", what, got, want)
		}
	}
	check("published")
	c.close()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, change)
	check("after a restart")
	topic = r.topic("t")
	c = subscribe(t, topic, "c", 5000)
	c.consume(30_000)
	c.close()
	r.rest(topic)
	if got := topic.DiskBytes(); got != 0 {
		t.Errorf("consumed: %d bytes", got)
	}
}

func total(s histogram.Snapshot) (n uint64) {
	for _, c := range s.Counts {
		n += c
	}
	return n
}

// TestDiskTimes: each write and each sync of a log is counted where it belongs.
func TestDiskTimes(t *testing.T) {
	path := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, path, func(s *Settings) { s.Durability, s.SyncTimeout = Disk, time.Second })
		fsync := Fsync
		synced, err := r.Create(t.Context(), "synced", Policy{Durability: &fsync})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, synced, 0, 300, 10)
		commits, background := r.SyncLatencies()
		if total(commits) != 3 || total(background) != 0 || total(r.WriteLatencies()) != 3 {
			t.Errorf("synced: %v, %v, %v", commits.Counts, background.Counts, r.WriteLatencies().Counts)
		}
		topic := r.topic("t")
		publish(t, topic, 0, 300, 10)
		time.Sleep(10 * time.Second)
		commits, background = r.SyncLatencies()
		if total(commits) != 3 || total(background) != 1 || total(r.WriteLatencies()) != 6 {
			t.Errorf("not synced: %v, %v, %v", commits.Counts, background.Counts, r.WriteLatencies().Counts)
		}
		stats, _ := topic.LogStats()
		if stats.Records != 3 || stats.Written != stats.Bytes {
			t.Errorf("%d records in %d bytes were written; there are %d bytes", stats.Records, stats.Written, stats.Bytes)
		}
		free, ok := r.FreeBytes()
		if now, size, err := r.FS.Space(path); !ok || r.DiskSize() != int64(size) || err != nil || free < int64(now)/2 || free > 2*int64(now) {
			t.Errorf("%d bytes are free (%v); the disk has %d (%v)", free, ok, now, err)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
