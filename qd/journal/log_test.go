package journal_test

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/journal"
)

func TestEmpty(t *testing.T) {
	w := newWorld(t, journal.Options{})
	if _, err := w.log.Read(0, 100, nil); err != io.EOF {
		t.Errorf("read: %v", err)
	}
	if s, e := w.log.Start(), w.log.End(); s != 0 || e != 0 {
		t.Errorf("%d to %d", s, e)
	}
	w.must(w.log.Sync())
	w.must(w.log.RemoveBefore(100))
	if pos, err := w.log.FindTime(1); pos != 0 || err != nil {
		t.Errorf("time: %d, %v", pos, err)
	}
	if _, err := w.disk.List(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
	w.must(w.log.Close())
	if _, err := w.log.Read(0, 100, nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read of a closed log: %v", err)
	}
	if err := w.log.Commit(nil, false); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("commit to a closed log: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, journal.Options{})
	w.must(w.commit(false, 10, 5))
	good := w.record(5, 2, 10)
	for name, change := range map[string]func(r *journal.Record){
		"position below the end": func(r *journal.Record) { r.Position = 4 },
		"no message":             func(r *journal.Record) { r.Count = 0 },
		"negative count":         func(r *journal.Record) { r.Count = -1 },
		"more than fit":          func(r *journal.Record) { r.Count = 100 },
		"too large":              func(r *journal.Record) { r.Frames = slices.Repeat([][]byte{make([]byte, 1<<20)}, 66) },
		"positions run over":     func(r *journal.Record) { r.Position = 1<<64 - 2 },
		"no bytes":               func(r *journal.Record) { r.Frames = nil },
	} {
		bad := good
		change(&bad)
		before := w.disk.Operations()
		if err := w.log.Commit([]journal.Record{bad}, true); err == nil {
			t.Errorf("%s: committed", name)
		}
		if err := w.log.Commit([]journal.Record{good, bad}, true); err == nil {
			t.Errorf("%s, as the second: committed", name)
		}
		if w.disk.Operations() != before {
			t.Errorf("%s: the disk was touched", name)
		}
	}
	w.must(w.commitRecords(false, good))
	w.isExactly("refusals")
}

// TestVersion refuses what another version has written, and names it.
func TestVersion(t *testing.T) {
	for _, c := range []struct {
		name string
		seg  int
		off  int64
		size int
	}{
		{"older segment", 0, 0, journal.SegmentHeaderSize},
		{"last segment", -1, 0, journal.SegmentHeaderSize},
		{"record of the last segment", -1, journal.SegmentHeaderSize, journal.RecordHeaderSize},
		{"record of an older segment", 0, journal.SegmentHeaderSize, journal.RecordHeaderSize},
	} {
		w := small(t)
		paths := segmentPaths(w.disk)
		path := paths[(c.seg+len(paths))%len(paths)]
		b := slices.Clone(w.disk.Bytes(path))
		h := b[c.off : c.off+int64(c.size)]
		h[4] = 9
		journal.Reseal(h)
		w.disk.SetBytes(path, b)
		err := w.tryOpen()
		if err == nil {
			_, err = readFrom(t, w.log, 0, 500)
		}
		if !errors.Is(err, journal.ErrVersion) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "version 9") {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := w.disk.Bytes(path); !slices.Equal(got, b) {
			t.Errorf("%s: the file was changed", c.name)
		}
	}
}

// TestLarge reads a record of 5 MB in pieces, from the begin and from within.
func TestLarge(t *testing.T) {
	w := newWorld(t, journal.Options{SegmentBytes: 1 << 20})
	w.must(w.commit(false, 100, 10))
	w.must(w.commit(false, 3000, 2000))
	w.must(w.commit(false, 3<<20, 1)) // a single message beyond the window
	w.must(w.commit(false, 100, 10))
	for _, limit := range []int{1, 100_000, 64 << 20} {
		if got := w.readAll(limit); !maps.Equal(got, w.acked) {
			t.Errorf("limit %d: %d messages of %d", limit, len(got), len(w.acked))
		}
	}
	for _, pos := range []uint64{3, 10, 1500, 2009, 2010, 2011, 2020} {
		got, err := readFrom(t, w.log, pos, 50_000)
		if err != nil || len(got) != 2021-int(pos) || got[pos] != w.acked[pos] {
			t.Errorf("from %d: %d messages, %v", pos, len(got), err)
		}
	}
	reads := w.disk.Reads()
	if _, err := readFrom(t, w.log, 0, 256<<10); err != nil || w.disk.Reads()-reads > 90 {
		t.Errorf("%d reads for 11 MB in chunks of 256 KiB: the record is checked for every chunk", w.disk.Reads()-reads)
	}
}

// TestHoles leaves out positions.
func TestHoles(t *testing.T) {
	w := newWorld(t, journal.Options{SegmentBytes: 600})
	for _, pos := range []uint64{7, 20, 22, 100, 1 << 40} {
		w.must(w.commitRecords(false, w.record(pos, 2, 100)))
	}
	for range 2 {
		w.isExactly("holes")
		if s, e := w.log.Start(), w.log.End(); s != 7 || e != 1<<40+2 {
			t.Errorf("%d to %d", s, e)
		}
		for pos, want := range map[uint64]uint64{0: 7, 8: 8, 9: 20, 21: 21, 24: 100, 102: 1 << 40} {
			if c, err := w.log.Read(pos, 1, nil); err != nil || c.Position != want {
				t.Errorf("read at %d: %d, %v; want %d", pos, c.Position, err, want)
			}
		}
		w.open()
	}
	if len(w.findings) > 0 {
		t.Errorf("findings: %v", w.findings)
	}
}

func TestGet(t *testing.T) {
	for _, sparse := range []bool{false, true} {
		w := newWorld(t, journal.Options{SegmentBytes: 3000, Sparse: sparse})
		for i := range 40 {
			w.must(w.commit(false, 50, 1+i%7))
			if i == 20 {
				w.must(w.commitRecords(false, w.record(w.log.End()+5, 1, 10)))
			}
		}
		var positions []uint64
		for pos := range w.log.End() + 3 {
			positions = append(positions, pos, pos)
		}
		seeded(1).Shuffle(len(positions), func(i, j int) { positions[i], positions[j] = positions[j], positions[i] })
		seen := 0
		w.must(w.log.Get(positions, func(i int, m journal.Message) error {
			seen++
			want, ok := w.acked[positions[i]]
			if m.Position != positions[i] || ok != (m.Err == nil) || string(m.Frame) != want || !ok && m.Err != journal.ErrGone {
				t.Errorf("position %d: %+v", positions[i], m)
			}
			if id := protocol.FormatID(m.ID); ok && string(id[:]) != want[protocol.IDOffset:protocol.BodyOffset] {
				t.Errorf("position %d: ID %s", positions[i], id)
			}
			return nil
		}))
		if seen != len(positions) {
			t.Errorf("%d of %d", seen, len(positions))
		}
		stop := errors.New("enough")
		if err := w.log.Get(positions, func(int, journal.Message) error { return stop }); err != stop {
			t.Errorf("%v", err)
		}
	}
}

func TestFind(t *testing.T) {
	for _, sparse := range []bool{false, true} {
		w := newWorld(t, journal.Options{SegmentBytes: 100_000, Sparse: sparse})
		type place struct{ pos, id uint64 }
		var places []place
		for i := range 3000 {
			w.nextID += uint64(i % 3) // leaves out some
			places = append(places, place{w.log.End(), w.nextID})
			w.must(w.commit(false, 60, 2))
		}
		for range 2 {
			for i := 0; i < len(places); i += 97 {
				p := places[i]
				if pos, ok, err := w.log.FindID(p.id + 1); pos != p.pos+1 || !ok || err != nil {
					t.Errorf("ID %d: %d, %t, %v; want %d", p.id+1, pos, ok, err, p.pos+1)
				}
				if pos, err := w.log.FindTime(int64(p.id)); pos != p.pos || err != nil {
					t.Errorf("time %d: %d, %v; want %d", p.id, pos, err, p.pos)
				}
				if pos, err := w.log.FindTime(int64(p.id) - 1); pos != p.pos && places[max(i-1, 0)].id+1 < p.id-1 || err != nil {
					t.Errorf("time %d: %d, %v; want %d", p.id-1, pos, err, p.pos)
				}
			}
			for _, id := range []uint64{0, places[0].id - 1, places[len(places)-1].id + 2, 1 << 63} {
				if pos, ok, err := w.log.FindID(id); ok || err != nil {
					t.Errorf("ID %d: found at %d, %v", id, pos, err)
				}
			}
			if pos, err := w.log.FindTime(1 << 62); pos != w.log.End() || err != nil {
				t.Errorf("time to come: %d, %v", pos, err)
			}
			if pos, err := w.log.FindTime(-1); pos != 0 || err != nil {
				t.Errorf("time before all: %d, %v", pos, err)
			}
			w.open()
		}
	}
}

func TestRemove(t *testing.T) {
	w := newWorld(t, journal.Options{SegmentBytes: 2 << 20})
	for range 55 {
		w.must(w.commit(false, 100_000, 1))
	}
	segments := w.log.Segments()
	if len(segments) != 3 || segments[1].First != segments[0].End || w.log.Bytes() != segments[0].Bytes+segments[1].Bytes+segments[2].Bytes {
		t.Fatalf("segments %+v, %d bytes", segments, w.log.Bytes())
	}
	for pos := range uint64(56) {
		want := int64(55-pos) * 100_122
		if n := w.log.BytesFrom(pos); n < want-1000 || n > want+100_000 {
			t.Errorf("bytes from %d: %d, want about %d", pos, n, want)
		}
	}
	w.must(w.removeBefore(segments[1].First + 1))
	if s := w.log.Start(); s != segments[1].First || len(w.log.Segments()) != 2 {
		t.Errorf("start %d, %+v", s, w.log.Segments())
	}
	w.removed = w.log.Start()
	w.holds(w.acked, "first removed")
	w.must(w.removeBefore(55))
	if s, e := w.log.Start(), w.log.End(); s != 55 || e != 55 || w.log.Bytes() > 100 {
		t.Errorf("%d to %d, %d bytes", s, e, w.log.Bytes())
	}
	// The end must outlast even a power cut at once.
	c := w.on(w.disk.Crash(disktest.None, nil))
	if s, e := c.log.Start(), c.log.End(); s != 55 || e != 55 || len(c.findings) > 0 {
		t.Errorf("after a crash: %d to %d, %v", s, e, c.findings)
	}
	w.must(w.commit(false, 10, 1))
	before := w.log.Segments()
	w.must(w.removeBefore(56)) // too small to be worth it
	if after := w.log.Segments(); !slices.Equal(before, after) {
		t.Errorf("%+v, then %+v", before, after)
	}
}

func TestSparse(t *testing.T) {
	w := newWorld(t, journal.Options{SegmentBytes: 900, Sparse: true})
	for i := range 30 {
		w.must(w.commitRecords(false, w.record(w.log.End()+uint64(i%3), 1, 100)))
	}
	for i, s := range w.log.Segments() {
		if i%2 == 0 {
			w.must(w.log.RemoveSegment(s.Number))
			maps.DeleteFunc(w.acked, func(pos uint64, _ string) bool { return s.First <= pos && pos < s.End })
		}
	}
	end := w.log.End()
	for range 2 {
		w.isExactly("sparse")
		w.open()
	}
	for _, s := range w.log.Segments() {
		w.must(w.log.RemoveSegment(s.Number))
		w.must(w.log.RemoveSegment(s.Number))
	}
	w.open()
	if _, err := w.log.Read(0, 1, nil); err != io.EOF || w.log.End() != end || len(w.findings) > 0 {
		t.Errorf("%v, end %d, want %d; findings %v", err, w.log.End(), end, w.findings)
	}
}

// TestFewFiles reads all over a log of many segments.
func TestFewFiles(t *testing.T) {
	w := newWorld(t, journal.Options{SegmentBytes: 500})
	for range 100 {
		w.must(w.commit(false, 100, 2))
		if n := w.disk.Handles(); n > 4 {
			t.Fatalf("%d open files", n)
		}
	}
	w.readAll(300)
	if n := w.disk.Handles(); n > 4 {
		t.Errorf("%d open files", n)
	}
	w.log.Rest()
	if n := w.disk.Handles(); n != 0 {
		t.Errorf("%d open files at rest", n)
	}
	w.must(w.commit(false, 10, 1))
	w.isExactly("rested")
	w.must(w.sync())
	w.must(w.commit(true, 500, 1))
	w.must(w.log.Close())
	w.open()
	// The last header says that the others are on the device.
	if n := w.operations(func() { w.must(w.sync()) }); n > 5 {
		t.Errorf("%d operations for a sync of a log just opened", n)
	}
	w.must(w.log.Close())
	if n := w.disk.Handles(); n != 0 {
		t.Errorf("%d open files when closed", n)
	}
}

// TestFullDisk refuses what has no room, keeps the rest, and goes on when there
// is room again.
func TestFullDisk(t *testing.T) {
	w := newWorld(t, journal.Options{SegmentBytes: 2000})
	w.disk.SetCapacity(20_000)
	refused := 0
	for range 100 {
		err := w.commit(false, 300, 1)
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if err != nil {
			refused++
		}
	}
	w.isExactly("full")
	w.must(w.removeBefore(w.log.End() / 2))
	w.must(w.commit(true, 300, 1))
	w.isExactly("room again")
	w.on(w.disk.Kill()).isExactly("killed")
	if refused < 20 {
		t.Errorf("%d refused", refused)
	}
}
