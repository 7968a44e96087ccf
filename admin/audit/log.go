// Package audit remembers who changed what, when, from where and with which result:
// in memory for the page, in a file of JSON lines if there is one, and told to a
// webhook whose failure never stops anything. What an entry is, and the file, is
// internal/audit's, which all daemons share.
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/httpapi"
)

// Entry is something that was done, or refused.
type Entry = audit.Entry

// Result is what one daemon answered.
type Result = audit.Result

// Settings say what is kept and who is told.
type Settings struct {
	File    string // gets a line of JSON for each entry; empty: none
	Webhook string // an http or https URL that gets a POST for each entry that has ended; empty: none
	Keep    int    // entries in memory; 0: 10,000

	Transport http.RoundTripper // for the webhook; nil: http.DefaultTransport
}

const (
	defaultKeep = 10_000
	mostBytes   = 32 << 20    // of the entries in memory, whatever Keep says
	lateAfter   = time.Second // an entry that has not ended by then is in the file as it is
)

// Log is the audit log. Its methods never wait for a disk or a network: what is to
// be written and told is queued for Run. It is safe for concurrent use.
type Log struct {
	keep    int
	sparing *httpapi.Sparing
	file    *audit.File // nil: none
	lines   *outbox     // to the file; nil: none
	calls   *outbox     // to the webhook; nil: none

	mu      sync.Mutex               // guards what follows; never held across a send or I/O
	entries []*Entry                 // by number. What is pointed to never changes: it is replaced
	last    uint64                   // the highest number that was given
	bytes   int                      // what entries take
	refused int                      // how many of them were refused
	open    map[uint64]bool          // those that have not ended; true: the file has been told of it
	waiting map[uint64]chan struct{} // closed when the entry changes; 0: when any does
}

// New opens the log, and reads back what the file ends with. The error says which
// setting is wrong. Close it by running it.
func New(s Settings, log *slog.Logger) (*Log, error) {
	l := &Log{
		keep: s.Keep, sparing: httpapi.NewSparing(log),
		open: make(map[uint64]bool), waiting: make(map[uint64]chan struct{}),
	}
	if l.keep == 0 {
		l.keep = defaultKeep
	}
	var errs []error
	if l.keep < 0 {
		errs = append(errs, fmt.Errorf("audit-keep %d: must be positive", s.Keep))
	}
	if s.Webhook != "" {
		hook, err := newWebhook(s.Webhook, s.Transport)
		errs = append(errs, err)
		l.calls = newOutbox("audit webhook", hook.tell, false, l.sparing)
	}
	if s.File != "" && l.keep > 0 {
		back, err := readBack(s.File, l.keep, log)
		if err == nil {
			l.file, err = audit.OpenFile(s.File)
		}
		errs = append(errs, err)
		l.lines = newOutbox("audit file", l.write, true, l.sparing)
		l.take(back)
	}
	if err := errors.Join(errs...); err != nil {
		if l.file != nil {
			_ = l.file.Close()
		}
		return nil, err
	}
	return l, nil
}

// take takes in what an earlier process has left.
func (l *Log) take(back []*Entry) {
	for _, e := range back {
		l.last = e.Number
		l.add(e)
	}
	l.evict()
}

func (l *Log) write(_ context.Context, e *Entry) error {
	line, err := e.Line()
	if err != nil {
		return fmt.Errorf("encoding entry %d: %w: %w", e.Number, err, errGivenUp)
	}
	_, err = l.file.Append(append(line, '\n'))
	return err
}

// Run writes and tells what is logged until ctx ends; then it writes what is left,
// entries that have not ended as they are, and closes the file. The webhook gets
// nothing more. It returns nil.
func (l *Log) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	defer parts.Wait()
	if l.calls != nil {
		parts.Go(func() { l.calls.run(ctx) })
	}
	if l.lines == nil {
		<-ctx.Done()
		return nil
	}
	// The file's part ends after ours, which brings it what has not ended.
	lines, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	parts.Go(func() {
		l.lines.run(lines)
		if err := l.file.Close(); err != nil {
			l.sparing.Warn("cannot close the audit file", "error", err)
		}
	})
	l.watchOpen(ctx)
	return nil
}

// watchOpen has the file told of entries that take long, so that a crash in the midst
// of an action leaves a trace; and of all that are open when ctx ends.
func (l *Log) watchOpen(ctx context.Context) {
	defer l.writeOpen()
	tick := time.NewTicker(lateAfter)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.sparing.Settle()
			l.writeOpen()
		case <-ctx.Done():
			return
		}
	}
}

// writeOpen has the file told of entries that have not ended.
func (l *Log) writeOpen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for number, told := range l.open {
		if e := l.find(number); e != nil && !told {
			l.open[number] = true
			l.lines.put(*e)
		}
	}
}

