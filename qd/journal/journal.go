// Package journal keeps a sequence of messages on disk: a directory of
// segments, each a file of records, each a batch of messages as they go over
// the wire. docs/FORMAT.md describes the files and what is assumed of the disk.
//
// Positions number the messages of a log. A commit is all or nothing: End moves
// behind it when it is written (and, if asked for, on the device), else nothing
// has happened and its positions are used again.
//
// The rule that makes failures cheap: what a segment says about positions at or
// behind the first position of a later segment is ignored. So whatever a failed
// write or sync left in a file is covered up by beginning a new one.
//
// Who may do what: Commit, RemoveBefore, RemoveSegment, Rest and Close
// are the writer's, one at a time. Sync may run beside them, and so may any
// number of readers (all other methods).
package journal

import (
	"fmt"
	"io/fs"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/qd/disk"
)

// Record is messages that are written, checked and lost together.
type Record struct {
	Kind      Kind
	Position  uint64 // of the first message; at or behind the end of the one before
	FirstID   uint64 // of the first message; those of the others follow one by one
	Count     int    // messages, at least 1
	Published int64  // ns since the Unix epoch
	Due       int64  // ns since the Unix epoch; 0: at once
	// Frames are the messages as wire frames, in as many pieces as the caller
	// likes; together at most MaxBody bytes. The log does not keep them.
	Frames [][]byte
}

// Options say how a log is kept. The zero value is fit for use.
type Options struct {
	// SegmentBytes is the size of a file: a new one is begun when the next commit
	// would go beyond it. A commit larger than that has a file of its own.
	// Default 64 MiB.
	SegmentBytes int64
	// Sparse logs may have gaps between positions and between segment numbers,
	// because segments are removed in any order: gaps are not findings.
	Sparse bool
	// Report is called for each damage found, once per opening of the log, by the
	// goroutine that found it and under no lock. It may be nil.
	Report func(Finding)
	// Took is called with the time that each write and sync of a segment took,
	// failed ones included, by whoever waited for it: concurrently, and with locks
	// of the log held. It may be nil.
	Took func(Operation, time.Duration)
}

// Operation is what the log asks of the disk.
type Operation int

// The operations that Options.Took is told of.
const (
	Write      Operation = iota // of a commit's records
	CommitSync                  // of a commit that is to be on the device
	Sync                        // of what earlier commits have written
)

// DefaultSegmentBytes is Options.SegmentBytes unless set.
const DefaultSegmentBytes = 64 << 20

// Stats are counts of a log.
type Stats struct {
	Segments int
	Bytes    int64  // of segments, not of what was set aside
	Records  uint64 // committed since the log was opened
	Written  int64  // bytes of them, with their headers
	Damaged  uint64 // damages found since the log was opened
	Lost     uint64 // messages in them and in holes, as far as it is known
}

// Segment is one file of a log.
type Segment struct {
	Number     uint64
	First, End uint64 // positions First ≤ p < End are its own; none if they are equal
	Bytes      int64
	Oldest     int64 // publish time of its first record, ns since the Unix epoch; 0: none or not known
}

// Log is a sequence of messages on disk.
type Log struct {
	fs      disk.FS
	dir     string
	options Options
	files   files
	hints   hints

	// syncing lets one fsync run at a time: of two at once on a file, the kernel
	// tells only one that writing back failed, and the other would vouch for data
	// that are not there. It is held across I/O, by those alone who wait for the
	// device anyway: a commit at level disk never takes it unless a write failed.
	syncing sync.Mutex

	// Owned by the writer.
	out     *handle  // of the segment written to; nil while at rest
	arena   []byte   // record headers of a commit
	buffers [][]byte // what a commit writes
	stale   string   // a file that a failed commit left and could not remove
	exists  bool     // the directory

	mu       sync.RWMutex // guards what follows and the segments' fields; never held across I/O
	segments []*segment   // by number; the last is written to
	end      uint64       // position behind the newest message
	begun    bool         // end is meant: there has been a segment
	unlinked bool         // the directory's own name may not be on the device
	loose    int          // failed segments removed, whose names may come back with a crash and cover others
	closed   bool
	records  uint64
	written  int64
	damaged  uint64
	lost     uint64
}

// Start is the first position that is kept; End if there is none.
func (l *Log) Start() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.segments {
		if s.first < s.limit {
			return s.first
		}
	}
	return l.end
}

// End is the position behind the newest message.
func (l *Log) End() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.end
}

// Segments lists the files of the log, oldest first.
func (l *Log) Segments() []Segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := make([]Segment, 0, len(l.segments))
	for _, s := range l.segments {
		list = append(list, Segment{Number: s.number, First: s.first, End: max(s.first, s.limit), Bytes: s.size, Oldest: s.oldest})
	}
	return list
}

// Bytes is the size of all segments.
func (l *Log) Bytes() int64 { return l.Stats().Bytes }

// BytesFrom is about how many bytes of segments lie at or behind pos. It reads
// nothing: within a segment it goes by what is known of it.
func (l *Log) BytesFrom(pos uint64) int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var n int64
	for _, s := range slices.Backward(l.segments) {
		switch {
		case s.first >= pos:
			n += s.size
		case s.limit > pos:
			n += s.size - s.offsetNear(pos)
		}
		if s.first < pos && s.first < s.limit {
			break
		}
	}
	return n
}

// Stats returns the log's counts.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := Stats{Segments: len(l.segments), Records: l.records, Written: l.written, Damaged: l.damaged, Lost: l.lost}
	for _, seg := range l.segments {
		s.Bytes += seg.size
	}
	return s
}

// clock is when an operation begins, if anybody wants to know.
func (l *Log) clock() (start time.Time) {
	if l.options.Took != nil {
		start = time.Now()
	}
	return start
}

// took tells of an operation that began at start.
func (l *Log) took(o Operation, start time.Time) {
	if l.options.Took != nil {
		l.options.Took(o, time.Since(start))
	}
}

// Rest closes the files that are not being read. The next use opens them again.
func (l *Log) Rest() {
	l.shorten()
	l.dropOut()
	l.files.rest()
}

// Close closes the log's files, when their last reader has left. It does not
// sync: what Sync has not returned for is in the operating system's hands.
// Afterwards every method that needs a file returns an error wrapping
// fs.ErrClosed.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Rest()
	return l.files.close()
}

// dropOut lets go of the file that commits go to.
func (l *Log) dropOut() {
	if l.out != nil {
		l.files.release(l.out)
		l.out = nil
	}
}

// errClosed is what a closed log answers.
func (l *Log) errClosed(doing string) error {
	return fmt.Errorf("%s the log %s: %w", doing, l.dir, fs.ErrClosed)
}

// isClosed tells whether Close has been called.
func (l *Log) isClosed() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.closed
}

// unlimited is the limit of the last segment while it is scanned.
const unlimited = math.MaxUint64
