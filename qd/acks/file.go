package acks

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"sync"

	"github.com/millrace-mq/millrace/qd/disk"
)

// minDeltas is how many bytes of deltas are kept however small the snapshot is.
const minDeltas = 1 << 20

// ErrNeedsSnapshot is Append's error while NeedsSnapshot is for a reason that
// only Replace can remove.
var ErrNeedsSnapshot = errors.New("a snapshot is needed first")

// File is a channel's file. It is open only while a method runs, so that a
// process may have any number. Its methods are for one goroutine at a time.
type File struct {
	fsys     disk.FS
	path     string
	size     int64  // up to here all is whole; 0: there is no file
	snapshot int64  // bytes of it that are the snapshot
	crc      uint32 // of the last record

	// broken: what is on the disk may differ from size, or may not last. Nothing
	// is written behind it.
	broken bool

	// inherited: what is on the disk was found there, and a power cut may take it
	// still.
	inherited bool
}

// buffers are those of encoders: one for each file that is written right now,
// not for each there is.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Open loads the file at path and makes it ready for Append. A torn end is cut
// off. A damaged file is copied to path.damaged-N, with the first N ≥ 1 that is
// free, and then replaced by a snapshot of what is certain; if that cannot be
// done it is an error, and the file stays. Open creates no file where there is
// none. Its directory must exist. A power cut can still take back what was
// found, until an Append with sync or a Replace has succeeded.
func Open(fsys disk.FS, path string) (*File, State, Finding, error) {
	l, err := load(fsys, path)
	if err != nil {
		return nil, State{}, Finding{}, err
	}
	f := &File{fsys: fsys, path: path, size: l.end, snapshot: l.snapshot, crc: l.crc, inherited: true}
	s, finding := l.state(), l.finding
	switch {
	case finding.Damaged > 0:
		if finding.Aside, err = setAside(fsys, path, l.w.size); err != nil {
			return nil, State{}, Finding{}, fmt.Errorf("set damaged channel state aside: %w", err)
		}
		if err := f.Replace(s.snapshot()); err != nil {
			return nil, State{}, Finding{}, err
		}
	case finding.Torn > 0:
		f.cut()
	}
	return f, s, finding, nil
}

// snapshot is a delta that comes to s.
func (s *State) snapshot() Delta {
	d := Delta{Reset: true, Cursor: s.Cursor, Deferred: s.Deferred, Open: s.Open}
	for _, e := range s.Entries {
		d.Changes = append(d.Changes, Change{Entry: e})
	}
	return d
}

// NeedsSnapshot reports whether Replace should come next: there is no file,
// writing has failed in a way that Append cannot go on after, or the deltas
// take more than 1 MiB and twice what the snapshot does.
func (f *File) NeedsSnapshot() bool {
	return f.refuses() || f.size-f.snapshot > max(minDeltas, 2*f.snapshot)
}

// Size is how many bytes the file has that are whole.
func (f *File) Size() int64 { return f.size }

func (f *File) refuses() bool { return f.broken || f.size == 0 }

// Append writes a delta behind the others, at once unless it takes more than
// 1 MiB, and with sync makes it and all before it durable. After an error the
// file is as it was, or NeedsSnapshot is true. It does not take a Reset.
func (f *File) Append(d Delta, sync bool) error {
	if d.Reset {
		return fmt.Errorf("append to channel state %s: a snapshot must replace the file", f.path)
	}
	if f.refuses() {
		return fmt.Errorf("append to channel state %s: %w", f.path, ErrNeedsSnapshot)
	}
	if err := d.check(); err != nil {
		return fmt.Errorf("append to channel state %s: %w", f.path, err)
	}
	file, err := f.fsys.Open(f.path)
	if err != nil {
		return fmt.Errorf("append to channel state: %w", err)
	}
	end, crc, err := f.append(file, &d, sync)
	if closeErr := file.Close(); closeErr != nil {
		f.broken = true
		err = errors.Join(err, closeErr)
	}
	if err != nil {
		return fmt.Errorf("append to channel state: %w", err)
	}
	f.size, f.crc = end, crc
	f.inherited = f.inherited && !sync
	return nil
}

// append writes d and returns where it ends and the CRC of its last record.
func (f *File) append(file disk.File, d *Delta, sync bool) (end int64, crc uint32, err error) {
	if sync && f.inherited {
		if err := f.rewrite(file); err != nil {
			return 0, 0, err
		}
	}
	if end, crc, err = write(file, f.size, f.crc, d); err != nil {
		f.broken = file.Truncate(f.size) != nil
		return 0, 0, err
	}
	if !sync {
		return end, crc, nil
	}
	// After a failed sync a later one can succeed without what came before.
	if err = file.Sync(); err == nil && f.inherited {
		err = f.fsys.SyncDir(filepath.Dir(f.path))
	}
	f.broken = err != nil
	return end, crc, err
}

