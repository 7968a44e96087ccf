package pipeline

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// found is what an audit has found in a directory.
type found struct {
	Files      int
	Bytes      int64 // of the files, as they are on the disk
	Lines      int64 // those that are there twice included
	Duplicates int64 // beyond the first of each
	Disorder   int64 // firsts that come after one with a higher number
}

// auditor compares the lines of files with those that were published.
type auditor struct {
	size int
	seen []uint64 // a bit for each line
	want int64
	last int64 // the highest number so far
	line []byte
	found
}

// audit reads all files below dir, in the order of their names. It wants each of
// so many lines at least once, and nothing else.
func audit(dir string, lines int64, size int) (found, error) {
	a := &auditor{size: size, want: lines, last: -1, seen: make([]uint64, (lines+63)/64)}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".json") { // a sidecar
			return err
		}
		return a.file(path)
	})
	if err != nil {
		return a.found, fmt.Errorf("reading what was written: %w", err)
	}
	if missing := a.want - (a.Lines - a.Duplicates); missing > 0 {
		return a.found, fmt.Errorf("%d of the %d lines are in no file; the first is line %d", missing, a.want, a.firstMissing())
	}
	return a.found, nil
}

func (a *auditor) file(path string) (err error) {
	// #nosec G304 -- a file that who runs the bench has named
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	a.Files++
	a.Bytes += info.Size()
	var in io.Reader = f
	switch {
	case info.Size() == 0:
		return nil
	case strings.HasSuffix(path, ".gz"):
		in, err = gzip.NewReader(f)
	case strings.HasSuffix(path, ".zst"):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(f); err == nil {
			defer z.Close()
			in = z
		}
	}
	if err == nil {
		err = a.lines(in)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (a *auditor) lines(in io.Reader) error {
	r := bufio.NewReaderSize(in, max(1<<20, a.size+1))
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case err == io.EOF && len(line) == 0:
			return nil
		case err == io.EOF:
			return fmt.Errorf("ends within a line: %.100q", line)
		case err != nil:
			return err
		}
		if err := a.check(line[:len(line)-1]); err != nil {
			return err
		}
	}
}

// check notes a line.
func (a *auditor) check(line []byte) error {
	n, ok := number(line)
	if ok && n < a.want {
		a.line = appendLine(a.line[:0], n, a.size)
		ok = bytes.Equal(line, a.line)
	}
	if !ok || n >= a.want {
		return fmt.Errorf("line %d was never published: %.100q", a.Lines+1, line)
	}
	a.Lines++
	if word, bit := n/64, uint64(1)<<(n%64); a.seen[word]&bit != 0 {
		a.Duplicates++
	} else {
		a.seen[word] |= bit
		if n < a.last {
			a.Disorder++
		}
		a.last = max(a.last, n)
	}
	return nil
}

func (a *auditor) firstMissing() int64 {
	for n := range a.want {
		if a.seen[n/64]&(1<<(n%64)) == 0 {
			return n
		}
	}
	return a.want
}
