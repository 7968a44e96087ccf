// Package spill keeps on disk what has no place in memory: FIFO queues of
// blocks, through nsqio/go-diskqueue, a block a record with a checksum.
//
// A Queue is a row of go-diskqueue queues, its generations, each of which is
// written once from empty to full and read once. That is not only how a stop
// puts blocks before those that are already on disk. It also keeps
// go-diskqueue from ever changing files by itself: version 1.1.0, when it
// starts a new file while its reader has read ahead to the end of the old
// one, takes the end for damage and sets the file aside as .bad, for ever.
package spill

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nsqio/go-diskqueue"
)

// Config says where queues are kept and how.
type Config struct {
	Dir         string        // made when it is needed; must not contain a '%', which go-diskqueue would format
	FileBytes   int64         // a generation is closed when it has so many
	SyncEvery   int64         // records written or read per fsync
	SyncTimeout time.Duration // an fsync is never later than this
	// Report is called when go-diskqueue warns of something.
	Report func(text string)
}

// records are buffers to put records together in. Thousands of queues that
// write now and then share a few.
var records = sync.Pool{New: func() any { return new([]byte) }}

// firstGeneration leaves room for the generations that stops put in front.
const firstGeneration = 500_000_000

// Queue is a FIFO of records. It is not safe for concurrent use.
type Queue struct {
	cfg  Config
	name string
	gens []*generation
	next int // number of the next generation at the end
}

type generation struct {
	number  int
	dq      diskqueue.Interface // nil while closed
	records int64               // not yet read
	written int64               // bytes, since it was opened
	size    int64               // bytes on disk
	trouble chan struct{}       // signalled when go-diskqueue reports an error
}

// Open opens the queue called name, with what an earlier one left on disk.
// The name is part of those of files.
func Open(cfg Config, name string) (*Queue, error) {
	q := &Queue{cfg: cfg, name: name, next: firstGeneration}
	numbers, err := generations(cfg.Dir, name)
	if err != nil {
		return nil, err
	}
	sizes := sizesIn(cfg.Dir)
	for _, n := range numbers {
		g := &generation{number: n, written: cfg.FileBytes}
		g.size = sizes[q.fileName(g)]
		q.open(g)
		g.records = g.dq.Depth()
		q.gens = append(q.gens, g)
		q.next = n + 1
		if err := q.park(g); err != nil {
			return nil, errors.Join(err, q.Close())
		}
	}
	return q, nil
}

// go-diskqueue's names for the files of a queue.
const (
	metaSuffix = ".diskqueue.meta.dat"
	dataInfix  = ".diskqueue."
	dataSuffix = ".dat"
)

// generations returns the numbers of the queue's generations that have any
// file, in order.
func generations(dir, name string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing disk queues: %w", err)
	}
	var numbers []int
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), name+"~")
		number, _, found := strings.Cut(rest, dataInfix)
		if !ok || !found || !strings.HasSuffix(rest, dataSuffix) {
			continue
		}
		if n, err := strconv.Atoi(number); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), nil
}

func (q *Queue) fileName(g *generation) string { return fmt.Sprintf("%s~%09d", q.name, g.number) }

func (q *Queue) open(g *generation) {
	if g.dq != nil {
		return
	}
	g.trouble = make(chan struct{}, 1)
	g.dq = diskqueue.New(q.fileName(g), q.cfg.Dir, math.MaxInt64/2, recordHeaderSize, math.MaxInt32,
		q.cfg.SyncEvery, q.cfg.SyncTimeout, func(l diskqueue.LogLevel, f string, args ...any) {
			if l < diskqueue.WARN {
				return
			}
			q.report(fmt.Sprintf(f, args...))
			select {
			case g.trouble <- struct{}{}:
			default:
			}
		})
}

func (q *Queue) report(text string) {
	if q.cfg.Report != nil {
		q.cfg.Report(text)
	}
}

// park closes a generation that is neither written to nor read from.
func (q *Queue) park(g *generation) error {
	if g.dq == nil {
		return nil
	}
	err := g.dq.Close()
	g.dq = nil
	if err != nil {
		return fmt.Errorf("closing disk queue %s: %w", q.fileName(g), err)
	}
	return nil
}

// Records is the number of records in the queue.
func (q *Queue) Records() int {
	n := 0
	for _, g := range q.gens {
		n += int(g.records)
	}
	return n
}

// Bytes is about how many bytes the queue has on disk. It looks at no file.
func (q *Queue) Bytes() int64 {
	n := int64(0)
	for _, g := range q.gens {
		n += g.size
	}
	return n
}

// sizesIn is how many bytes each generation in a directory has in its data file;
// one that cannot be looked at counts as nothing.
func sizesIn(dir string) map[string]int64 {
	entries, _ := os.ReadDir(dir)
	sizes := make(map[string]int64)
	for _, e := range entries {
		name, rest, ok := strings.Cut(e.Name(), dataInfix)
		if info, err := e.Info(); ok && err == nil && dataInfix+rest != metaSuffix {
			sizes[name] += info.Size()
		}
	}
	return sizes
}

