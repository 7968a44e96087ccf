package journal_test

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/journal"
)

// extent is where a record lies.
type extent struct {
	path       string
	off, end   int64
	from, to   uint64
	lastOfFile bool
}

// segments lists the paths of a log's files.
func segmentPaths(d *disktest.Disk) []string {
	return slices.DeleteFunc(d.Paths(), func(p string) bool { return filepath.Dir(p) != dir || !strings.HasSuffix(p, ".log") })
}

// extents finds the records by their lengths; nothing is damaged yet.
func (w *world) extents() (list []extent) {
	w.t.Helper()
	paths, i, off := segmentPaths(w.disk), 0, int64(journal.SegmentHeaderSize)
	w.must(w.log.Scan(0, func(h journal.Header, frames []byte) error {
		if off == int64(len(w.disk.Bytes(paths[i]))) {
			list[len(list)-1].lastOfFile = true
			i, off = i+1, journal.SegmentHeaderSize
		}
		e := extent{path: paths[i], off: off, end: off + journal.RecordHeaderSize + int64(h.Length), from: h.Position, to: h.End()}
		off = e.end
		list = append(list, e)
		return nil
	}))
	list[len(list)-1].lastOfFile = true
	return list
}

// small is a log of small records in several segments, on a disk at rest.
func small(t *testing.T) *world {
	w := newWorld(t, journal.Options{SegmentBytes: 700})
	for i := range 16 {
		w.must(w.commit(false, 10, 1+i%3))
	}
	w.must(w.log.Close())
	w.open()
	return w
}

// loses checks that all messages are there but those.
func (w *world) loses(what string, gone ...extent) {
	w.t.Helper()
	got := w.readAll(4000)
	for pos, frame := range w.acked {
		lost := slices.ContainsFunc(gone, func(e extent) bool { return e.from <= pos && pos < e.to })
		if f, ok := got[pos]; ok == lost || ok && f != frame {
			w.t.Fatalf("%s: position %d: there: %t, to be lost: %t; findings %v", what, pos, ok, lost, w.findings)
		}
	}
	if len(got) > len(w.acked) {
		w.t.Fatalf("%s: %d messages of %d", what, len(got), len(w.acked))
	}
}

// TestFlips flips each byte of a log of small records, one at a time. Only the
// record it is part of may be missing.
func TestFlips(t *testing.T) {
	w := small(t)
	records := w.extents()
	paths := segmentPaths(w.disk)
	rng := seeded(1)
	if len(paths) < 4 {
		t.Fatalf("only %d segments", len(paths))
	}
	for _, path := range paths {
		for off := range int64(len(w.disk.Bytes(path))) {
			w.flip(path, off, byte(1+rng.IntN(255)), records)
		}
	}
}

// flip checks what becomes of the log with a byte flipped.
func (w *world) flip(path string, off int64, mask byte, records []extent) {
	w.t.Helper()
	c := *w
	c.disk = w.disk.Kill()
	c.disk.Flip(path, off, mask)
	c.open()
	what := fmt.Sprintf("byte %d of %s flipped by %#x", off, path, mask)
	if i := slices.IndexFunc(records, func(e extent) bool { return e.path == path && e.off <= off && off < e.end }); i < 0 {
		c.loses(what)
	} else {
		c.loses(what, records[i])
		c.savedAll(what, records[i])
	}
	if len(c.findings) != 1 {
		w.t.Fatalf("%s: findings: %v", what, c.findings)
	}
	if off%10 > 0 {
		return
	}
	if c.readAll(500); len(c.findings) != 1 {
		w.t.Fatalf("%s: reported again: %v", what, c.findings)
	}
	c.agree(what)
}

// agree checks that Get and Scan have what Read has.
func (w *world) agree(what string) {
	w.t.Helper()
	want, scanned := w.readAll(500), map[uint64]string{}
	w.must(w.log.Scan(0, func(h journal.Header, frames []byte) error {
		for i, f := range split(w.t, frames) {
			scanned[h.Position+uint64(i)] = f
		}
		return nil
	}))
	if !maps.Equal(want, scanned) {
		w.t.Fatalf("%s: %d messages read, %d scanned", what, len(want), len(scanned))
	}
	var positions []uint64
	for pos := range w.log.End() {
		positions = append(positions, pos)
	}
	// From a log just opened, so that no damage is known.
	w.open()
	w.must(w.log.Get(positions, func(i int, m journal.Message) error {
		if frame, ok := want[m.Position]; ok != (m.Err == nil) || string(m.Frame) != frame {
			w.t.Fatalf("%s: position %d: %+v", what, m.Position, m)
		}
		return nil
	}))
}

