package journal_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace-mq/millrace/qd/disk"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/journal"
)

// operations counts what f does to the disk.
func (w *world) operations(f func()) int {
	before := w.disk.Operations()
	f()
	return w.disk.Operations() - before
}

// TestFailedWrite leaves nothing of a write that failed, whether it can be taken
// back or only covered.
func TestFailedWrite(t *testing.T) {
	for seed := range 20 {
		for _, dies := range []bool{false, true} {
			for _, hole := range []uint64{0, 50} {
				w := newWorld(t, journal.Options{})
				w.must(w.commit(true, 50, 2))
				w.disk.Tear(seeded(seed))
				if dies {
					w.disk.FailAlways(0)
				} else {
					w.disk.FailAt(0, syscall.EIO)
				}
				if err := w.commit(false, 50, 3, 1, 1, 1, 1, 1); err == nil {
					t.Fatal("a failed write was acknowledged")
				}
				w.disk.Heal()
				w.must(w.commitRecords(false, w.record(2+hole, 1, 10)))
				c := w.on(w.disk.Kill())
				c.isExactly("killed")
				if want := 1 + map[bool]int{true: 1}[dies]; len(c.findings) > 0 || len(c.log.Segments()) != want {
					t.Errorf("seed %d, dies %t: findings %v, segments %+v", seed, dies, c.findings, c.log.Segments())
				}
			}
		}
	}
}

// TestFailedSync never writes to a segment whose sync has failed, and writes
// anew what was in it, once.
func TestFailedSync(t *testing.T) {
	for _, level := range []string{"commit", "sync"} {
		w := newWorld(t, journal.Options{})
		w.must(w.commit(true, 50, 2))
		if level == "sync" {
			w.must(w.commit(false, 50, 3))
		}
		old := segmentPaths(w.disk)[0]
		fail := func() error { return w.commit(true, 50, 1) }
		if level == "sync" {
			w.disk.FailAt(0, syscall.EIO)
			fail = w.sync
		} else {
			w.disk.FailAt(1, syscall.EIO)
		}
		if err := fail(); err == nil {
			t.Fatal("a failed sync was acknowledged")
		}
		before := slices.Clone(w.disk.Bytes(old))
		if err := w.sync(); (err == nil) != (level == "commit") {
			t.Errorf("%s: another sync: %v", level, err)
		}
		w.must(w.commit(false, 10, 1))
		w.must(w.commit(false, 10, 1))
		w.must(w.sync())
		if len(w.log.Segments()) != 2 || !slices.Equal(before, w.disk.Bytes(old)) {
			t.Errorf("%s: written to again; segments %+v", level, w.log.Segments())
		}
		if paths := w.disk.Paths(); level == "sync" && slices.ContainsFunc(paths, func(p string) bool { return strings.HasSuffix(p, ".unsafe") }) {
			t.Errorf("%s: %v", level, paths)
		}
		w.isExactly(level)
		c := w.on(w.disk.Crash(disktest.None, nil))
		c.isExactly(level + ", crash")
		if len(c.findings) > 0 {
			t.Errorf("%s: findings %v", level, c.findings)
		}
	}
}

// beside is a disk that does something after each write to a file, as another
// goroutine might.
type beside struct {
	disk.FS
	do func()
}

type besideFile struct {
	disk.File
	do func()
}

func (d beside) Create(path string) (disk.File, error) {
	f, err := d.FS.Create(path)
	return besideFile{f, d.do}, err
}

func (f besideFile) WriteAt(off int64, buffers ...[]byte) error {
	err := f.File.WriteAt(off, buffers...)
	f.do()
	return err
}

// TestSyncFailsBeside has a Sync fail between the write and the sync of a commit,
// which would succeed then: it must not vouch for what the kernel has dropped.
func TestSyncFailsBeside(t *testing.T) {
	w := newWorld(t, journal.Options{})
	act := func() {}
	var err error
	w.log, err = journal.Open(beside{w.disk, func() { act() }}, dir, journal.Options{})
	w.must(err)
	w.must(w.commit(true, 10, 1))
	w.must(w.commit(false, 10, 1))
	act = func() {
		act = func() {}
		w.disk.FailAt(0, syscall.EIO)
		if err := w.sync(); err == nil {
			t.Error("a failed sync was acknowledged")
		}
	}
	if err := w.commit(true, 10, 1); err == nil {
		t.Error("a commit beside a failed sync was acknowledged")
	}
	w.must(w.commit(true, 10, 1))
	w.must(w.sync())
	w.isExactly("written anew")
	w.on(w.disk.Crash(disktest.None, nil)).isExactly("crash")
}

