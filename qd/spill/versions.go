package spill

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ErrVersion is wrapped by errors for files that a newer version has written.
var ErrVersion = errors.New("unknown format version")

// CheckVersions returns an error that wraps ErrVersion if a data file in dir begins
// with a record of a newer version. A file is written by one version, from empty to
// full, so its first record is enough. It changes nothing, and leaves whatever else
// is wrong to those who read the files.
func CheckVersions(dir string) error {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.Contains(e.Name(), dataInfix) || !strings.HasSuffix(e.Name(), dataSuffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if v := versionOf(path); v > '1' && v <= '9' {
			return fmt.Errorf("%s: %w %c, this program knows 1", path, ErrVersion, v)
		}
	}
	return nil
}

// versionOf is the digit at the end of the first record's magic; 0 if none is there.
func versionOf(path string) byte {
	// #nosec G304 -- on the data path; names of topics and channels have no slash
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	var b [4 + recordHeaderSize]byte
	if _, err := io.ReadFull(f, b[:]); err != nil || binary.BigEndian.Uint32(b[:]) < recordHeaderSize {
		return 0
	}
	const name = len(recordMagic) - 1
	if string(b[4:4+name]) != recordMagic[:name] {
		return 0
	}
	return b[4+name]
}