// savedAll checks that the damaged record's bytes were set aside.
func (w *world) savedAll(what string, e extent) {
	w.t.Helper()
	for _, f := range w.findings {
		if f.Saved == "" || f.Offset != e.off || f.Length != e.end-e.off || f.Err != nil {
			w.t.Fatalf("%s: %+v", what, f)
		}
		if f.Damage == journal.Corrupt && (f.From != e.from || f.To != e.to) {
			w.t.Fatalf("%s: %+v, want messages %d to %d", what, f, e.from, e.to)
		}
		b := w.disk.Bytes(f.Saved)
		if f.Damage == journal.Corrupt && string(b) != string(w.disk.Bytes(e.path)[e.off:e.end]) || int64(len(b)) != f.Length {
			w.t.Fatalf("%s: other bytes in %s", what, f.Saved)
		}
	}
}

// TestDamage does more than flip one byte.
func TestDamage(t *testing.T) {
	kinds := func(kinds ...journal.Damage) []journal.Damage { return kinds }
	for _, c := range []struct {
		name   string
		damage func(d *disktest.Disk, paths []string, r []extent)
		lost   []int // records
		want   []journal.Damage
	}{
		{"two records side by side", func(d *disktest.Disk, _ []string, r []extent) {
			d.Flip(r[4].path, r[4].off, 1) // magic
			d.Flip(r[5].path, r[5].off+20, 1)
		}, []int{4, 5}, kinds(journal.Corrupt)},
		{"two records apart", func(d *disktest.Disk, _ []string, r []extent) {
			d.Flip(r[0].path, r[0].end-1, 0x80)
			d.Flip(r[2].path, r[2].off+8, 4) // length
		}, []int{0, 2}, kinds(journal.Corrupt, journal.Corrupt)},
		{"a body, then a header", func(d *disktest.Disk, _ []string, r []extent) {
			d.Flip(r[0].path, r[0].end-1, 0x80)
			d.Flip(r[1].path, r[1].off+9, 4)
		}, []int{0, 1}, kinds(journal.Corrupt, journal.Corrupt)},
		{"all zero in the middle", func(d *disktest.Disk, _ []string, r []extent) {
			b := d.Bytes(r[1].path)
			clear(b[r[1].off:r[2].end])
			d.SetBytes(r[1].path, b)
		}, []int{1, 2}, kinds(journal.Corrupt)},
		{"last of an older segment cut short", func(d *disktest.Disk, _ []string, r []extent) {
			i := slices.IndexFunc(r, func(e extent) bool { return e.lastOfFile })
			d.SetBytes(r[i].path, d.Bytes(r[i].path)[:r[i].end-1])
		}, []int{-1}, kinds(journal.Corrupt)},
		{"last of an older segment cut off", func(d *disktest.Disk, _ []string, r []extent) {
			i := slices.IndexFunc(r, func(e extent) bool { return e.lastOfFile })
			d.SetBytes(r[i].path, d.Bytes(r[i].path)[:r[i].off])
		}, []int{-1}, kinds(journal.Missing)},
		{"a segment is missing", func(d *disktest.Disk, paths []string, r []extent) {
			_ = d.Remove(paths[1])
		}, []int{-2}, kinds(journal.Missing)},
		{"a segment is empty", func(d *disktest.Disk, paths []string, r []extent) {
			d.SetBytes(paths[1], nil)
		}, []int{-2}, kinds(journal.NoSegment, journal.Missing)},
		{"a segment is too short for a header", func(d *disktest.Disk, paths []string, r []extent) {
			d.SetBytes(paths[1], d.Bytes(paths[1])[:journal.SegmentHeaderSize-1])
		}, []int{-2}, kinds(journal.NoSegment, journal.Missing)},
		{"a segment is all zero", func(d *disktest.Disk, paths []string, r []extent) {
			d.SetBytes(paths[1], make([]byte, 500))
		}, []int{-2}, kinds(journal.NoSegment, journal.Missing)},
		{"an older segment is a header", func(d *disktest.Disk, paths []string, r []extent) {
			d.SetBytes(paths[1], d.Bytes(paths[1])[:journal.SegmentHeaderSize])
		}, []int{-2}, kinds(journal.Missing)},
		{"header and first record", func(d *disktest.Disk, paths []string, r []extent) {
			d.Flip(paths[0], 0, 1)
			d.Flip(paths[0], r[0].off, 1)
		}, []int{0}, kinds(journal.BadHeader, journal.Corrupt)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := small(t)
			r := w.extents()
			paths := segmentPaths(w.disk)
			c.damage(w.disk, paths, r)
			w.open()
			var lost []extent
			for _, i := range c.lost {
				switch i {
				case -1:
					lost = append(lost, r[slices.IndexFunc(r, func(e extent) bool { return e.lastOfFile })])
				case -2:
					lost = slices.DeleteFunc(slices.Clone(r), func(e extent) bool { return e.path != paths[1] })
				default:
					lost = append(lost, r[i])
				}
			}
			w.loses(c.name, lost...)
			var got []journal.Damage
			for _, f := range w.findings {
				got = append(got, f.Damage)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("findings %v, want %v", w.findings, c.want)
			}
			var n uint64
			for _, e := range lost {
				n += e.to - e.from
			}
			if s := w.log.Stats(); s.Lost != n || s.Damaged != uint64(len(c.want)) {
				t.Errorf("%+v, want %d lost", s, n)
			}
			w.must(w.commit(true, 20, 2))
			w.loses("one more", lost...)
		})
	}
}

