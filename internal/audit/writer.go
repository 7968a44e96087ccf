package audit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/internal/httpapi"
)

const (
	mostWaiting = 4 << 20 // bytes of lines that wait for the disk: ten thousand or so
	mostAtOnce  = 256 << 10
	firstPause  = 100 * time.Millisecond // after a write that failed
	mostPause   = 5 * time.Second
	endPatience = time.Second // for what is left when the daemon ends

	// What was refused, or failed before it changed anything, anybody can have happen as
	// often as he likes: beyond so many a second there is no line for it.
	mostVain = 20
)

// Writer writes the audit log of a daemon. Put never waits for the disk: lines wait in
// memory, for less than a millisecond as a rule, and if the disk takes none until there
// are too many of them. Then they are lost, which is counted, logged, and said in the
// file itself once it can be. A nil Writer writes nothing.
type Writer struct {
	node string // who writes
	file *File  // Run's, once it runs
	log  *slog.Logger

	sparing *httpapi.Sparing

	mu     sync.Mutex // guards what follows; never held across I/O
	queue  []byte     // whole lines
	inHand int        // bytes that Run has taken and not yet written
	number uint64
	lines  uint64 // written
	lost   uint64
	failed uint64 // writes
	gap    gap
	vain   vain
	reopen bool
	ended  bool
	more   chan struct{} // of capacity 1: there is something in the queue, or to be done
}

// gap is lines that are missing.
type gap struct {
	lines       uint64
	first, last time.Time
}

// vain is what has been done in vain within a second.
type vain struct {
	second   int64
	written  int
	unlogged uint64
}

// Counts is what became of lines since the start.
type Counts struct {
	Written  uint64
	Lost     uint64 // because the file could not be written and too many waited, or at the end
	Failures uint64 // of writes; what they were for may have been written later
	Waiting  int    // bytes that are not written yet
}

// Open opens the audit file of a daemon, which others reach at node. It must be Run,
// which closes it, or Closed. An empty path is no audit log, and a nil Writer.
func Open(path, node string, log *slog.Logger) (*Writer, error) {
	if path == "" {
		return nil, nil
	}
	f, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	return &Writer{node: node, file: f, log: log, sparing: httpapi.NewSparing(log), more: make(chan struct{}, 1)}, nil
}