// Begin logs an entry and returns its number, which with At, unless that is set, is
// given to it here. Texts that are too long are cut. One that was refused has ended
// with that.
func (l *Log) Begin(e Entry) uint64 {
	e = e.Bounded()
	if e.At.IsZero() {
		e.At = time.Now()
	}
	e.Done = e.Refused != ""
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	e.Number = l.last
	l.add(&e)
	if e.Done {
		l.finish(&e)
	} else {
		l.open[e.Number] = false
	}
	l.evict()
	l.wake(e.Number)
	return e.Number
}

// Result adds what a daemon has answered; in place of what was said of the daemon
// before, if something was, which then told how far it was. It is ignored if the entry
// has ended.
func (l *Log) Result(number uint64, r Result) {
	r = r.Bounded()
	l.replace(number, func(e *Entry) {
		at := slices.IndexFunc(e.Results, func(old Result) bool { return old.Node == r.Node })
		if at >= 0 && r.Node != "" {
			e.Results = slices.Clone(e.Results) // others may be looking at them
			l.bytes += resultSize(&r) - resultSize(&e.Results[at])
			e.Results[at] = r
			return
		}
		if len(e.Results) < audit.MostResults {
			// Whoever has an earlier version sees its own length of this array only.
			e.Results = append(e.Results, r)
			l.bytes += resultSize(&r)
		}
	})
}

// End says that all results are there.
func (l *Log) End(number uint64) {
	l.replace(number, func(e *Entry) {
		e.Done = true
		l.finish(e)
	})
}

// replace puts a changed version of an open entry in its place.
func (l *Log) replace(number uint64, change func(*Entry)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.open[number]; !open {
		return
	}
	at, _ := l.place(number)
	e := *l.entries[at]
	change(&e)
	l.entries[at] = &e
	l.evict()
	l.wake(number)
}

// finish needs mu, as all below do.
func (l *Log) finish(e *Entry) {
	delete(l.open, e.Number)
	if l.lines != nil {
		l.lines.put(*e)
	}
	// A receiver that was written for nsqadmin takes what it is told for done.
	if l.calls != nil && e.Refused == "" {
		l.calls.put(*e)
	}
}

func (l *Log) add(e *Entry) {
	l.entries = append(l.entries, e)
	l.bytes += size(e)
	if e.Refused != "" {
		l.refused++
	}
}

// evict drops the oldest that have ended, until the rest is within the bounds. Refused
// ones go first once they are half of all: who is refused again and again must not
// push out what was done.
func (l *Log) evict() {
	for len(l.entries) > l.keep || l.bytes > mostBytes {
		refusedFirst := l.refused > l.keep/2
		at := slices.IndexFunc(l.entries, func(e *Entry) bool { return e.Done && (!refusedFirst || e.Refused != "") })
		if at < 0 || len(l.entries) == 1 {
			return
		}
		e := l.entries[at]
		l.entries = slices.Delete(l.entries, at, at+1)
		l.bytes -= size(e)
		if e.Refused != "" {
			l.refused--
		}
	}
}

func (l *Log) place(number uint64) (at int, found bool) {
	return slices.BinarySearchFunc(l.entries, number, func(e *Entry, n uint64) int {
		switch {
		case e.Number < n:
			return -1
		case e.Number > n:
			return 1
		}
		return 0
	})
}

// size is about what an entry takes in memory.
func size(e *Entry) int {
	n := 400 + len(e.Who) + len(e.From) + len(e.UserAgent) + len(e.Action) + len(e.Topic) + len(e.Channel) + len(e.Node) +
		len(e.Detail) + len(e.URL) + len(e.Refused)
	for i := range e.Results {
		n += resultSize(&e.Results[i])
	}
	return n
}

func resultSize(r *Result) int { return 64 + len(r.Node) + len(r.Error) + len(r.Note) }

func (l *Log) find(number uint64) *Entry {
	if at, found := l.place(number); found {
		return l.entries[at]
	}
	return nil
}

func (l *Log) wake(number uint64) {
	for _, n := range []uint64{number, 0} {
		if c := l.waiting[n]; c != nil {
			close(c)
			delete(l.waiting, n)
		}
	}
}

// Get returns the entry with that number; false if there is none, or no more in
// memory. Its Results are shared and must not be changed.
func (l *Log) Get(number uint64) (Entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.find(number); e != nil {
		return shared(e), true
	}
	return Entry{}, false
}

// shared is a copy that can be appended to without harm.
func shared(e *Entry) Entry {
	c := *e
	c.Results = slices.Clip(c.Results)
	return c
}

// Changed returns a channel that is closed when the entry gets a result or ends; when
// any entry does, or is begun, if number is 0. Ask for it before Get or List, or what
// happens in between is missed. For an entry that has ended it is nil.
func (l *Log) Changed(number uint64) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.open[number]; !open && number != 0 {
		return nil
	}
	c := l.waiting[number]
	if c == nil {
		c = make(chan struct{})
		l.waiting[number] = c
	}
	return c
}
