package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace-mq/millrace/qd/disk"
)

// Open opens the log in dir, with what an earlier one left there, and repairs
// what a crash has torn. Of a directory that is missing or empty nothing is made
// before the first commit; what is above dir is the caller's to make and sync.
//
// All segments but the last cost one small read each, the last is read through.
// A segment that the disk fails to read, or that another version has written
// (ErrVersion), is an error: nothing is passed over.
func Open(fs disk.FS, dir string, o Options) (*Log, error) {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	l := &Log{fs: fs, dir: dir, options: o, files: files{fs: fs}}
	names, err := fs.List(dir)
	if errors.Is(err, iofs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the log %s: %w", dir, err)
	}
	// Whoever made the directory may have been killed before syncing its name.
	l.exists, l.unlinked = true, true
	if err := l.load(names); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the log %s: %w", dir, err), l.Close())
	}
	return l, nil
}

// errKilled is why a segment is in doubt whose sync has failed in a process that
// is no more.
var errKilled = errors.New("a sync had failed before the log was opened")

func (l *Log) load(names []string) error {
	var synced uint64
	for _, name := range names {
		if strings.HasSuffix(name, segmentSuffix+copySuffix) {
			// It was not yet in place of what it is a copy of.
			if err := l.fs.Remove(l.path(name)); err != nil {
				return fmt.Errorf("removing %s: %w", l.path(name), err)
			}
		}
		number, first, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		s := &segment{number: number, first: first, path: l.path(name), sealed: true}
		below, err := l.inspect(s)
		if errors.Is(err, errDamaged) {
			if err := l.discard(s); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		synced = max(synced, below)
		l.segments = append(l.segments, s)
	}
	slices.SortFunc(l.segments, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.first, b.first))
	})
	if len(l.segments) == 0 {
		return nil
	}
	l.begun = true
	if err := l.recoverLast(); err != nil {
		return err
	}
	for _, s := range l.segments {
		s.safe = s.begin()
		if s.number < synced {
			s.safe, s.named = mark{s.limit, s.size}, true
		}
		if slices.Contains(names, filepath.Base(s.path)+unsafeSuffix) {
			s.safe, s.broken, s.sealed = s.begin(), errKilled, true
		}
	}
	return l.findMissing()
}

// inspect reads a segment's header and that of its first record. The error is
// errDamaged if the file is too short to be a segment.
func (l *Log) inspect(s *segment) (synced uint64, err error) {
	file, err := l.files.acquire(s)
	if err != nil {
		return 0, err
	}
	defer l.files.release(file)
	if s.size, err = file.file.Size(); err != nil {
		return 0, fmt.Errorf("measuring segment %s: %w", s.path, err)
	}
	b := make([]byte, segmentHeaderSize+recordHeaderSize)
	n, err := file.file.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, fmt.Errorf("reading segment %s: %w", s.path, err)
	}
	if n < segmentHeaderSize {
		return 0, errDamaged
	}
	b = b[:n]
	h, err := parseSegmentHeader(b)
	if err != nil && !errors.Is(err, errDamaged) {
		return 0, fmt.Errorf("reading segment %s: %w", s.path, err)
	}
	s.salt = h.salt
	first, err1 := parseHeader(b[segmentHeaderSize:])
	if err != nil || h.number != s.number || h.first != s.first {
		// The names say all that is needed, and any record knows the salt.
		h.synced = 0
		if err1 != nil {
			first, err1 = l.anyHeader(s, file)
		}
		if err1 == nil {
			s.salt = first.salt
		} else if !errors.Is(err1, io.EOF) {
			return 0, err1
		} else if s.size == segmentHeaderSize || err != nil {
			return 0, errDamaged // no header and no record
		}
		l.report(Finding{Damage: BadHeader, File: s.path, Segment: s.number, Length: segmentHeaderSize})
	}
	if err1 == nil && first.salt == s.salt {
		s.oldest, s.lowID, s.known = first.Published, first.FirstID, true
	}
	return h.synced, nil
}

// anyHeader finds the first record in a segment whose own header is damaged;
// io.EOF if there is none.
func (l *Log) anyHeader(s *segment, file *handle) (Header, error) {
	r := l.newReader(recordsAhead)
	defer r.close()
	r.seg, r.stop = s, s.size
	r.file = file
	defer func() { r.file = nil }() // the share is the caller's
	for off := int64(segmentHeaderSize); off+recordHeaderSize <= r.stop; off++ {
		b, err := r.bytes(off, recordHeaderSize)
		if err != nil {
			return Header{}, err
		}
		if h, err := parseHeader(b); !errors.Is(err, errDamaged) {
			return h, err
		}
	}
	return Header{}, io.EOF
}