// Put has an entry written, whose number and, unless they are set, time and node are
// given to it here. It never waits.
func (w *Writer) Put(e Entry) {
	if w == nil {
		return
	}
	e = e.Bounded()
	if e.At.IsZero() {
		e.At = time.Now()
	}
	for i := range e.Results {
		if e.Results[i].Node == "" {
			e.Results[i].Node = w.node
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.worth(&e) {
		return
	}
	w.closeGap(e.At)
	w.put(&e)
}

// worth reports whether there is to be a line for e. What was left out is told with
// the next of its kind. It needs mu, as all below do unless they say otherwise.
func (w *Writer) worth(e *Entry) bool {
	if !e.vain() {
		return true
	}
	if second := e.At.Unix(); second != w.vain.second {
		w.vain.second, w.vain.written = second, 0
	}
	if w.vain.written == mostVain {
		w.vain.unlogged++
		return false
	}
	w.vain.written++
	e.Unlogged, w.vain.unlogged = w.vain.unlogged, 0
	return true
}

// closeGap says in the file what is missing in it, once there is room for more than
// that.
func (w *Writer) closeGap(now time.Time) {
	if w.gap.lines == 0 || len(w.queue)+w.inHand > mostWaiting/2 {
		return
	}
	g := w.gap
	w.gap = gap{}
	w.put(&Entry{
		At: now, Via: Itself, Action: "audit-gap", Done: true, Unlogged: g.lines,
		Detail: fmt.Sprintf("lines are missing, from %s to %s: the file could not be written, and too many waited",
			g.first.UTC().Format(time.RFC3339Nano), g.last.UTC().Format(time.RFC3339Nano)),
		Results: []Result{{Node: w.node, OK: true}},
	})
}

// put queues an entry, or counts it as lost.
func (w *Writer) put(e *Entry) {
	w.number++
	e.Number = w.number
	line, err := e.Line()
	if err != nil || w.ended || len(w.queue)+w.inHand+len(line)+1 > mostWaiting {
		w.lost++
		if w.gap.lines == 0 {
			w.gap.first = e.At
		}
		w.gap.lines++
		w.gap.last = e.At
		return
	}
	w.queue = append(append(w.queue, line...), '\n')
	w.wake()
}

func (w *Writer) wake() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// Reopen has the file opened anew before the next line, also if that is not where it
// was: it is there soon after, empty or not. A nil Writer does nothing. It needs no mu.
func (w *Writer) Reopen() {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.reopen = true
	w.mu.Unlock()
	w.wake()
}

// Counts tells what became of lines. It needs no mu.
func (w *Writer) Counts() (c Counts) {
	if w == nil {
		return c
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return Counts{Written: w.lines, Lost: w.lost, Failures: w.failed, Waiting: len(w.queue) + w.inHand}
}

// Close closes the file of a Writer that will not be Run.
func (w *Writer) Close() error {
	if w == nil {
		return nil
	}
	return w.file.Close()
}

// Run writes what is put until ctx ends, then what is left if the disk takes it within a
// second, and closes the file. It needs no mu.
func (w *Writer) Run(ctx context.Context) {
	if w == nil {
		return
	}
	defer w.close()
	defer context.AfterFunc(ctx, func() { w.file.Hurry(time.Now().Add(endPatience)) })()
	var hand []byte // taken from the queue
	for pause := firstPause; ; {
		w.openAnew()
		hand = w.take(hand)
		if len(hand) == 0 {
			select {
			case <-w.more:
				continue
			case <-ctx.Done():
			}
			if hand = w.take(hand); len(hand) == 0 {
				return
			}
		}
		n, err := w.write(hand)
		hand = hand[n:]
		if err == nil {
			pause = firstPause
			continue
		}
		w.sparing.Warn("cannot write the audit file: lines wait, and are lost if they become too many", "error", err, "bytes", w.Counts().Waiting)
		if ctx.Err() != nil {
			w.abandon(hand)
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, mostPause)
	}
}

// take returns what is to be written next: what is in hand already, or all that waits.
func (w *Writer) take(hand []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(hand) == 0 {
		w.closeGap(time.Now())
		hand, w.queue = w.queue, nil
		w.inHand = len(hand)
	}
	return hand
}

// write writes the beginning of lines, and returns how much of them it has.
func (w *Writer) write(lines []byte) (n int, err error) {
	if len(lines) > mostAtOnce {
		lines = lines[:bytes.LastIndexByte(lines[:mostAtOnce], '\n')+1]
	}
	n, err = w.file.Append(lines)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inHand -= n
	// #nosec G115 -- a count, never negative
	w.lines += uint64(bytes.Count(lines[:n], []byte{'\n'}))
	if err != nil {
		w.failed++
	}
	return n, err
}

// openAnew does what Reopen asks for.
func (w *Writer) openAnew() {
	w.mu.Lock()
	reopen := w.reopen
	w.reopen = false
	w.mu.Unlock()
	if !reopen {
		return
	}
	if err := w.file.Reopen(); err != nil {
		w.sparing.Warn("cannot open the audit file anew: the old one stays in use", "error", err)
	}
}

// abandon counts as lost what cannot be written any more.
func (w *Writer) abandon(hand []byte) {
	w.mu.Lock()
	lost := bytes.Count(hand, []byte{'\n'}) + bytes.Count(w.queue, []byte{'\n'})
	w.queue, w.inHand = nil, 0
	// #nosec G115 -- a count, never negative
	w.lost += uint64(lost)
	w.mu.Unlock()
	w.log.Error("the audit file did not get all lines before the end", "count", lost)
}

func (w *Writer) close() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	if err := w.file.Close(); err != nil {
		w.log.Warn("cannot close the audit file", "error", err)
	}
}
