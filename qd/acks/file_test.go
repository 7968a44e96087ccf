package acks_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace-mq/millrace/qd/acks"
	"github.com/millrace-mq/millrace/qd/disk"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

// What was written is read again, extremes too, on a real disk.
func TestRoundTrip(t *testing.T) {
	const big = math.MaxUint64
	extremes := []acks.Entry{
		{},
		{ID: 1, Place: big, Due: math.MaxInt64, Attempts: math.MaxUint16, State: acks.Dead, Reason: 255},
		{ID: 1 << 63, Due: math.MinInt64},
		{ID: big, Place: 1, Due: -1},
	}
	tests := []struct {
		name   string
		deltas []acks.Delta
		want   acks.State
	}{
		{"empty", []acks.Delta{{Reset: true}}, acks.State{}},
		{
			"extremes", []acks.Delta{snapshot(acks.State{Cursor: big, Deferred: big, Open: []acks.Range{{0, 1}, {1, 7}, {8, big}}, Entries: extremes})},
			acks.State{Cursor: big, Deferred: big, Open: []acks.Range{{0, 1}, {1, 7}, {8, big}}, Entries: extremes},
		},
		{"a snapshot in no order, with drops", []acks.Delta{
			{Reset: true, Changes: []acks.Change{put(acks.Entry{ID: 9}), put(acks.Entry{ID: 3}), put(acks.Entry{ID: 9, Attempts: 2}), drop(3), drop(4)}},
		}, acks.State{Entries: []acks.Entry{{ID: 9, Attempts: 2}}}},
		{"deltas", []acks.Delta{
			{Reset: true, Cursor: 5, Deferred: 6, Open: []acks.Range{{1, 2}}, Changes: []acks.Change{put(acks.Entry{ID: 1}), put(acks.Entry{ID: 2}), put(acks.Entry{ID: 3})}},
			{Cursor: 7, Deferred: 6, Open: []acks.Range{{3, 4}}, Changes: []acks.Change{drop(2), put(acks.Entry{ID: 3, Place: 30}), put(acks.Entry{ID: 4})}},
			{Cursor: 6, Deferred: 8, Changes: []acks.Change{drop(4), put(acks.Entry{ID: 2, Place: 20}), drop(1), drop(1)}},
		}, acks.State{Cursor: 6, Deferred: 8, Entries: []acks.Entry{{ID: 2, Place: 20}, {ID: 3, Place: 30}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := t.TempDir() + "/a.acks"
			f, _, finding, err := acks.Open(disk.OS, path)
			must(t, err)
			sameFinding(t, "before", finding, acks.Finding{Missing: true})
			must(t, f.Replace(tt.deltas[0]))
			for i, d := range tt.deltas[1:] {
				must(t, f.Append(d, i%2 == 0))
			}
			got, finding, err := acks.Load(disk.OS, path)
			must(t, err)
			sameState(t, "loaded", got, tt.want)
			sameFinding(t, "loaded", finding, acks.Finding{})
		})
	}
}

// Many entries, changed and dropped many times: several records a delta, in
// no order of IDs.
func TestManyEntries(t *testing.T) {
	d := newDisk()
	f, _, _ := open(t, d)
	c := newChannel(3)
	c.step(80_000)
	must(t, f.Replace(c.snapshot()))
	for range 4 {
		c.changes = nil
		c.step(80_000)
		must(t, f.Append(c.delta(), false))
	}
	_, got, finding := open(t, d)
	sameState(t, "many", got, c.current())
	sameFinding(t, "many", finding, acks.Finding{})
	if f.NeedsSnapshot() {
		must(t, f.Replace(c.snapshot()))
	} else {
		t.Error("no snapshot is needed after deltas of more than twice its size")
	}
	if f.NeedsSnapshot() {
		t.Error("a snapshot is needed behind a snapshot")
	}
	if _, again, _ := open(t, d); !equal(again, got) {
		t.Error("the snapshot is not what the deltas came to")
	}
}

// More ranges than a record holds.
func TestManyRanges(t *testing.T) {
	d := newDisk()
	f, _, _ := open(t, d)
	want := acks.State{Cursor: 1 << 40, Entries: []acks.Entry{{ID: 1}}}
	for i := range uint64(100_000) {
		want.Open = append(want.Open, acks.Range{From: i * 3, To: i*3 + 1 + i%3})
	}
	must(t, f.Replace(acks.Delta{Reset: true}))
	delta := snapshot(want)
	delta.Reset = false
	must(t, f.Append(delta, false))
	_, got, finding := open(t, d)
	sameState(t, "many", got, want)
	sameFinding(t, "many", finding, acks.Finding{})
}

// A small file is given 1 MiB of deltas, however small its snapshot is.
func TestNeedsSnapshot(t *testing.T) {
	d := newDisk()
	f, _, _ := open(t, d)
	if !f.NeedsSnapshot() {
		t.Error("no snapshot is needed where there is no file")
	}
	if err := f.Append(acks.Delta{}, false); !errors.Is(err, acks.ErrNeedsSnapshot) {
		t.Errorf("append without a file: %v", err)
	}
	must(t, f.Replace(acks.Delta{Reset: true}))
	start := len(d.Bytes(path))
	c := newChannel(1)
	for !f.NeedsSnapshot() {
		if n := len(d.Bytes(path)) - start; n > 1<<20 {
			t.Fatalf("no snapshot is needed after %d bytes of deltas", n)
		}
		c.changes = nil
		c.step(5000)
		must(t, f.Append(c.delta(), false))
	}
	if n := len(d.Bytes(path)) - start; n <= 1<<20 {
		t.Errorf("a snapshot is needed after %d bytes of deltas", n)
	}
	must(t, f.Append(acks.Delta{Cursor: 1}, false)) // needed, but not so badly
	if reopened, _, _ := open(t, d); !reopened.NeedsSnapshot() {
		t.Error("opened again no snapshot is needed")
	}
}

// After a write that failed the file is as before; after a failed sync nothing
// is appended.
func TestFailedAppend(t *testing.T) {
	tests := []struct {
		name   string
		faults func(d *disktest.Disk)
		broken bool
	}{
		{"write", func(d *disktest.Disk) { d.FailAt(0, nil) }, false},
		{"no room", func(d *disktest.Disk) { d.SetCapacity(int64(len(d.Bytes(path))) + 10) }, false},
		{"write and truncate", func(d *disktest.Disk) { d.FailAlways(0) }, true},
		{"sync", func(d *disktest.Disk) { d.FailAt(1, nil) }, true},
		{"open", func(d *disktest.Disk) { d.FailReadAt(0, syscall.EMFILE) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDisk()
			f, _, _ := open(t, d)
			must(t, f.Replace(acks.Delta{Reset: true, Cursor: 1}))
			before := d.Bytes(path)
			d.Tear(seeded(4)) // of the first write more than nothing
			tt.faults(d)
			delta := acks.Delta{Cursor: 2, Changes: []acks.Change{put(acks.Entry{ID: 5, Due: 1 << 40}), drop(6)}}
			if err := f.Append(delta, true); err == nil || !strings.Contains(err.Error(), path) {
				t.Fatalf("error %v, want one that names the file", err)
			}
			if f.NeedsSnapshot() != tt.broken {
				t.Fatalf("NeedsSnapshot is %v", !tt.broken)
			}
			if same := slices.Equal(d.Bytes(path), before); same == tt.broken {
				t.Errorf("the file is as before: %v", same)
			}
			d.Heal()
			d.SetCapacity(1 << 20)
			if err := f.Append(delta, true); (err != nil) != tt.broken || tt.broken && !errors.Is(err, acks.ErrNeedsSnapshot) {
				t.Errorf("the next append: %v", err)
			}
			must(t, f.Replace(acks.Delta{Reset: true, Cursor: 3}))
			must(t, f.Append(acks.Delta{Cursor: 4}, true))
			_, s, _ := open(t, d.Crash(disktest.None, nil))
			sameState(t, "at the end", s, acks.State{Cursor: 4})
		})
	}
}

// What could not be read again is not written.
func TestMisuse(t *testing.T) {
	d := newDisk()
	f, _, _ := open(t, d)
	must(t, f.Replace(acks.Delta{Reset: true, Cursor: 1}))
	before, operations := d.Bytes(path), d.Operations()
	tests := []struct {
		name string
		err  error
	}{
		{"append a snapshot", f.Append(acks.Delta{Reset: true}, true)},
		{"replace by a delta", f.Replace(acks.Delta{})},
		{"an empty range", f.Append(acks.Delta{Open: []acks.Range{{2, 2}}}, true)},
		{"a range turned round", f.Append(acks.Delta{Open: []acks.Range{{3, 2}}}, true)},
		{"ranges in no order", f.Append(acks.Delta{Open: []acks.Range{{5, 7}, {1, 2}}}, true)},
		{"ranges that overlap", f.Replace(acks.Delta{Reset: true, Open: []acks.Range{{5, 7}, {6, 9}}})},
		{"an unknown state", f.Append(acks.Delta{Changes: []acks.Change{put(acks.Entry{State: 2})}}, true)},
	}
	for _, tt := range tests {
		if tt.err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
	if !slices.Equal(d.Bytes(path), before) || d.Operations() != operations {
		t.Error("the disk was touched")
	}
}

// On a full disk nothing is left behind that takes room, and nothing is lost.
func TestNoRoom(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		d := newDisk()
		f, _, _ := open(t, d)
		c := newChannel(1)
		c.step(100)
		must(t, f.Replace(c.snapshot()))
		must(t, f.Append(acks.Delta{Cursor: 9}, true))
		want := acks.State{Cursor: 9, Entries: c.current().Entries}
		var err error
		if damaged {
			d.Flip(path, 30, 1)
			want = acks.State{}
		}
		paths, before := d.Paths(), d.Bytes(path)
		d.SetCapacity(int64(len(before)) + 50)
		if damaged {
			_, _, _, err = acks.Open(d, path)
		} else {
			err = f.Replace(c.snapshot())
		}
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
			t.Errorf("damaged %v: %v, want ENOSPC and the path", damaged, err)
		}
		if !slices.Equal(d.Paths(), paths) || !slices.Equal(d.Bytes(path), before) {
			t.Errorf("damaged %v: files %q, were %q", damaged, d.Paths(), paths)
		}
		if !damaged { // the old file is as good as before
			must(t, f.Append(acks.Delta{Cursor: 10}, true))
			want.Cursor = 10
		}
		d.SetCapacity(1 << 20)
		_, s, _ := open(t, d)
		sameState(t, "with room", s, want)
	}
}
