package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
)

// A file has a line of JSON for each version of an entry: one that ends within a
// second has one; one that takes longer has another before, with "done":false. Of
// two lines with a number the later is right.

const (
	backBytes = 2 << 10 // for each entry that is kept, so much of the file is read back at most
	longest   = 1 << 20 // bytes of a line that is read back; others are left out
	mostInt   = 1 << 53 // beyond it a number is none of ours
)

// readBack returns the entries that a file ends with, keep at most, by number. What
// is no entry is left out: the last line may be torn, and others may be somebody
// else's.
func readBack(path string, keep int, log *slog.Logger) ([]*Entry, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		if err == nil && info.IsDir() {
			return nil, fmt.Errorf("audit-file %s: is a folder: give the name of a file", path)
		}
		return nil, nil
	}
	// #nosec G304 -- the operator's file
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("audit-file %s: cannot be read back: %w", path, err)
	}
	defer f.Close()
	from := max(0, info.Size()-int64(keep)*backBytes)
	entries, strange, err := decodeLines(io.NewSectionReader(f, from, info.Size()-from), from > 0)
	if err != nil {
		return nil, fmt.Errorf("audit-file %s: cannot be read back: %w", path, err)
	}
	if strange > 0 {
		log.Warn("lines of the audit file are no entries, and left out", "file", path, "count", strange)
	}
	return latest(entries, keep), nil
}

// decodeLines reads lines, of which the first may be a part of one. The last one is
// not strange if it is torn.
func decodeLines(r io.Reader, part bool) (entries []*Entry, strange int, err error) {
	lines := bufio.NewReaderSize(r, longest)
	for first := true; ; first = false {
		line, err := lines.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return nil, 0, err
		}
		if part && first || len(line) <= 1 {
			// of no interest
		} else if e := decodeLine(line); e != nil && !long {
			entries = append(entries, e)
		} else if err == nil {
			strange++
		}
		if err == io.EOF {
			return entries, strange, nil
		}
	}
}

func decodeLine(line []byte) *Entry {
	e := new(Entry)
	if err := json.Unmarshal(line, e); err != nil || e.Number == 0 || e.Number > mostInt {
		return nil
	}
	*e = e.Bounded()
	if !e.Done {
		e.Done, e.Interrupted = true, true
	}
	return e
}

// latest sorts entries by number, takes of two with the same one the later, and of
// all the last keep.
func latest(entries []*Entry, keep int) []*Entry {
	slices.Reverse(entries)
	// #nosec G115 -- numbers of entries, which rise by one
	slices.SortStableFunc(entries, func(a, b *Entry) int { return int(int64(a.Number) - int64(b.Number)) })
	entries = slices.CompactFunc(entries, func(a, b *Entry) bool { return a.Number == b.Number })
	return entries[max(0, len(entries)-keep):]
}
