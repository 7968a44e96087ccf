package acks_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/millrace-mq/millrace/qd/acks"
	"github.com/millrace-mq/millrace/qd/disk"
)

// BenchmarkLoad loads a million entries from a real disk: as Replace leaves
// them, and in no order with as many changes behind.
func BenchmarkLoad(b *testing.B) {
	for _, name := range []string{"snapshot", "in no order"} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "a.acks")
			if err := writeEntries(path, entries, name != "snapshot"); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if s, _, err := acks.Load(disk.OS, path); err != nil || len(s.Entries) != entries {
					b.Fatal(len(s.Entries), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/entries, "ns/entry")
		})
	}
}

const entries = 1_000_000

func writeEntries(path string, n int, mixed bool) error {
	f, _, _, err := acks.Open(disk.OS, path)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(1, 1))
	d := acks.Delta{Reset: true, Changes: make([]acks.Change, n)}
	for i := range d.Changes {
		d.Changes[i] = put(acks.Entry{ID: uint64(i), Place: uint64(i) * 3, Due: 1_790_000_000_000_000_000 + rng.Int64N(1e15), Attempts: 1})
	}
	if !mixed {
		return f.Replace(d)
	}
	shuffle := func() {
		rng.Shuffle(n, func(i, j int) { d.Changes[i], d.Changes[j] = d.Changes[j], d.Changes[i] })
	}
	shuffle()
	if err := f.Replace(d); err != nil {
		return err
	}
	d.Reset = false
	shuffle()
	return f.Append(d, true)
}

// BenchmarkAppend writes small deltas behind each other, none of them synced.
func BenchmarkAppend(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a.acks")
	f, _, _, err := acks.Open(disk.OS, path)
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Replace(acks.Delta{Reset: true}); err != nil {
		b.Fatal(err)
	}
	c := newChannel(1)
	c.step(100)
	d := c.delta()
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Append(d, false); err != nil {
			b.Fatal(err)
		}
	}
}
