package acks_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/millrace-mq/millrace/qd/acks"
)

// last is the number of the last delta that ends at or before off.
func last(ends []int64, off int64) int {
	n := 0
	for i, end := range ends {
		if end <= off {
			n = i
		}
	}
	return n
}

// A file cut anywhere holds the deltas before the cut; cut in its snapshot,
// which no crash does, nothing.
func TestEveryLength(t *testing.T) {
	d := newDisk()
	states, ends := history(t, d, 3, 5)
	whole := d.Bytes(path)
	for n := range int64(len(whole)) {
		what := fmt.Sprintf("cut to %d of %v", n, ends)
		d := newDisk()
		d.SetBytes(path, whole[:n])
		i := last(ends, n)
		want := acks.Finding{From: ends[i], Torn: n - ends[i]}
		switch {
		case n == 0:
			want = acks.Finding{Missing: true}
		case i == 0:
			want = acks.Finding{Damaged: 1, Aside: path + ".damaged-1"}
		case want.Torn == 0:
			want = acks.Finding{}
		}
		f, got, finding := open(t, d)
		sameState(t, what, got, states[i])
		sameFinding(t, what, finding, want)
		if f.NeedsSnapshot() != (n == 0) {
			t.Fatalf("%s: NeedsSnapshot is %v", what, f.NeedsSnapshot())
		}
		_, got, finding = open(t, d)
		sameState(t, what+", again", got, states[i])
		sameFinding(t, what+", again", finding, acks.Finding{Missing: n == 0})
	}
}

// A bit is wrong, at any place. What is before it is read and nothing else;
// the file is kept unless it looks like one that a crash has torn.
func TestEveryFlip(t *testing.T) {
	states, ends := history(t, newDisk(), 3, 3)
	for at := range ends[len(ends)-1] {
		for bit := range 8 {
			d := newDisk()
			history(t, d, 3, 3)
			d.Flip(path, at, 1<<bit)
			damaged := d.Bytes(path)
			what := fmt.Sprintf("bit %d of byte %d, deltas end at %v", bit, at, ends)
			i := last(ends, at)
			want := acks.Finding{Damaged: 1, Behind: len(ends) - i - 2, From: ends[i], Aside: path + ".damaged-1"}
			if i == len(ends)-2 {
				want = acks.Finding{From: ends[i], Torn: int64(len(damaged)) - ends[i]}
			}
			operations := d.Operations()
			loaded, found, err := acks.Load(d, path)
			must(t, err)
			if d.Operations() != operations {
				t.Fatalf("%s: Load has changed the disk", what)
			}
			_, got, finding := open(t, d)
			sameState(t, what, got, states[i])
			sameState(t, what+", loaded", loaded, states[i])
			sameFinding(t, what, finding, want)
			found.Aside = want.Aside
			sameFinding(t, what+", loaded", found, want)
			if want.Damaged > 0 && !slices.Equal(d.Bytes(want.Aside), damaged) {
				t.Fatalf("%s: %s is not the damaged file", what, want.Aside)
			}
			_, got, finding = open(t, d)
			sameState(t, what+", again", got, states[i])
			sameFinding(t, what+", again", finding, acks.Finding{})
		}
	}
}

// Two places are damaged; a second damaged file gets a name of its own.
func TestDamagedTwice(t *testing.T) {
	d := newDisk()
	states, ends := history(t, d, 6, 4)
	d.Flip(path, ends[2]+25, 1)
	d.Flip(path, ends[4]+25, 1)
	d.SetBytes(path+".damaged-1", []byte("of another day"))
	d.SetBytes(path+".damaged-3", nil)
	_, got, finding := open(t, d)
	sameState(t, "opened", got, states[2])
	sameFinding(t, "opened", finding, acks.Finding{Damaged: 2, Behind: 3, From: ends[2], Aside: path + ".damaged-2"})
	if got := string(d.Bytes(path + ".damaged-1")); got != "of another day" {
		t.Errorf("the earlier one holds %q", got)
	}
}

// What is no delta of this file is not taken for one.
func TestForeignBytes(t *testing.T) {
	d := newDisk()
	states, ends := history(t, d, 4, 4)
	whole := d.Bytes(path)
	delta := func(i int) []byte { return whole[ends[i-1]:ends[i]] }
	tests := []struct {
		name  string
		bytes []byte
		state int
		want  acks.Finding
	}{
		{"zeroes behind", slices.Concat(whole, make([]byte, 700)), 5, acks.Finding{Torn: 700, From: ends[5]}},
		{"zeroes only", make([]byte, 700), 0, acks.Finding{Damaged: 1}},
		{"one delta missing", slices.Concat(whole[:ends[2]], delta(4), delta(5)), 2, acks.Finding{Damaged: 1, Behind: 1, From: ends[2]}},
		{"a delta twice", slices.Concat(whole, delta(5)), 5, acks.Finding{Torn: int64(len(delta(5))), From: ends[5]}},
		{"deltas in another order", slices.Concat(whole[:ends[2]], delta(4), delta(3)), 2, acks.Finding{Damaged: 1, Behind: 1, From: ends[2]}},
		{"no snapshot", whole[ends[1]:], 0, acks.Finding{Damaged: 1, Behind: 3}},
		{"two snapshots", slices.Concat(whole[:ends[1]], whole), 1, acks.Finding{Damaged: 1, Behind: 4, From: ends[1]}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDisk()
			d.SetBytes(path, tt.bytes)
			got, finding, err := acks.Load(d, path)
			must(t, err)
			sameState(t, "loaded", got, states[tt.state])
			sameFinding(t, "loaded", finding, tt.want)
		})
	}
}

// A delta of several records counts when all are there.
func TestLargeDeltas(t *testing.T) {
	d := newDisk()
	states, ends := history(t, d, 2, 150_000)
	whole := d.Bytes(path)
	if n := ends[3] - ends[2]; n < 2<<20 {
		t.Fatalf("the last delta takes %d bytes, too few for three records", n)
	}
	// A record is a little less than 1 MiB. What is put where:
	type hole struct{ at, n int64 }
	tests := []struct {
		name  string
		holes []hole
		size  int64
		state int
		want  acks.Finding
	}{
		{"cut in the snapshot's second record", nil, ends[1] - 100, 0, acks.Finding{Damaged: 1}},
		{"snapshot and no more, its last record cut, deltas behind", []hole{{ends[1] - 600, 512}}, ends[3], 0, acks.Finding{Damaged: 1, Behind: 2}},
		{"cut in the last delta's last record", nil, ends[3] - 1, 2, acks.Finding{From: ends[2], Torn: ends[3] - 1 - ends[2]}},
		{"cut in its first", nil, ends[2] + 1000, 2, acks.Finding{From: ends[2], Torn: 1000}},
		{"its first lost, the others there", []hole{{ends[2], 512}}, ends[3], 2, acks.Finding{From: ends[2], Torn: ends[3] - ends[2]}},
		{"its second lost", []hole{{ends[2] + 1<<20 + 5000, 512}}, ends[3], 2, acks.Finding{From: ends[2], Torn: ends[3] - ends[2]}},
		{"one before it lost", []hole{{ends[2] - 600, 512}}, ends[3], 1, acks.Finding{From: ends[1], Damaged: 1, Behind: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := slices.Clone(whole[:tt.size])
			for _, h := range tt.holes {
				clear(b[h.at:][:h.n])
			}
			d := newDisk()
			d.SetBytes(path, b)
			got, finding, err := acks.Load(d, path)
			must(t, err)
			sameState(t, "loaded", got, states[tt.state])
			sameFinding(t, "loaded", finding, tt.want)
		})
	}
}