// TestRescueDies cuts the power while what a failed sync left in doubt is being
// written anew. What other syncs have vouched for must not suffer.
func TestRescueDies(t *testing.T) {
	for n := 0; ; n++ {
		w := newWorld(t, journal.Options{SegmentBytes: 600})
		w.must(w.commit(true, 50, 1))
		w.must(w.commit(false, 50, 3))
		w.must(w.commit(true, 50, 3))
		w.disk.FailAt(0, syscall.EIO)
		if err := w.sync(); err == nil {
			t.Fatal("a failed sync was acknowledged")
		}
		w.disk.Tear(seeded(n))
		w.disk.FailAlways(n)
		err := w.commit(false, 50, 2)
		died := w.disk.Failed()
		for seed := range 30 {
			c := w.on(w.disk.Crash(disktest.Some, seeded(seed)))
			c.holds(w.durable, fmt.Sprintf("died at %d (%v), crash %d", n, err, seed))
		}
		w.on(w.disk.Kill()).holds(w.acked, fmt.Sprintf("died at %d, killed", n))
		w.disk.Heal()
		w.must(w.commit(false, 10, 1))
		w.must(w.sync())
		w.isExactly("healed")
		w.on(w.disk.Crash(disktest.None, nil)).isExactly("healed, crash")
		if !died {
			return
		}
	}
}

// torn is a log whose last two records are damaged.
func torn(t *testing.T) *world {
	w := newWorld(t, journal.Options{})
	for range 5 {
		w.must(w.commit(true, 100, 1))
	}
	r := w.extents()
	for _, e := range r[3:] {
		w.disk.Flip(e.path, e.end-1, 1)
		for pos := e.from; pos < e.to; pos++ {
			delete(w.acked, pos)
			delete(w.durable, pos)
		}
	}
	return w
}

func TestTornEnd(t *testing.T) {
	w := torn(t)
	path := segmentPaths(w.disk)[0]
	before := slices.Clone(w.disk.Bytes(path))
	w.open()
	w.isExactly("cut")
	if len(w.findings) != 1 || w.findings[0].Damage != journal.Torn || w.log.End() != 3 {
		t.Fatalf("end %d, findings %v", w.log.End(), w.findings)
	}
	f := w.findings[0]
	if b := w.disk.Crash(disktest.None, nil).Bytes(f.Saved); string(b) != string(before[f.Offset:]) {
		t.Error("the bytes are not on the device where they were set aside")
	}
	w.must(w.commit(false, 10, 1))
	c := w.on(w.disk.Kill())
	c.isExactly("one more")
	if len(c.findings) > 0 {
		t.Errorf("something was left: %v", c.findings)
	}
}

// TestTornEndStays goes on where a torn end can neither be set aside nor cut.
func TestTornEndStays(t *testing.T) {
	done := torn(t)
	done.disk = done.disk.Kill()
	n := done.operations(done.open)
	for i := range n {
		w := torn(t)
		path := segmentPaths(w.disk)[0]
		before := slices.Clone(w.disk.Bytes(path))
		w.disk.FailAt(i, syscall.EIO)
		w.open()
		if !slices.Equal(before, w.disk.Bytes(path)) {
			t.Errorf("fault at %d: cut without having been set aside", i)
		}
		w.must(w.commit(true, 10, 1))
		w.isExactly("one more")
		c := w.on(w.disk.Crash(disktest.None, nil))
		c.isExactly("crash")
		if len(c.findings) > 0 || len(c.log.Segments()) != 2 {
			t.Errorf("fault at %d: findings %v, segments %+v", i, c.findings, c.log.Segments())
		}
	}
	if n < 5 {
		t.Errorf("only %d operations", n)
	}
}

// TestRescueDamage leaves out, and reports, what is damaged of the records that
// are written anew.
func TestRescueDamage(t *testing.T) {
	w := newWorld(t, journal.Options{})
	for range 4 {
		w.must(w.commit(false, 50, 1))
	}
	r := w.extents()
	w.disk.FailAt(0, syscall.EIO)
	if err := w.sync(); err == nil {
		t.Fatal("a failed sync was acknowledged")
	}
	w.disk.Flip(r[1].path, r[1].end-1, 1)
	w.must(w.commit(true, 50, 1))
	if len(w.findings) != 1 || w.findings[0].From != 1 || w.findings[0].To != 2 {
		t.Errorf("findings %v", w.findings)
	}
	w.loses("written anew", r[1])
	if s := w.log.Segments(); len(s) != 2 || s[0].End != 0 || s[1].First != 0 || s[1].End != 5 {
		t.Errorf("segments %+v", s)
	}
}

// TestEmptyEnd moves a last segment without header and records away for good:
// its name would cover what is committed to the one before.
func TestEmptyEnd(t *testing.T) {
	for seed := range 30 {
		w := newWorld(t, journal.Options{SegmentBytes: 600})
		w.must(w.commit(true, 50, 2))
		w.must(w.commit(true, 200, 2))
		last := segmentPaths(w.disk)[1]
		w.disk.Flip(last, 0, 1)
		w.disk.Flip(last, int64(len(w.disk.Bytes(last)))-1, 1)
		delete(w.acked, 2)
		delete(w.acked, 3)
		w.durable = w.acked
		w.open() // cuts it to the size of a header, which a crash may undo
		w.open() // moves it away
		w.isExactly("empty")
		if len(w.findings) != 1 || w.findings[0].Damage != journal.NoSegment {
			t.Fatalf("findings %v", w.findings)
		}
		w.must(w.commit(true, 10, 1))
		w.on(w.disk.Crash(disktest.Some, seeded(seed))).isExactly(fmt.Sprintf("crash %d", seed))
	}
}
