package acks_test

import (
	"fmt"
	"testing"

	"github.com/millrace-mq/millrace/qd/acks"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
)

// story is a channel that writes to a disk that fails, and what must be left.
type story struct {
	*channel
	file    *acks.File
	states  []acks.State // after each step, written or not
	written int          // the last step that was written: what a kill may not lose
	durable int          // the last step that is durable
}

// tell goes through some steps and tries to write each. What could not be
// written goes with the next.
func tell(disk *disktest.Disk, file *acks.File, seed int) *story {
	s := &story{channel: newChannel(seed), file: file, states: []acks.State{{}}}
	for i := range 14 {
		s.step(4)
		s.states = append(s.states, s.current())
		step, sync, err := i+1, s.rng.IntN(2) == 0, error(nil)
		if s.file.NeedsSnapshot() || i%6 == 5 {
			sync, err = true, s.file.Replace(s.snapshot())
		} else {
			err = s.file.Append(s.delta(), sync)
		}
		if err != nil {
			continue
		}
		s.changes = nil
		s.written = step
		if sync {
			s.durable = step
		}
	}
	return s
}

// check loads what is left and expects a state not older than the step least.
func (s *story) check(t *testing.T, what string, left *disktest.Disk, least int) acks.Finding {
	t.Helper()
	file, got, finding, err := acks.Open(left, path)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if got.Cursor < uint64(least) || got.Cursor >= uint64(len(s.states)) {
		t.Fatalf("%s: the state of step %d, want one from %d on (%+v)", what, got.Cursor, least, finding)
	}
	sameState(t, what, got, s.states[got.Cursor])
	if finding.Missing != (got.Cursor == 0) {
		t.Fatalf("%s: step %d, found %+v", what, got.Cursor, finding)
	}
	// And so it goes on.
	c := newChannel(1)
	if file.NeedsSnapshot() {
		must(t, file.Replace(snapshot(got)))
	}
	must(t, file.Append(acks.Delta{Cursor: 1000, Changes: []acks.Change{drop(1)}}, true))
	c.state = acks.State{Cursor: 1000, Entries: got.Entries}
	again := left.Crash(disktest.None, nil)
	_, got, second := open(t, again)
	sameState(t, what+", continued", got, c.state)
	sameFinding(t, what+", continued", second, acks.Finding{})
	return finding
}

// TestEveryFault lets each operation fail, alone or with all after it, and
// then ends the process in every way. Nothing that was said to be written is
// lost, no state is made up, and the disk's handles are all closed.
func TestEveryFault(t *testing.T) {
	for _, dies := range []bool{false, true} {
		for _, seed := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("disk dies %v, seed %d", dies, seed), func(t *testing.T) {
				for n, met := 0, true; met; n++ {
					met = testFault(t, n, seed, dies)
				}
			})
		}
	}
}

func testFault(t *testing.T, n, seed int, dies bool) (met bool) {
	d := newDisk()
	file, _, _ := open(t, d)
	d.Tear(seeded(n))
	if dies {
		d.FailAlways(n)
	} else {
		d.FailAt(n, nil)
	}
	s := tell(d, file, seed)
	if d.Handles() != 0 {
		t.Fatalf("fault %d: %d files are open", n, d.Handles())
	}
	what := func(end string) string { return fmt.Sprintf("fault %d, %s", n, end) }
	finding := s.check(t, what("killed"), d.Kill(), s.written)
	if finding.Damaged > 0 || finding.Torn > 0 && !dies {
		t.Fatalf("%s: found %+v", what("killed"), finding)
	}
	for _, mode := range []disktest.Mode{disktest.None, disktest.All} {
		finding := s.check(t, what("power cut, "+mode.String()), d.Crash(mode, nil), s.durable)
		if finding.Damaged > 0 {
			t.Fatalf("%s: found %+v", what(mode.String()), finding)
		}
	}
	for i := range 10 {
		s.check(t, what(fmt.Sprintf("power cut, some, seed %d", i)), d.Crash(disktest.Some, seeded(i)), s.durable)
	}
	return d.Failed()
}

// TestFaultsOfOpen lets each operation fail while a file is opened that is
// whole, torn or damaged. The error is said or nothing is amiss, and the bytes
// of a damaged file are never gone.
func TestFaultsOfOpen(t *testing.T) {
	for _, kind := range []string{"whole", "torn", "damaged"} {
		for _, reads := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reads %v", kind, reads), func(t *testing.T) {
				for n, met := 0, true; met; n++ {
					met = testFaultOfOpen(t, kind, n, reads)
				}
			})
		}
	}
}

func testFaultOfOpen(t *testing.T, kind string, n int, reads bool) (met bool) {
	d := newDisk()
	states, ends := history(t, d, 3, 5)
	want := states[4]
	switch kind {
	case "torn":
		d.SetBytes(path, d.Bytes(path)[:ends[4]-1])
		want = states[3]
	case "damaged":
		d.Flip(path, ends[2]+30, 1)
		want = states[2]
	}
	before := string(d.Bytes(path))
	if reads {
		d.FailReadAt(n, nil)
	} else {
		d.FailAt(n, nil)
	}
	file, got, _, err := acks.Open(d, path)
	if d.Handles() != 0 {
		t.Fatalf("fault %d: %d files are open", n, d.Handles())
	}
	met = d.Failed()
	if err != nil && !met {
		t.Fatal(err)
	}
	if err == nil {
		sameState(t, fmt.Sprintf("fault %d", n), got, want)
		if file.NeedsSnapshot() && !met {
			t.Fatal("a snapshot is needed")
		}
	}
	d.Heal()
	after := map[string]*disktest.Disk{"killed": d.Kill(), "power cut": d.Crash(disktest.None, nil)}
	for i := range 10 {
		after[fmt.Sprintf("power cut, some, seed %d", i)] = d.Crash(disktest.Some, seeded(i))
	}
	for end, left := range after {
		kept := false
		for _, p := range left.Paths() {
			kept = kept || string(left.Bytes(p)) == before
		}
		if kind == "damaged" && !kept {
			t.Fatalf("fault %d, %s: the damaged bytes are gone", n, end)
		}
		_, got, _ := open(t, left)
		sameState(t, fmt.Sprintf("fault %d, %s", n, end), got, want)
	}
	return met
}