// rewrite writes the deltas where they are already. The process that wrote
// them may have seen a sync fail: then reads see them and the device will
// never get them, whatever is synced, unless they are written again. It may
// also have ended between a rename and the sync of the directory. The snapshot
// was synced before it got its name.
func (f *File) rewrite(file disk.File) error {
	w := window{file: file, path: f.path, size: f.size}
	for off := f.snapshot; off < f.size; {
		b, err := w.at(off, windowSize)
		if err != nil {
			return err
		}
		if err := file.WriteAt(off, b); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// Replace puts a new file that holds d, a Reset, in place of the old one. When
// it returns nil the new file is durable; after an error and a crash there is
// the old one or the new one.
func (f *File) Replace(d Delta) error {
	err := d.check()
	if !d.Reset {
		err = errors.New("not a snapshot")
	}
	if err != nil {
		return fmt.Errorf("replace channel state %s: %w", f.path, err)
	}
	return f.ReplaceAll(func(yield func(Delta, error) bool) { yield(d, nil) })
}

// ReplaceAll is Replace with a snapshot in pieces: a Reset, and deltas behind it.
// An error among them is returned, and the old file stays. A piece is written
// before the next is asked for, so its memory can be used again. In case one is
// damaged later, all but the last should claim nothing that only the last makes
// true.
func (f *File) ReplaceAll(pieces iter.Seq2[Delta, error]) error {
	size, crc, err := f.writeTemporary(pieces)
	if err != nil {
		_ = f.fsys.Remove(f.temporary()) // the next Replace tries that again
		return fmt.Errorf("replace channel state: %w", err)
	}
	// Until the new name is durable, a crash may bring the old file back, without
	// what was appended to the new one.
	f.broken = true
	if err := f.fsys.Rename(f.temporary(), f.path); err != nil {
		return fmt.Errorf("replace channel state: %w", err)
	}
	if err := f.fsys.SyncDir(filepath.Dir(f.path)); err != nil {
		return fmt.Errorf("replace channel state: %w", err)
	}
	f.size, f.snapshot, f.crc = size, size, crc
	f.broken, f.inherited = false, false
	return nil
}

func (f *File) temporary() string { return f.path + ".tmp" }

// writeTemporary writes a file that holds the pieces, and makes its bytes
// durable.
func (f *File) writeTemporary(pieces iter.Seq2[Delta, error]) (size int64, crc uint32, err error) {
	if err := f.fsys.Remove(f.temporary()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, err
	}
	file, err := f.fsys.Create(f.temporary())
	if err != nil {
		return 0, 0, err
	}
	for d, failed := range pieces {
		if err = failed; err == nil {
			err = d.check()
		}
		if err == nil && d.Reset != (size == 0) {
			err = errors.New("the first piece of a snapshot, and no other, is a Reset")
		}
		if err == nil {
			size, crc, err = write(file, size, crc, &d)
		}
		if err != nil {
			break
		}
	}
	if err == nil && size == 0 {
		err = errors.New("a snapshot without pieces")
	}
	if err == nil {
		err = file.Sync()
	}
	return size, crc, errors.Join(err, file.Close())
}

// cut cuts off what is behind the last whole delta. If that fails nothing is
// appended.
func (f *File) cut() {
	f.broken = true
	file, err := f.fsys.Open(f.path)
	if err != nil {
		return
	}
	err = file.Truncate(f.size)
	f.broken = errors.Join(err, file.Close()) != nil
}

// check refuses what could not be read again.
func (d *Delta) check() error {
	to := uint64(0)
	for _, r := range d.Open {
		if r.From < to || r.To <= r.From {
			return fmt.Errorf("open range %d to %d is empty or not behind %d", r.From, r.To, to)
		}
		to = r.To
	}
	for i := range d.Changes {
		if c := &d.Changes[i]; !c.Gone && c.State > Dead {
			return fmt.Errorf("entry %d has the unknown state %d", c.ID, c.State)
		}
	}
	return nil
}

// write writes d at off, behind a record with the CRC before. It returns where
// d ends, and the CRC of its last record.
func write(file disk.File, off int64, before uint32, d *Delta) (end int64, crc uint32, err error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	e := encoder{delta: d, before: before}
	for !e.done {
		*buf = e.append((*buf)[:0])
		if err := file.WriteAt(off, *buf); err != nil {
			return 0, 0, err
		}
		off += int64(len(*buf))
	}
	return off, e.before, nil
}

// setAside copies a file of that size to a name of its own, durably. A copy,
// so that there is no moment at which the path has no file: that would be
// taken for a new channel.
func setAside(fsys disk.FS, path string, size int64) (aside string, err error) {
	dir, base := filepath.Split(path)
	names, err := fsys.List(filepath.Clean(dir))
	if err != nil {
		return "", err
	}
	for n := 1; aside == "" || slices.Contains(names, aside); n++ {
		aside = fmt.Sprintf("%s.damaged-%d", base, n)
	}
	aside = filepath.Join(dir, aside)
	if err := copyFile(fsys, path, aside, size); err != nil {
		_ = fsys.Remove(aside) // half a copy is of no use
		return "", err
	}
	return aside, fsys.SyncDir(filepath.Clean(dir))
}

func copyFile(fsys disk.FS, path, to string, size int64) (err error) {
	from, err := fsys.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	file, err := fsys.Create(to)
	if err != nil {
		return err
	}
	w := window{file: from, path: path, size: size}
	for off := int64(0); err == nil && off < size; {
		var b []byte
		if b, err = w.at(off, windowSize); err == nil {
			err = file.WriteAt(off, b)
			off += int64(len(b))
		}
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
