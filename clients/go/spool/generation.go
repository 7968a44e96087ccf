package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/nsqio/go-diskqueue"
)

// generation is one go-diskqueue queue. It has one data file, and beside it
// another with its positions, which are those of a new one until it is closed.
type generation struct {
	dir    string
	number int
	log    *slog.Logger

	dq      diskqueue.Interface // nil while it is closed
	trouble chan struct{}       // signalled when it reports an error

	records  int   // not dropped
	from     int64 // where they begin in the data file
	end      int64 // where they end
	reading  int64 // bytes of the record that was read last
	unnoted  int   // records dropped since the positions were written down
	noted    bool  // they were written down, and nothing was put since
	sound    bool  // the data is as it should be
	addition []byte
}

func nameOf(number int) string     { return fmt.Sprintf("spool-%012d", number) }
func (g *generation) bytes() int64 { return g.end - g.from }
func (g *generation) path() string {
	return filepath.Join(g.dir, nameOf(g.number)+".diskqueue.000000.dat")
}
func (g *generation) notes() string {
	return filepath.Join(g.dir, nameOf(g.number)+".diskqueue.meta.dat")
}

// open opens the queue so that it never changes files, nor writes its positions
// down, before it is closed.
func (g *generation) open() {
	if g.dq != nil {
		return
	}
	g.trouble = make(chan struct{}, 1)
	report := func(l diskqueue.LogLevel, f string, args ...any) {
		if l < diskqueue.WARN {
			return
		}
		g.log.Warn("trouble with a queue on disk", "detail", fmt.Sprintf(f, args...))
		select {
		case g.trouble <- struct{}{}:
		default:
		}
	}
	// Longer than a record is what check makes of several, damaged.
	g.dq = diskqueue.New(nameOf(g.number), g.dir, math.MaxInt64/2, headerSize, math.MaxInt32,
		math.MaxInt64, time.Duration(math.MaxInt64), report)
}

// put adds a record, which counts once keep is called.
func (g *generation) put(record []byte) error {
	g.open()
	g.addition = appendRecord(g.addition[:0], record)
	if err := g.dq.Put(g.addition); err != nil {
		return err
	}
	f, err := os.OpenFile(g.path(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (g *generation) keep() {
	g.end += lengthSize + int64(len(g.addition))
	g.records++
	g.noted = false
	if cap(g.addition) > 1<<20 {
		g.addition = nil
	}
}

// retract takes back what was put and not kept.
func (g *generation) retract() error {
	g.sound = false
	return errors.Join(g.abandon(), os.Truncate(g.path(), g.end))
}

// read returns the first record. After an error everything is as it was.
func (g *generation) read() (record []byte, err error) {
	g.open()
	for range g.unnoted + 1 {
		var ok bool
		if record, ok = g.receive(); !ok {
			return nil, errors.Join(fmt.Errorf("go-diskqueue cannot read %s: its log says why", g.path()), g.restore())
		}
	}
	g.reading = lengthSize + int64(len(record))
	return record, nil
}

// receive waits for a record. When go-diskqueue cannot read it sets the file
// aside, says so and goes on, so its word on what is left is asked for again.
func (g *generation) receive() (record []byte, ok bool) {
	for g.dq.Depth() > 0 {
		select {
		case record = <-g.dq.ReadChan():
			return record, true
		case <-g.trouble:
		}
	}
	return nil, false
}

// restore undoes what go-diskqueue does when it cannot read, if only because the process
// has no file left to open: the data is set aside, and the positions say that it has been read.
func (g *generation) restore() error {
	g.sound = false
	err := g.abandon()
	if aside := g.path() + ".bad"; !exists(g.path()) && exists(aside) {
		err = errors.Join(err, os.Rename(aside, g.path()))
	}
	return errors.Join(err, g.note())
}

// drop forgets the record that was read last. It is gone from the files after
// close.
func (g *generation) drop() {
	g.records--
	g.unnoted++
	g.from += g.reading
}

// close closes the queue, which writes its positions down.
func (g *generation) close() error {
	if g.dq == nil {
		return nil
	}
	err := g.dq.Close()
	g.dq = nil
	if err == nil {
		g.noted, g.unnoted = true, 0
		return nil
	}
	g.sweep()
	if g.note() == nil {
		return nil
	}
	g.sound = g.sound && g.noted // what was written last is the truth still, but for what was dropped since
	return err
}

// sweep removes what go-diskqueue leaves when it cannot write positions down.
func (g *generation) sweep() {
	left, _ := filepath.Glob(g.notes() + ".*.tmp") // fails for a bad pattern alone
	for _, path := range left {
		_ = os.Remove(path) // or when the Spool is opened
	}
}

// abandon closes the queue and leaves its positions as they were.
func (g *generation) abandon() error {
	if g.dq == nil {
		return nil
	}
	err := g.dq.Delete() // which deletes nothing
	g.dq = nil
	return err
}

// remove deletes the generation. The data goes first: without its positions, all of
// it would come again.
func (g *generation) remove() error {
	err := g.abandon()
	for _, path := range []string{g.path(), g.notes()} {
		if e := os.Remove(path); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
