package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/record"
	"github.com/millrace-mq/millrace/apps/to_file/archive"
	millrace "github.com/millrace-mq/millrace/clients/go"
)

// How long a disk that was full is left alone until it is tried again. It grows
// twofold while the disk stays full, or is full again with the next batch.
const (
	firstPause = 500 * time.Millisecond
	longPause  = 5 * time.Second
)

// tellAgain is how often it is logged that the disk is still full.
const tellAgain = 10 * time.Minute

// lines is where a recorder puts messages: an archive.Archive.
type lines interface {
	Prepare() error
	Append(now time.Time, m record.Record) error
	Sync() error
	Rotate(now time.Time, skipEmpty bool) error
	Close() error
	Abandon()
}

// valve lets messages come, or keeps them back: a millrace.Reader.
type valve interface {
	Pause()
	Resume()
}

// recorder stands between the reader, which hands batches over with record and
// waits, and the files, which its run alone touches. While one batch is written
// and synced, the reader gathers the next, which is all that came meanwhile: so
// a sync is shared by the more messages the longer it takes.
type recorder struct {
	topic     string
	lines     lines
	room      func(bytes int) error // whether the disk has room again; ErrNoSpace if not
	valve     valve
	turns     turns         // shared with other recorders
	interval  time.Duration // how often a file's end is looked for that no message brings
	skipEmpty bool
	log       *slog.Logger

	batches chan []*millrace.Message
	written chan error    // what became of each batch
	over    chan struct{} // closed when run takes no more batches

	pause time.Duration // the next one; owned by run
}

// make completes a recorder.
func (r *recorder) make() *recorder {
	r.batches, r.written, r.over = make(chan []*millrace.Message), make(chan error), make(chan struct{})
	r.pause = firstPause
	return r
}

// errOver answers batches that come when the files are closed.
var errOver = errors.New("the files are closed")

// record returns nil once the batch is on the device. Otherwise none of it is
// to be counted as written.
func (r *recorder) record(batch []*millrace.Message) error {
	select {
	case r.batches <- batch:
		return <-r.written
	case <-r.over:
		return errOver
	}
}

// HandleBatch implements millrace.BatchHandler: what is not written goes back.
func (r *recorder) HandleBatch(_ context.Context, batch []*millrace.Message) error {
	if r.record(batch) != nil { // run tells why
		for _, m := range batch {
			m.Requeue(-1)
		}
	}
	return nil
}

// signals tell a recorder about the world around it.
type signals struct {
	hangup <-chan struct{} // each value: close the file, so that it can be moved away
	ended  <-chan struct{} // closed when no more messages come
}

// run writes what is handed over until ended is closed, or until the disk fails,
// which is the error it returns.
func (r *recorder) run(s signals) error {
	defer close(r.over)
	defer r.lines.Abandon()
	for {
		err := r.serve(s)
		switch {
		case errors.Is(err, archive.ErrRemoved):
			r.log.Warn("what is not in a file comes again, and goes to another one", "topic", r.topic, "error", err)
			continue
		case !errors.Is(err, archive.ErrNoSpace):
			return err
		case ended(s):
			// All is answered. What is finished and could not be moved is where the
			// next start finds it.
			r.log.Warn("the disk is full, the last file is left as it is until the next start", "error", err)
			return nil
		}
		if err := r.waitForRoom(s, err); err != nil {
			return err
		}
	}
}

func ended(s signals) bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// serve is run until something fails.
func (r *recorder) serve(s signals) error {
	tick := time.NewTicker(r.interval)
	defer tick.Stop()
	for {
		var err error
		select {
		case batch := <-r.batches:
			err = r.turns.do(func() error { return r.write(batch) })
			r.written <- err
		case <-tick.C:
			err = r.turns.do(func() error { return r.lines.Rotate(time.Now(), r.skipEmpty) })
		case <-s.hangup:
			err = r.turns.do(r.lines.Close)
		case <-s.ended:
			return r.turns.do(r.lines.Close)
		}
		if err != nil {
			return err
		}
	}
}

// write appends the batch and makes it safe.
func (r *recorder) write(batch []*millrace.Message) error {
	now := time.Now()
	for _, m := range batch {
		err := r.lines.Append(now, record.Record{ID: m.ID, Timestamp: m.Timestamp, Attempts: m.Attempts, Topic: r.topic, Body: m.Body})
		if err != nil {
			return err
		}
	}
	if err := r.lines.Sync(); err != nil {
		return err
	}
	r.pause = firstPause
	return nil
}

// waitForRoom keeps messages back until a full disk has room, or ended is closed. The disk
// is tried with a file of its own, and not with messages: each of their attempts
// would count. What was on its way goes back, where another program may have it.
func (r *recorder) waitForRoom(s signals, full error) error {
	since, told := time.Now(), time.Now()
	r.valve.Pause()
	r.log.Warn("the disk is full, consuming nothing until it has room", "topic", r.topic, "error", full)
	size := leastRoom
	for {
		size = r.refuse(s, size)
		if ended(s) {
			return nil
		}
		err := r.turns.do(func() error { return r.room(size) })
		if err == nil {
			break
		}
		if !errors.Is(err, archive.ErrNoSpace) {
			return err
		}
		if time.Since(told) >= tellAgain {
			r.log.Warn("the disk is still full, nothing is consumed", "topic", r.topic, "took", time.Since(since).Round(time.Second), "error", err)
			told = time.Now()
		}
	}
	r.log.Info("the disk has room again, consuming goes on", "topic", r.topic, "took", time.Since(since).Round(time.Millisecond))
	r.valve.Resume()
	return nil
}

// refuse answers batches with ErrNoSpace for as long as a pause is, or until ended
// is closed. It returns how many bytes the largest had, size at least: there must be room
// for as much before it is sent again.
func (r *recorder) refuse(s signals, size int) int {
	pause := time.NewTimer(r.pause)
	defer pause.Stop()
	r.pause = min(2*r.pause, longPause)
	for {
		select {
		case batch := <-r.batches:
			bytes := 0
			for _, m := range batch {
				bytes += len(m.Body)
			}
			size = max(size, bytes)
			r.written <- archive.ErrNoSpace
		case <-pause.C:
			return size
		case <-s.ended:
			return size
		}
	}
}
