package acks

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/millrace-mq/millrace/qd/disk"
)

// Load reads the file at path and changes nothing. That there is none is a
// Finding, not an error; errors are those of the disk, and ErrVersion.
func Load(fsys disk.FS, path string) (State, Finding, error) {
	l, err := load(fsys, path)
	if err != nil {
		return State{}, Finding{}, err
	}
	return l.state(), l.finding, nil
}

// loader is a file that is being read, and then what was in it.
type loader struct {
	w       window
	part    part  // the record that was read last
	off     int64 // of the next record
	finding Finding

	// What is certain: all up to the end of the last whole delta.
	end      int64  // its offset
	crc      uint32 // of its last record
	snapshot int64  // bytes of the first delta; 0: it is not whole
	sum      State  // without the entries
	entries  table

	// The delta that is being read. A snapshot's changes go to the table at once.
	within  bool
	before  uint32
	next    State
	changes []Change
}

func load(fsys disk.FS, path string) (*loader, error) {
	l := &loader{w: window{path: path}}
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		l.finding.Missing = true
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open channel state: %w", err)
	}
	defer f.Close() // it was only read from
	l.w.file = f
	if l.w.size, err = f.Size(); err != nil {
		return nil, fmt.Errorf("length of channel state: %w", err)
	}
	l.finding.Missing = l.w.size == 0
	if err := l.read(); err != nil {
		return nil, fmt.Errorf("channel state %s: %w", path, err)
	}
	l.w = window{size: l.w.size, path: path}
	return l, nil
}

func (l *loader) state() State {
	s := l.sum
	s.Entries = l.entries.all()
	return s
}

// read takes in deltas up to the first that is not whole and finds out what
// that means.
func (l *loader) read() error {
	for l.off < l.w.size {
		n, err := l.w.parse(l.off, &l.part)
		if errors.Is(err, ErrVersion) || err != nil && !isBad(err) {
			return err
		}
		if err != nil || !l.follows() {
			break
		}
		l.take(n)
	}
	if l.end == l.w.size {
		return nil
	}
	l.finding.From = l.end
	if l.snapshot == 0 {
		// A snapshot is synced before the file gets its name: that it is not whole
		// is no crash's doing. A part of it says nothing.
		l.entries = table{}
	}
	return l.judge()
}

// follows reports whether the record belongs behind the one before.
func (l *loader) follows() bool {
	first, snapshot := l.part.flags&flagFirst != 0, l.part.flags&flagSnapshot != 0
	return l.part.before == l.before && first == !l.within && snapshot == (l.snapshot == 0) &&
		(first || len(l.part.open) == 0 || len(l.next.Open) == 0 || l.next.Open[len(l.next.Open)-1].To <= l.part.open[0].From)
}

// take adds a record of n bytes to the delta that is being read.
func (l *loader) take(n int64) {
	p := &l.part
	if !l.within {
		l.within, l.next, l.changes = true, State{Cursor: p.cursor, Deferred: p.deferred}, l.changes[:0]
	}
	l.off += n
	l.before = p.crc
	l.next.Open = append(l.next.Open, p.open...)
	if l.snapshot == 0 {
		l.reserve(n)
		l.apply(p.changes)
	} else {
		l.changes = append(l.changes, p.changes...)
	}
	if p.flags&flagLast == 0 {
		return
	}
	l.apply(l.changes)
	l.within, l.sum, l.end, l.crc = false, l.next, l.off, p.crc
	if l.snapshot == 0 {
		l.snapshot = l.end
	}
}

// reserve makes room for all entries at once, going by the first record of n
// bytes: to grow step by step would take twice the memory. (What is reserved
// and not used is never touched, unlike what slices.Grow reserves.)
func (l *loader) reserve(n int64) {
	if l.off == n && l.w.size > 2*n {
		l.entries.entries = make([]Entry, 0, int(float64(len(l.part.changes))*1.02*float64(l.w.size)/float64(n)))
	}
}

func (l *loader) apply(changes []Change) {
	for _, c := range changes {
		if c.Gone {
			c.State = gone
		}
		l.entries.put(c.Entry)
	}
}

// judge tells a torn end from damage: behind damage something is whole.
func (l *loader) judge() error {
	next, err := l.w.find(l.end+1, &l.part)
	if err != nil {
		return err
	}
	if next == l.w.size && l.snapshot > 0 {
		l.finding.Torn = l.w.size - l.end
		return nil
	}
	l.finding.Damaged = 1
	for next < l.w.size {
		n, err := l.w.parse(next, &l.part)
		switch {
		case err == nil:
			next += n
			if l.part.flags&flagLast != 0 {
				l.finding.Behind++
			}
			continue
		case !isBad(err):
			return err
		}
		if next, err = l.w.find(next+1, &l.part); err != nil {
			return err
		}
		if next < l.w.size { // otherwise it is a torn end
			l.finding.Damaged++
		}
	}
	return nil
}

// isBad reports whether an error is about what was read, not about reading.
func isBad(err error) bool { return errors.Is(err, errBad) || errors.Is(err, ErrVersion) }
