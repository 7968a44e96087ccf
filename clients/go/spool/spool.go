// Package spool keeps what a Writer could not deliver on disk, through
// nsqio/go-diskqueue, so that a publisher outlives an outage of every daemon:
//
//	kept, err := spool.Open(spool.Config{Dir: "/var/spool/orders", MaxBytes: 10 << 30})
//	…
//	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: daemons, Spool: kept})
//
// A record is on the device when Put returns nil. What was not dropped comes
// again after a crash, in the order in which it was put.
//
// # Files
//
// A Spool is a row of go-diskqueue queues, its generations, named spool-NUMBER. Each
// is written once, until it has 16 MiB or is to be read, then read once, and
// deleted when everything in it was dropped. That keeps go-diskqueue
// from ever changing files by itself: version 1.1.0, when it starts a new file
// while its reader has read ahead to the end of the old one, takes the end for
// damage and sets the file aside.
//
// Where reading has got to is written down by closing a queue, and by nothing
// else: it is opened so that it never syncs on its own. So a record that
// go-diskqueue has handed over is still there after a crash, until Drop. What it
// writes is synced here, since it would do so only after it has answered, and would
// only log that it could not.
package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
)

// errInUse is what the second who opens a directory gets.
var errInUse = errors.New("it is in use by another Writer: each needs a directory of its own")

// MaxRecord is the longest record, in bytes.
const MaxRecord = 256 << 20

// generationBytes is how large a generation becomes before the next one begins.
const generationBytes = 16 << 20

var (
	// ErrFull is returned by Put beyond Config.MaxBytes.
	ErrFull = errors.New("the spool is full")
	// ErrClosed is returned by all methods once Close was called.
	ErrClosed = errors.New("the spool is closed")
)

// Config says where a Spool is and how large it may become.
type Config struct {
	// Dir is made if it is not there. One Spool at a time has it.
	Dir string

	// MaxBytes bounds the records that were not dropped, in bytes of their files; 0 is no
	// bound. Files can be up to 16 MiB larger, since they are deleted whole.
	MaxBytes int64

	Log *slog.Logger // of what is damaged; nil discards
}

// Spool is a millrace.Spool on a directory. Its methods are called by one
// goroutine at a time; Len and Bytes at any time.
type Spool struct {
	Config
	dir  *os.File // locked while the Spool is open
	gens []*generation
	next int

	writing *generation // the last of gens, open for Put; nil if there is none
	roll    int64       // bytes of a generation behind which the next one begins
	peeked  []byte      // nil if nothing is

	records, bytes atomic.Int64 // not dropped
}

// Open opens the Spool in a directory, with what an earlier one left there. It
// fails if the directory is in use.
func Open(c Config) (*Spool, error) {
	s, err := open(c)
	if err != nil {
		return nil, fmt.Errorf("opening the spool in %s: %w", c.Dir, err)
	}
	return s, nil
}

func open(c Config) (_ *Spool, err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	// go-diskqueue takes a path for a format.
	if c.Dir == "" || strings.Contains(c.Dir, "%") {
		return nil, errors.New("the directory's path must not be empty, nor have a % in it")
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	s := &Spool{Config: c, roll: generationBytes}
	if s.dir, err = lock(c.Dir); err != nil {
		return nil, err
	}
	if err := s.find(); err != nil {
		return nil, errors.Join(err, s.dir.Close())
	}
	return s, nil
}

// find takes in the generations that are there.
func (s *Spool) find() error {
	numbers, err := numbersIn(s.Dir)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		g := &generation{dir: s.Dir, number: n, log: s.Log}
		if err := g.find(); err != nil {
			return err
		}
		s.next = n + 1
		if g.records == 0 {
			if err := g.remove(); err != nil {
				return err
			}
			continue
		}
		s.gens = append(s.gens, g)
		s.count(g.records, g.bytes())
	}
	return nil
}

func (s *Spool) count(records int, bytes int64) {
	s.records.Add(int64(records))
	s.bytes.Add(bytes)
}

// Len is how many records there are.
func (s *Spool) Len() int { return int(s.records.Load()) }

// Bytes is how many bytes they take.
func (s *Spool) Bytes() int64 { return s.bytes.Load() }

