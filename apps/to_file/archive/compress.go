package archive

import "fmt"

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

// String is none, gzip or zstd.
func (c Compression) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("Compression(%d)", int(c))
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