// discard moves a file that is no segment out of the way: a crash in the middle
// of a segment's first commit leaves such.
func (l *Log) discard(s *segment) error {
	l.files.forget(s)
	dir := l.path(damagedDir)
	to := filepath.Join(dir, filepath.Base(s.path))
	if err := l.fs.MkdirAll(dir); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	if err := l.fs.Rename(s.path, to); err != nil {
		return fmt.Errorf("moving %s, which is no segment, to %s: %w", s.path, to, err)
	}
	// With a power cut the name could come back, and cover what is committed next.
	for _, d := range []string{dir, l.dir} {
		if err := l.fs.SyncDir(d); err != nil {
			return fmt.Errorf("syncing the directory %s: %w", d, err)
		}
	}
	l.report(Finding{Damage: NoSegment, File: s.path, Segment: s.number, Length: s.size, Saved: to})
	return nil
}

// recoverLast reads the last segment through, which tells where the log ends.
func (l *Log) recoverLast() error {
	s := l.lastLocked()
	setLimits(l.segments, unlimited)
	r := l.newReader(windowSize)
	defer r.close()
	if err := r.enter(s, s.begin()); err != nil {
		return err
	}
	good, err := r.recover()
	if err != nil {
		return err
	}
	l.end = good.pos
	setLimits(l.segments, good.pos)
	s.sealed = l.cut(r, good) != nil
	s.size = good.off
	return nil
}

// recover goes through a segment to the end and returns the place behind the
// last record that is whole. Damage before it is reported; damage behind it is a
// torn end, the remains of writes that nobody was told had succeeded, or might
// be: the caller cuts it off.
func (r *reader) recover() (mark, error) {
	good := mark{r.next, r.off}
	var damages []gap
	for {
		h, g, err := r.probe()
		if err == io.EOF {
			return good, nil
		}
		if err != nil {
			return good, err
		}
		if g.end != 0 {
			if g.to != unlimited {
				damages = append(damages, g)
			}
			r.off, r.next = g.end, g.to
			continue
		}
		ok, err := r.verify(&h)
		if err != nil {
			return good, err
		}
		if !ok {
			damages = append(damages, r.whole(&h))
			r.skip(&h)
			continue
		}
		r.mark(h.Position)
		r.skip(&h)
		good = mark{r.next, r.off}
		for _, g := range damages {
			r.log.found(r, g, Corrupt)
		}
		damages = damages[:0]
	}
}

// cut takes what lies behind good off the end of the segment, having set it
// aside. If it cannot, the segment must not be written to any more.
func (l *Log) cut(r *reader, good mark) error {
	size, err := r.file.file.Size()
	if err != nil {
		return fmt.Errorf("measuring segment %s: %w", r.seg.path, err)
	}
	if size == good.off {
		return nil
	}
	g := gap{off: good.off, end: size, from: good.pos, to: good.pos}
	r.stop = size
	f := Finding{Damage: Torn, File: r.seg.path, Segment: r.seg.number, Offset: g.off, Length: g.end - g.off, From: g.from, To: g.to}
	zero := true
	err = pieces(r, g, func(_ int64, b []byte) error {
		for _, c := range b {
			zero = zero && c == 0
		}
		return nil
	})
	if err == nil && !zero {
		f.Saved, err = l.setAside(r, g)
	}
	if err == nil {
		if err = r.file.file.Truncate(good.off); err != nil {
			err = fmt.Errorf("truncating segment %s: %w", r.seg.path, err)
		}
	}
	if err == nil && zero {
		return nil // reserved, or never written: no loss
	}
	f.Err = err
	l.report(f)
	return err
}

// findMissing looks where segment numbers are missing whether messages are, too.
func (l *Log) findMissing() error {
	if l.options.Sparse {
		return nil
	}
	for i, s := range l.segments[:len(l.segments)-1] {
		if l.segments[i+1].number <= s.number+1 || s.first >= s.limit {
			continue
		}
		r := l.newReader(headersAhead)
		err := r.enter(s, s.begin())
		if err == nil {
			_, err = r.walk(unlimited) // reports a hole at the end
		}
		r.close()
		if err != io.EOF {
			return err
		}
	}
	return nil
}
