package archive_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/record"
	"github.com/millrace-mq/millrace/apps/to_file/archive"
)

// BenchmarkAppend appends lines of 100 bytes, as logs have them, and syncs as
// often as a busy stream does. Its figures are for one processor.
func BenchmarkAppend(b *testing.B) {
	lines := make([]record.Record, 4096)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range lines {
		body := fmt.Sprintf(`%d.%06d 10.0.%d.%d GET /v1/orders/%08x status=%d took=%dus agent="client/1.%d" `,
			1780000000+i/50, r.IntN(1e6), r.IntN(4), r.IntN(256), r.Uint32(), 200+r.IntN(3)*102, r.IntN(90000), r.IntN(9))
		for len(body) < 99 {
			body += "x"
		}
		lines[i] = record.Record{Topic: "orders", Timestamp: time.Unix(1780000000, 0), Attempts: 1, Body: []byte(body[:99])}
		copy(lines[i].ID[:], fmt.Sprintf("%016x", i))
	}
	for _, c := range []struct {
		f     record.Format
		c     archive.Compression
		level int
		side  bool
	}{
		{record.Raw, archive.None, 0, false}, {record.JSON, archive.None, 0, false}, {record.Length, archive.None, 0, false},
		{record.Raw, archive.None, 0, true},
		{record.Raw, archive.Gzip, 1, false}, {record.Raw, archive.Gzip, 3, false}, {record.Raw, archive.Gzip, 5, false},
		{record.Raw, archive.Gzip, 6, false}, {record.Raw, archive.Gzip, 9, false},
		{record.Raw, archive.Zstd, 1, false}, {record.Raw, archive.Zstd, 3, false}, {record.Raw, archive.Zstd, 10, false},
	} {
		b.Run(fmt.Sprintf("%s,%s-%d,sidecar=%t", c.f, c.c, c.level, c.side), func(b *testing.B) {
			name, err := archive.Pattern{Format: "x<REV>", Revision: true}.Name()
			if err != nil {
				b.Fatal(err)
			}
			a, err := archive.New(archive.Config{
				Name: name, OutputDir: b.TempDir(), Format: c.f, Compression: c.c, Level: c.level, Sidecar: c.side,
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(100)
			for i := range b.N {
				if err := a.Append(noon, lines[i%len(lines)]); err != nil {
					b.Fatal(err)
				}
				if i%50_000 == 49_999 {
					if err := a.Sync(); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := a.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1000, "klines/s")
		})
	}
}
