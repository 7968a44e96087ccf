package journal_test

import (
	"errors"
	"io"
	"path/filepath"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/disk"
	"github.com/millrace-mq/millrace/qd/journal"
)

// batch is a record of n messages of 200 bytes each on the wire.
func batch(n int) journal.Record {
	var b []byte
	for i := range n {
		b = protocol.AppendMessage(b, 1, 1, uint64(i), make([]byte, 200-protocol.MessageOverhead))
	}
	return journal.Record{Kind: journal.Messages, Count: n, Frames: [][]byte{b}}
}

// fill commits records of 40 KB.
func fill(b *testing.B, l *journal.Log, commits int, sync bool, n int) {
	b.Helper()
	records := []journal.Record{batch(n)}
	for range commits {
		records[0].Position, records[0].FirstID = l.End(), l.End()
		if err := l.Commit(records, sync); err != nil {
			b.Fatal(err)
		}
	}
}

func openReal(b *testing.B) *journal.Log {
	b.Helper()
	l, err := journal.Open(disk.OS, filepath.Join(b.TempDir(), "log"), journal.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l
}

func BenchmarkCommit(b *testing.B) {
	for _, c := range []struct {
		name     string
		messages int
		sync     bool
	}{{"40KB", 200, false}, {"1message", 1, false}, {"1message,sync", 1, true}} {
		b.Run(c.name, func(b *testing.B) {
			l := openReal(b)
			b.ReportAllocs()
			b.SetBytes(int64(200 * c.messages))
			b.ResetTimer()
			for n := b.N; n > 0; n -= 5000 {
				fill(b, l, min(n, 5000), c.sync, c.messages)
				b.StopTimer()
				if err := l.RemoveBefore(l.End()); err != nil { // keep the disk from filling up
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	for _, messages := range []int{1, 200} {
		b.Run(map[int]string{1: "1message", 200: "40KB"}[messages], func(b *testing.B) {
			l := openReal(b)
			fill(b, l, 200_000/messages, false, messages)
			buf := make([]byte, 256<<10)
			b.ReportAllocs()
			b.ResetTimer()
			var pos uint64
			for b.Loop() {
				c, err := l.Read(pos, len(buf), buf)
				if errors.Is(err, io.EOF) {
					pos = 0
					continue
				}
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(c.Frames)))
				pos = c.Position + uint64(c.Count)
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	l := openReal(b)
	fill(b, l, 1000, false, 200)
	positions := make([]uint64, 100)
	for i := range positions {
		positions[i] = uint64(i*1987) % 200_000
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Get(positions, func(int, journal.Message) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
