package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/millrace-mq/millrace/apps/internal/record"
)

// ledger says what has become of records, and keeps those that were not
// acknowledged.
type ledger struct {
	stored atomic.Int64 // messages that every sink acknowledged
	bytes  atomic.Int64 // of their bodies
	keep   *keeper      // nil if nobody wants them
}

// settle notes the outcome that one sink has had for part of a batch.
func (l *ledger) settle(p part, acknowledged bool) {
	if !acknowledged {
		p.fail()
	}
	if p.left.Add(-int64(p.len())) == 0 {
		l.finish(p.batch)
	}
}

// fail notes that some sink has not acknowledged the part.
func (p part) fail() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		p.failed = make([]bool, len(p.bodies))
	}
	for i := p.from; i < p.to; i++ {
		p.failed[i] = true
	}
}

// finish is called once every sink has had its outcome for all of b.
func (l *ledger) finish(b *batch) {
	stored, size := 0, 0
	for i, body := range b.bodies {
		if b.failed == nil || !b.failed[i] {
			stored++
			size += len(body)
			continue
		}
		if b.kept != nil {
			body = b.kept[i]
		}
		if l.keep != nil {
			l.keep.add(body)
		}
	}
	if b.failed != nil && l.keep != nil {
		l.keep.flush()
	}
	l.stored.Add(int64(stored))
	l.bytes.Add(int64(size))
}

// keeper is the file of the records that were not acknowledged. They are in it as
// they were in the input, so that it can be one.
type keeper struct {
	path  string
	delim []byte // empty: length-prefixed
	fresh bool   // the file was made for it

	mu   sync.Mutex // guards below, so that records do not mix
	file *os.File
	out  *bufio.Writer
	line []byte // used again
	n    int64
	lost int64 // that could not be kept
	err  error // why
}

// openKeeper opens the file to add to it: what an earlier run has left there may be
// the only copy. It fails if the file is one of those that are read, which would never
// come to an end.
func openKeeper(path string, delim []byte, in *inputs) (*keeper, error) {
	before, err := os.Stat(path)
	if err == nil && before.Mode().IsRegular() && in.include(before) {
		return nil, fmt.Errorf("failed %q: is what is read; name another file", path)
	}
	// #nosec G304 G302 -- a file that who runs pub has named; who may read it is for the umask to say, as with a shell's files
	file, errOpen := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if errOpen != nil {
		return nil, fmt.Errorf("failed: %w", errOpen)
	}
	return &keeper{path: path, delim: delim, fresh: errors.Is(err, os.ErrNotExist), file: file, out: bufio.NewWriter(file)}, nil
}

func (k *keeper) add(data []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		k.lost++
		return
	}
	if len(k.delim) == 0 {
		k.line = record.Length.Append(k.line[:0], &record.Record{Body: data})
	} else {
		k.line = append(append(k.line[:0], data...), k.delim...)
	}
	_, k.err = k.out.Write(k.line)
	k.n++
}

// flush has the system know what was added, so that a kill does not lose it.
func (k *keeper) flush() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		k.err = k.out.Flush()
	}
}

// miss notes that a record was not acknowledged and is not there to be kept.
func (k *keeper) miss() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost++
}

// close writes what is left, and takes the file away if it was made for nothing.
// kept says what is in the file, if anything is.
func (k *keeper) close() (kept string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err = k.err
	if err == nil {
		err = k.out.Flush()
	}
	if info, errStat := k.file.Stat(); errStat == nil && info.Mode().IsRegular() {
		err = errors.Join(err, k.file.Sync())
	}
	err = errors.Join(err, k.file.Close())
	switch {
	case err != nil:
		return "", fmt.Errorf("not all that was not acknowledged is in %s: %w", k.path, err)
	case k.n == 0 && k.fresh:
		if err := os.Remove(k.path); err != nil {
			return "", fmt.Errorf("failed: %w", err)
		}
	case k.n > 0:
		kept = fmt.Sprintf("%s added to %s: publish them with --file", were(k.n, "record"), k.path)
	}
	if k.lost > 0 {
		return kept, fmt.Errorf("%s too large to be kept in %s", were(k.lost, "record"), k.path)
	}
	return kept, nil
}
