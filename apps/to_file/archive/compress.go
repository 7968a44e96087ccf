package archive

import (
	"bufio"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how files are compressed.
type Compression int

// The compressions. A compressed file is a row of gzip members or zstd frames,
// one for each Sync: each can be read alone, and all after one another are a
// file that gzip or zstd reads.
const (
	None Compression = iota
	Gzip
	Zstd
)

var compressionNames = [...]string{None: "none", Gzip: "gzip", Zstd: "zstd"}

// String is none, gzip or zstd.
func (c Compression) String() string {
	if c < 0 || int(c) >= len(compressionNames) {
		return fmt.Sprintf("Compression(%d)", int(c))
	}
	return compressionNames[c]
}

func parseCompression(name string) (Compression, error) {
	for c, n := range compressionNames {
		if n == name {
			return Compression(c), nil
		}
	}
	return 0, fmt.Errorf("compression %q: must be none, gzip or zstd", name)
}

// Suffix is what names of such files end with: "", .gz or .zst.
func (c Compression) Suffix() string {
	switch c {
	case Gzip:
		return ".gz"
	case Zstd:
		return ".zst"
	}
	return ""
}

const maxLevel = 22

// checkLevel refuses what a compressor does not know.
func (c Compression) checkLevel(level int) error {
	highest := map[Compression]int{Gzip: gzip.BestCompression, Zstd: maxLevel}[c]
	if c != None && (level < 1 || level > highest) {
		return fmt.Errorf("%s-level %d: must be 1 to %d", c, level, highest)
	}
	return nil
}

// zstdWindow is how far back a frame refers, and what its reader needs in
// memory; lines repeat themselves much closer together.
const zstdWindow = 1 << 20

// compressor makes one member. It holds a few hundred KiB to several MiB, and
// is lent to a file while that writes a member, so that a thousand quiet
// topics have none.
type compressor struct {
	out *bufio.Writer // the compressor writes a few hundred bytes at a time
	in  interface {
		io.WriteCloser
		Reset(io.Writer)
	}
}

var compressors [len(compressionNames)][maxLevel + 1]sync.Pool

// member begins a member in f.
func (c Compression) member(level int, f io.Writer) *compressor {
	m, _ := compressors[c][level].Get().(*compressor)
	if m == nil {
		m = &compressor{out: bufio.NewWriterSize(nil, flushSize/4)}
		// Both fail for wrong levels and options only.
		if c == Gzip {
			m.in, _ = gzip.NewWriterLevel(nil, level)
		} else {
			m.in, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
				zstd.WithWindowSize(zstdWindow), zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
		}
	}
	m.out.Reset(f)
	m.in.Reset(m.out)
	return m
}

// end writes what is left of the member.
func (m *compressor) end() error {
	if err := m.in.Close(); err != nil {
		return err
	}
	return m.out.Flush()
}

// giveBack lends m to the next member, whatever became of this one.
func (c Compression) giveBack(level int, m *compressor) {
	m.out.Reset(nil)
	m.in.Reset(nil)
	compressors[c][level].Put(m)
}
