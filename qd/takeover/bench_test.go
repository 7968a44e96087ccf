package takeover_test

import (
	"bufio"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-mq/millrace/qd/takeover"
)

// BenchmarkRead reads a queue of a million messages of 100 bytes.
func BenchmarkRead(b *testing.B) {
	const n = 1_000_000
	dir := b.TempDir()
	write(b, dir, "nsqd.dat", oneTopic)
	f, err := os.Create(filepath.Join(dir, firstFile))
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range n {
		m := dated(i)
		m.Body = make([]byte, 100)
		text := encode(m)
		_, _ = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)) // Flush tells
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	s := find(b, dir)
	for b.Loop() {
		found, err := s.Read(b.Context(), "t", "", func(takeover.Message) error { return nil })
		if err != nil || found.Messages != n || found.Damaged > 0 {
			b.Fatalf("found %+v, %v", found, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/message")
}
