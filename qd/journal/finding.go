package journal

import (
	"bytes"
	"errors"
	"fmt"
	iofs "io/fs"
	"path/filepath"

	"github.com/millrace-mq/millrace/qd/disk"
)

// Damage says what a Finding is about.
type Damage uint8

// The kinds of damage.
const (
	Torn      Damage = iota + 1 // the end of the last segment is not a whole record: a crash in a write; cut off
	Corrupt                     // bytes within a segment are not what was written; their messages are missing
	Missing                     // a segment ends before its successor begins, or is not there
	BadHeader                   // a segment's own header is damaged; its records are read nevertheless
	NoSegment                   // a segment's file is empty, or too short to be one; moved to damaged/
)

func (d Damage) String() string {
	switch d {
	case Torn:
		return "torn end, cut off"
	case Corrupt:
		return "damaged"
	case Missing:
		return "missing"
	case BadHeader:
		return "segment header damaged"
	case NoSegment:
		return "not a segment"
	}
	return fmt.Sprintf("damage %d", uint8(d))
}

// Finding is a damage that was found.
type Finding struct {
	Damage  Damage
	File    string // path of the segment
	Segment uint64 // its number
	Offset  int64  // in the file
	Length  int64  // bytes
	// Messages From ≤ p < To are missing; none is, or it is not known which, if
	// they are equal.
	From, To uint64
	Saved    string // the file the bytes were copied or moved to; empty if they were not
	Err      error  // why they were not, although they should have been
}

func (f Finding) String() string {
	s := fmt.Sprintf("%s: %s at offset %d, %d bytes", f.File, f.Damage, f.Offset, f.Length)
	if f.From < f.To {
		s += fmt.Sprintf(", messages %d to %d", f.From, f.To-1)
	}
	if f.Saved != "" {
		s += ", set aside as " + f.Saved
	}
	if f.Err != nil {
		s += ", not set aside: " + f.Err.Error()
	}
	return s
}

// maxSaved is the most bytes of a damage that are set aside.
const maxSaved = 64 << 20

// report counts a finding and passes it on. No lock is held.
func (l *Log) report(f Finding) {
	l.mu.Lock()
	l.damaged++
	l.lost += f.To - f.From
	l.mu.Unlock()
	if l.options.Report != nil {
		l.options.Report(f)
	}
}

// found deals with a damage that r has met: the first time, its bytes are set
// aside and it is reported.
func (l *Log) found(r *reader, g gap, d Damage) {
	l.mu.Lock()
	first := r.seg.addGap(g)
	l.mu.Unlock()
	if !first {
		return
	}
	f := Finding{Damage: d, File: r.seg.path, Segment: r.seg.number, Offset: g.off, Length: g.end - g.off, From: g.from, To: g.to}
	if l.options.Sparse && d != Corrupt {
		f.To = f.From
	}
	if g.end > g.off {
		f.Saved, f.Err = l.setAside(r, g)
	}
	l.report(f)
}

// setAside copies the bytes of a gap to damaged/, durably, and returns the path.
// Bytes that are there already, from an earlier opening, are not copied again.
func (l *Log) setAside(r *reader, g gap) (string, error) {
	dir := l.path(damagedDir)
	if err := l.fs.MkdirAll(dir); err != nil {
		return "", fmt.Errorf("making %s: %w", dir, err)
	}
	for n := 1; ; n++ {
		name := fmt.Sprintf("%08x-%016x.bin", r.seg.number, g.off)
		if n > 1 {
			name = fmt.Sprintf("%08x-%016x-%d.bin", r.seg.number, g.off, n)
		}
		path := filepath.Join(dir, name)
		file, err := l.fs.Create(path)
		if errors.Is(err, iofs.ErrExist) {
			same, err := l.sameBytes(path, r, g)
			if same || err != nil {
				return path, err
			}
			continue
		}
		if err != nil {
			return "", fmt.Errorf("creating %s: %w", path, err)
		}
		err = copyBytes(file, r, g)
		if err = errors.Join(err, file.Close()); err != nil {
			return "", fmt.Errorf("setting damaged bytes aside in %s: %w", path, err)
		}
		for _, d := range []string{dir, l.dir} {
			if err := l.fs.SyncDir(d); err != nil {
				return "", fmt.Errorf("syncing %s: %w", d, err)
			}
		}
		return path, nil
	}
}

// pieces calls f for the bytes of a gap, as far as they are kept.
func pieces(r *reader, g gap, f func(off int64, b []byte) error) error {
	end := min(g.end, g.off+maxSaved)
	for off := g.off; off < end; {
		b, err := r.bytes(off, int(min(end-off, windowSize)))
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return nil
		}
		if err := f(off-g.off, b); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

func copyBytes(to disk.File, r *reader, g gap) error {
	err := pieces(r, g, func(off int64, b []byte) error { return to.WriteAt(off, b) })
	if err != nil {
		return err
	}
	return to.Sync()
}

// sameBytes tells whether the file at path begins with the bytes of a gap.
func (l *Log) sameBytes(path string, r *reader, g gap) (bool, error) {
	file, err := l.fs.Open(path)
	if err != nil {
		return false, fmt.Errorf("opening %s: %w", path, err)
	}
	defer file.Close()
	same := true
	err = pieces(r, g, func(off int64, b []byte) error {
		there := make([]byte, len(b))
		n, _ := file.ReadAt(there, off)
		same = same && bytes.Equal(there[:n], b)
		return nil
	})
	return same, err
}