// SizeOf is how many bytes all queues in a directory have on disk.
func SizeOf(dir string) (n int64) {
	for _, size := range sizesIn(dir) {
		n += size
	}
	return n
}

// Append adds a record with the frames of count messages at the end.
func (q *Queue) Append(frames []byte, count int) error {
	last := len(q.gens) - 1
	if last < 0 || q.gens[last].written >= q.cfg.FileBytes {
		if last > 0 { // the first is being read
			if err := q.park(q.gens[last]); err != nil {
				return err
			}
		}
		q.gens = append(q.gens, &generation{number: q.next})
		q.next++
		last++
	}
	return q.put(q.gens[last], frames, count)
}

// Prepend returns a queue that puts records before all others of q, in the
// order in which they are appended to it. It must be closed before q is used.
func (q *Queue) Prepend() *Queue {
	number := q.next - 1
	if len(q.gens) > 0 {
		number = q.gens[0].number - 1
	}
	front := &generation{number: number}
	q.gens = slices.Insert(q.gens, 0, front)
	cfg := q.cfg
	cfg.FileBytes = math.MaxInt64 // one generation, however large
	return &Queue{cfg: cfg, name: q.name, gens: []*generation{front}}
}

func (q *Queue) put(g *generation, payload []byte, count int) error {
	if g.dq == nil {
		if err := os.MkdirAll(q.cfg.Dir, 0o700); err != nil {
			return fmt.Errorf("writing to disk queue %s: %w", q.fileName(g), err)
		}
	}
	q.open(g)
	buf := records.Get().(*[]byte)
	*buf = appendRecord((*buf)[:0], payload, count)
	err := g.dq.Put(*buf) // returns when the record is written
	if cap(*buf) <= 1<<20 {
		records.Put(buf)
	}
	if err != nil {
		return fmt.Errorf("writing to disk queue %s: %w", q.fileName(g), err)
	}
	g.records++
	g.written += int64(len(payload))
	g.size += int64(len(payload)) + recordHeaderSize + 4 // go-diskqueue's length of it
	return nil
}

// Next takes the first record off the queue. The payload is the caller's. It
// returns ErrDamaged for a record that cannot be used, and ok false when there
// is none (left).
func (q *Queue) Next() (payload []byte, count int, ok bool, err error) {
	for len(q.gens) > 0 {
		g := q.gens[0]
		q.open(g)
		if record, ok := g.read(); ok {
			g.records--
			payload, count, err := parseRecord(record)
			if err != nil {
				return nil, 0, true, fmt.Errorf("disk queue %s: %w", q.fileName(g), err)
			}
			if err := q.reap(); err != nil {
				q.report(err.Error()) // a file too many is no reason to lose a record
			}
			return payload, count, true, nil
		}
		q.gens = q.gens[1:] // what go-diskqueue could not read, it has set aside
		if err := q.remove(g); err != nil {
			return nil, 0, false, err
		}
	}
	return nil, 0, false, nil
}

// read returns the next record; none is left when ok is false. When
// go-diskqueue meets damage it sets the file aside, says so and goes on, so
// its word on what is left is asked for again.
func (g *generation) read() (record []byte, ok bool) {
	for g.dq.Depth() > 0 {
		select {
		case record = <-g.dq.ReadChan():
			return record, true
		case <-g.trouble:
		}
	}
	return nil, false
}

// reap deletes the first generation once everything in it was read.
func (q *Queue) reap() error {
	if g := q.gens[0]; g.records <= 0 {
		q.gens = q.gens[1:]
		return q.remove(g)
	}
	return nil
}

func (q *Queue) remove(g *generation) error {
	q.open(g)
	err := errors.Join(g.dq.Empty(), g.dq.Delete())
	g.dq = nil
	if err != nil {
		return fmt.Errorf("deleting disk queue %s: %w", q.fileName(g), err)
	}
	return nil
}

// Purge deletes all records, on disk too. When it fails it can be tried again.
func (q *Queue) Purge() error {
	var errs []error
	q.gens = slices.DeleteFunc(q.gens, func(g *generation) bool {
		err := q.remove(g)
		errs = append(errs, err)
		return err == nil
	})
	return errors.Join(errs...)
}

// Rest lets go of what an open queue takes of the system: files, and a
// goroutine that wakes now and then. The next use takes them again.
func (q *Queue) Rest() error {
	var errs []error
	for _, g := range q.gens {
		errs = append(errs, q.park(g))
	}
	return errors.Join(errs...)
}

// Close closes the queue, with everything in it on the device. What was empty
// leaves no file.
func (q *Queue) Close() error {
	var errs []error
	for _, g := range q.gens {
		if g.records == 0 {
			errs = append(errs, q.remove(g))
		} else {
			errs = append(errs, q.park(g))
		}
	}
	return errors.Join(errs...)
}

// Path returns the path of a file of the queue, for messages to people.
func (q *Queue) Path() string { return filepath.Join(q.cfg.Dir, q.name) }
