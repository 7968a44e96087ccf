package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	diskqueue "github.com/nsqio/go-diskqueue"

	"github.com/millrace-mq/millrace/qd/disk"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/takeover"
)

// nsqdQueue writes messages numbered from from up to but not including to into a
// disk queue as nsqd does: attempts of each are those given.
func nsqdQueue(t *testing.T, dir, name string, from, to int, attempts uint16) {
	t.Helper()
	q := diskqueue.New(name, dir, 32<<10, 0, 1<<20, 100, time.Hour, func(diskqueue.LogLevel, string, ...any) {})
	for i := from; i < to; i++ {
		record := binary.BigEndian.AppendUint64(nil, uint64(1_600_000_000_000_000_000+int64(i)))
		record = binary.BigEndian.AppendUint16(record, attempts)
		record = fmt.Appendf(record, "%016x", nsqdID(1_600_000_000_000_000_000+int64(i), i))
		if err := q.Put(append(record, body(i, 50)...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// nsqdID is an ID as nsqd makes them: of the time, of the node and a sequence.
func nsqdID(ns int64, i int) uint64 {
	const twepoch = 1288834974288
	return uint64((ns>>20-twepoch)<<22 | 1<<12 | int64(i)&0xfff)
}

// nsqdData is a data path of nsqd's: one topic with messages of its own and two
// channels, of which one has many.
func nsqdData(t *testing.T) string {
	dir := t.TempDir()
	meta := `{"topics":[{"name":"orders","paused":false,"channels":[{"name":"ship","paused":false},{"name":"bill","paused":true}]},` +
		`{"name":"lonely","paused":false,"channels":[]},{"name":"quiet","paused":true,"channels":[{"name":"c","paused":false}]}],"version":"1.3.0"}`
	if err := os.WriteFile(filepath.Join(dir, "nsqd.dat"), []byte(meta), 0o600); err != nil {
		t.Fatal(err)
	}
	nsqdQueue(t, dir, "orders:ship", 0, 500, 0)
	nsqdQueue(t, dir, "orders:bill", 400, 500, 2)
	nsqdQueue(t, dir, "orders", 500, 700, 0)
	nsqdQueue(t, dir, "lonely", 0, 30, 0)
	return dir
}

func copied(t *testing.T, template fs.FS) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, template); err != nil {
		t.Fatal(err)
	}
	return dir
}

func checkTaken(t *testing.T, r *running) {
	t.Helper()
	orders := r.topic("orders")
	if got := figures(orders, "ship"); got != "depth 700, in flight 0, deferred 0" {
		t.Errorf("ship: %s", got)
	}
	if got := figures(orders, "bill"); got != "depth 300, in flight 0, deferred 0" {
		t.Errorf("bill: %s", got)
	}
	ship := subscribe(t, orders, "ship", 100)
	inOrder(t, ship.consume(700), 0)
	bill := subscribe(t, orders, "bill", 100)
	if got := bill.poll(); got != nil {
		t.Errorf("a paused channel delivers %v", got)
	}
	if err := orders.UnpauseChannel("bill"); err != nil {
		t.Fatal(err)
	}
	for i, g := range bill.consume(300) {
		attempts := uint16(1)
		if i < 100 {
			attempts = 3
		}
		if g.number != 400+i || g.attempts != attempts {
			t.Fatalf("delivery %d to bill is message %d, attempts %d", i, g.number, g.attempts)
		}
	}
	lonely := r.topic("lonely")
	inOrder(t, subscribe(t, lonely, "late", 100).consume(30), 0)
	if got := figures(r.topic("quiet"), "c"); got != "depth 0, in flight 0, deferred 0" {
		t.Errorf("quiet: %s", got)
	}
}

func TestTakeOver(t *testing.T) {
	dir := nsqdData(t)
	r := start(t, dir, func(s *Settings) { s.Durability = Disk })
	checkTaken(t, r)
	if _, err := os.Stat(filepath.Join(dir, takeover.Folder, "nsqd.dat")); err != nil {
		t.Error(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir, nil)
	if got := figures(r.topic("orders"), "ship"); got != "depth 0, in flight 0, deferred 0" {
		t.Errorf("after another start, ship: %s", got)
	}
}

// mortal is the real file system until it has done so many things.
type mortal struct {
	disk.FS
	left *atomic.Int64
}

var errDied = errors.New("the disk died")

func (m mortal) dies() error {
	if m.left.Add(-1) < 0 {
		return errDied
	}
	return nil
}

func (m mortal) file(f disk.File, err error) (disk.File, error) {
	if err != nil {
		return nil, err
	}
	return mortalFile{f, m}, nil
}

func (m mortal) MkdirAll(dir string) error {
	if err := m.dies(); err != nil {
		return err
	}
	return m.FS.MkdirAll(dir)
}

func (m mortal) Create(path string) (disk.File, error) {
	if err := m.dies(); err != nil {
		return nil, err
	}
	return m.file(m.FS.Create(path))
}

func (m mortal) Open(path string) (disk.File, error) {
	if err := m.dies(); err != nil {
		return nil, err
	}
	return m.file(m.FS.Open(path))
}

func (m mortal) Rename(from, to string) error {
	if err := m.dies(); err != nil {
		return err
	}
	return m.FS.Rename(from, to)
}

func (m mortal) Remove(path string) error {
	if err := m.dies(); err != nil {
		return err
	}
	return m.FS.Remove(path)
}

type mortalFile struct {
	disk.File
	of mortal
}

func (f mortalFile) WriteAt(off int64, buffers ...[]byte) error {
	if err := f.of.dies(); err != nil {
		return err
	}
	return f.File.WriteAt(off, buffers...)
}

// TestTakeOverCutOff dies at each thing that a takeover does on disk, in turn.
// The next start has everything, and nothing twice.
func TestTakeOverCutOff(t *testing.T) {
	t.Parallel() // it mostly waits for the disk
	template := os.DirFS(nsqdData(t))
	for n := int64(0); ; n++ {
		dir := copied(t, template)
		fsys := mortal{disk.OS, new(atomic.Int64)}
		fsys.left.Store(n)
		s := settings(dir)
		s.Durability, s.FS = Disk, fsys
		b, err := Open(s)
		if err == nil {
			if err := b.Close(); err != nil && !errors.Is(err, errDied) {
				t.Fatal(err)
			}
		} else if !errors.Is(err, errDied) {
			t.Fatalf("after %d things: %v", n, err)
		}
		whole := fsys.left.Load() >= 0
		r := start(t, dir, func(s *Settings) { s.Durability = Disk })
		checkTaken(t, r)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("died after %d things", n)
		}
		if whole {
			return
		}
	}
}

// TestTakeOverPowerCut cuts the power at each thing that a takeover does on disk:
// what was not synced is gone. nsqd's own files are on another disk, so that what
// was set aside stays so.
func TestTakeOverPowerCut(t *testing.T) {
	t.Parallel()
	template := os.DirFS(nsqdData(t))
	for n := 0; ; n++ {
		dir := copied(t, template)
		fake := disktest.New()
		format(t, fake, dir)
		fake.FailAlways(n)
		s := settings(dir)
		s.Durability, s.FS = Disk, fake
		b, err := Open(s)
		whole := err == nil
		if whole {
			fake.Heal()
			fake = fake.Crash(disktest.None, nil)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		} else {
			fake = fake.Crash(disktest.None, nil)
		}
		r := start(t, dir, func(s *Settings) { s.Durability, s.FS = Disk, fake })
		checkTaken(t, r)
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("the power was cut after %d things", n)
		}
		if whole {
			return
		}
	}
}