// Put appends a record. It is on the device when Put returns nil; if Put returns an
// error, it is not in the Spool.
func (s *Spool) Put(record []byte) error {
	if s.dir == nil {
		return ErrClosed
	}
	if len(record) > MaxRecord {
		return fmt.Errorf("putting into the spool in %s: a record of %d bytes is longer than %d", s.Dir, len(record), MaxRecord)
	}
	size := int64(len(record)) + overhead
	if used := s.Bytes(); s.MaxBytes > 0 && used+size > s.MaxBytes {
		return fmt.Errorf("putting into the spool in %s: %w: %d of %d bytes are used", s.Dir, ErrFull, used, s.MaxBytes)
	}
	if err := s.put(record); err != nil {
		return fmt.Errorf("putting into the spool in %s: %w", s.Dir, err)
	}
	s.count(1, size)
	return nil
}

func (s *Spool) put(record []byte) error {
	if s.writing != nil && s.writing.end >= s.roll {
		if err := s.seal(); err != nil {
			return err
		}
	}
	var err error
	created := s.writing == nil
	if created {
		s.writing = &generation{dir: s.Dir, number: s.next, log: s.Log, sound: true}
		s.gens = append(s.gens, s.writing)
		s.next++
		err = s.writing.note() // so that there is room for it when there is room for nothing else
	}
	if err == nil {
		err = s.writing.put(record)
	}
	if err == nil && created {
		err = s.dir.Sync()
	}
	if err != nil {
		return errors.Join(err, s.retract())
	}
	s.writing.keep()
	return nil
}

// retract takes back the record that could not be put for certain.
func (s *Spool) retract() error {
	g := s.writing
	s.writing = nil
	if g.records > 0 {
		return g.retract()
	}
	s.gens = s.gens[:len(s.gens)-1]
	return g.remove()
}

// seal ends the generation that is written to.
func (s *Spool) seal() error {
	g := s.writing
	s.writing = nil
	return g.close()
}

// Peek returns the oldest record, or nil if there is none. It is valid until the
// next call, and stays there until Drop. A record that is not as it was
// put is logged and passed over.
func (s *Spool) Peek() ([]byte, error) {
	if s.dir == nil {
		return nil, ErrClosed
	}
	for s.peeked == nil && len(s.gens) > 0 {
		if err := s.peek(); err != nil {
			return nil, fmt.Errorf("reading the spool in %s: %w", s.Dir, err)
		}
	}
	return s.peeked, nil
}

// peek gets a record, or does away with something that stands before it.
func (s *Spool) peek() error {
	g := s.gens[0]
	if g == s.writing {
		if err := s.seal(); err != nil {
			return err
		}
	}
	if !g.sound {
		records, bytes := g.records, g.bytes()
		if err := g.check(); err != nil {
			return err
		}
		s.count(g.records-records, g.bytes()-bytes)
	}
	if g.records == 0 { // what there was is set aside
		s.gens = s.gens[1:]
		return g.remove()
	}
	record, err := g.read()
	if err != nil {
		return err
	}
	payload, err := parseRecord(record)
	s.peeked = payload
	if err != nil {
		s.Log.Error("a record of the spool is damaged and passed over", "file", g.path(), "bytes", len(record))
		return s.drop()
	}
	return nil
}

// Drop removes the record that Peek returned. If it returns an error, the record is
// gone all the same, but comes again after a crash.
func (s *Spool) Drop() error {
	switch {
	case s.dir == nil:
		return ErrClosed
	case s.peeked == nil:
		return fmt.Errorf("dropping from the spool in %s: nothing was peeked at", s.Dir)
	}
	if err := s.drop(); err != nil {
		return fmt.Errorf("dropping from the spool in %s: %w", s.Dir, err)
	}
	return nil
}

func (s *Spool) drop() error {
	g := s.gens[0]
	before := g.bytes()
	s.peeked = nil
	g.drop()
	s.count(-1, g.bytes()-before)
	if g.records > 0 {
		return g.close()
	}
	s.gens = s.gens[1:]
	return g.remove()
}

// Close closes the Spool. Everything that was not dropped is there when it is
// opened again.
func (s *Spool) Close() error {
	if s.dir == nil {
		return ErrClosed
	}
	var errs []error
	for _, g := range s.gens {
		if g == s.writing {
			errs = append(errs, g.close())
		} else {
			errs = append(errs, g.abandon())
		}
	}
	errs = append(errs, s.dir.Close())
	s.dir, s.gens, s.writing, s.peeked = nil, nil, nil, nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the spool in %s: %w", s.Config.Dir, err)
	}
	return nil
}

// numbersIn returns the numbers of the generations that have any file, in order. It
// does away with files that were being written down.
func numbersIn(dir string) (numbers []int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "spool-") && strings.HasSuffix(e.Name(), ".tmp") {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
			continue
		}
		var n int
		name, _, ok := strings.Cut(e.Name(), ".")
		if _, err := fmt.Sscanf(name, "spool-%d", &n); ok && err == nil && name == nameOf(n) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), nil
}