// TestEmbedded keeps what looks like a record, but is part of a message, from
// being taken for one when the header before it is damaged.
func TestEmbedded(t *testing.T) {
	w := newWorld(t, journal.Options{})
	w.must(w.commit(true, 10, 1, 1))
	other := newWorld(t, journal.Options{})
	for range 9 {
		w := other
		w.must(w.commit(true, 10, 1))
	}
	stolen := other.disk.Bytes(segmentPaths(other.disk)[0])[journal.SegmentHeaderSize:]
	frame := protocol.AppendMessage(nil, 1, 1, w.nextID, stolen)
	w.attempted[2] = map[string]bool{string(frame): true}
	w.must(w.commitRecords(true, journal.Record{Kind: journal.Messages, Position: 2, FirstID: w.nextID, Count: 1, Frames: [][]byte{frame}}))
	w.nextID++
	w.must(w.commit(true, 10, 1))
	r := w.extents()
	w.disk.Flip(r[2].path, r[2].off+8, 1)
	w.open()
	w.loses("embedded", r[2])
}

// TestReadError passes over nothing that the disk fails to read.
func TestReadError(t *testing.T) {
	w := small(t)
	for n := 0; ; n++ {
		d := w.disk.Kill()
		d.FailReadAt(n, syscall.EIO)
		c := *w
		c.disk = d
		err := c.tryOpen()
		if err == nil {
			_, err = readFrom(t, c.log, 0, 400)
		}
		if !d.Failed() {
			break
		}
		// A fault while reading ahead is met again, or not, by the next read.
		if err != nil && !errors.Is(err, syscall.EIO) {
			t.Fatalf("fault at read %d: %v", n, err)
		}
		if c.log == nil {
			c.open()
		}
		c.loses(fmt.Sprintf("fault at read %d", n))
		if len(c.findings) > 0 || !slices.Equal(d.Paths(), w.disk.Paths()) {
			t.Fatalf("fault at read %d: findings %v, files %v", n, c.findings, d.Paths())
		}
	}
}

// TestCopyWhileRunning opens a copy whose files were taken at different moments.
func TestCopyWhileRunning(t *testing.T) {
	w := newWorld(t, journal.Options{SegmentBytes: 900})
	var moments []map[string][]byte
	for range 20 {
		w.must(w.commit(false, 10, 2))
		files := map[string][]byte{}
		for _, p := range segmentPaths(w.disk) {
			files[p] = slices.Clone(w.disk.Bytes(p))
		}
		moments = append(moments, files)
	}
	for seed := range 200 {
		rng := seeded(seed)
		d := disktest.New()
		_ = d.MkdirAll(dir)
		for _, p := range segmentPaths(w.disk) {
			// Each file as it was at some moment, perhaps in the middle of a write.
			if b := moments[rng.IntN(len(moments))][p]; b != nil {
				d.SetBytes(p, b[:len(b)-rng.IntN(2)*rng.IntN(len(b))])
			}
		}
		c := w.on(d)
		c.holds(nil, fmt.Sprintf("copy %d", seed))
		if err := c.commit(true, 10, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAcross has a record in an older segment that reaches into the next one, as
// a crash leaves it that brings back what a failed commit had written: none of
// it is to be seen, and all of the next segment is.
func TestAcross(t *testing.T) {
	w := newWorld(t, journal.Options{})
	w.must(w.commit(true, 10, 2))
	next := newWorld(t, journal.Options{})
	next.must(next.commitRecords(true, next.record(4, 1, 10), next.record(5, 5, 10)))
	want := maps.Clone(w.acked)
	maps.Copy(want, next.acked)
	w.must(w.commit(true, 10, 6))
	w.disk.SetBytes(dir+"/00000002-0000000000000004.log", next.disk.Bytes(segmentPaths(next.disk)[0]))
	w.open()
	if got := w.readAll(1000); !maps.Equal(got, want) {
		t.Errorf("%d messages, want %d: %v", len(got), len(want), w.findings)
	}
	if s := w.log.Stats(); s.Lost != 2 {
		t.Errorf("%+v", s)
	}
}
