package logs

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// patience is how long a write waits for the stream. A stream that takes longer is not
	// waited for until it has taken what it was given.
	patience = 100 * time.Millisecond
	// farewell is how long the end of a program waits for it.
	farewell = time.Second
	// maxWaiting are the bytes that wait for it in memory; what comes then is lost.
	maxWaiting = 1 << 20
)

// Outlet writes to a stream, such as standard error, that whoever reads it may stop reading:
// a write to a full pipe would never return. A Write returns when the stream has what was
// written, so that a crash after it loses nothing; or, if the stream does not take it, after
// 100 ms, and without any wait until the stream takes something again. Up to 1 MiB
// waits; what is beyond that is lost, counted, and told when it can be. It is safe for
// concurrent use.
type Outlet struct {
	stream io.Writer
	wake   chan struct{} // to the writing goroutine; has room for one
	ended  chan struct{} // closed when that goroutine has returned

	mu      sync.Mutex // guards below; never held while something is written
	waiting []byte
	taken   chan struct{} // closed when waiting has been written
	stuck   bool
	lost    int // lines
	closed  bool
	loss    func(to io.Writer, lines int)
	closers []func()
}

// NewOutlet returns an Outlet for stream. The caller must Close it.
func NewOutlet(stream io.Writer) *Outlet {
	o := &Outlet{
		stream: stream, wake: make(chan struct{}, 1), ended: make(chan struct{}), taken: make(chan struct{}),
		loss: func(to io.Writer, lines int) { fmt.Fprintf(to, "%d lines are lost: nobody took them in time\n", lines) },
	}
	go o.run()
	return o
}

// Layer is a writer that passes what is written on to a stream, as an Outlet does.
type Layer interface{ Stream() io.Writer }

// outletOf is the Outlet that w is, or passes on to; nil if there is none.
func outletOf(w io.Writer) *Outlet {
	for {
		if o, ok := w.(*Outlet); ok {
			return o
		}
		layer, ok := w.(Layer)
		if !ok {
			return nil
		}
		w = layer.Stream()
	}
}

// Stream implements Layer.
func (o *Outlet) Stream() io.Writer { return o.stream }

// Write implements io.Writer. It does not fail: nobody could do anything about it.
func (o *Outlet) Write(p []byte) (int, error) {
	o.mu.Lock()
	if o.closed || len(o.waiting) > 0 && len(o.waiting)+len(p) > maxWaiting {
		o.lost += bytes.Count(p, newline)
		o.mu.Unlock()
		return len(p), nil
	}
	o.waiting = append(o.waiting, p...)
	taken, wait := o.taken, !o.stuck
	o.mu.Unlock()
	o.rouse()
	if wait {
		o.await(taken)
	}
	return len(p), nil
}

var newline = []byte{'\n'}

func (o *Outlet) rouse() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *Outlet) await(taken <-chan struct{}) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-taken:
	case <-limit.C:
		o.mu.Lock()
		defer o.mu.Unlock()
		select {
		case <-taken: // just now
		default:
			o.stuck = true
		}
	}
}

// run writes until the Outlet is closed and nothing waits.
func (o *Outlet) run() {
	defer close(o.ended)
	for range o.wake {
		works := false
		for batch, taken := o.take(); batch != nil; batch, taken = o.take() {
			works = o.pass(batch)
			close(taken)
		}
		if works {
			o.tellLoss()
		}
		if o.done() {
			return
		}
	}
}

// take returns what waits, nil if nothing does, and what to close when it has been written.
func (o *Outlet) take() (batch []byte, taken chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	batch, taken = o.waiting, o.taken
	if batch != nil {
		o.waiting, o.taken = nil, make(chan struct{})
	}
	return batch, taken
}

// pass writes batch and reports whether the stream has taken it. If not, its lines are lost.
func (o *Outlet) pass(batch []byte) bool {
	n, err := o.stream.Write(batch)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stuck = false
	if err != nil {
		o.lost += bytes.Count(batch[n:], newline)
	}
	return err == nil
}

// tellLoss writes that lines were lost, if any were: the stream takes something again.
func (o *Outlet) tellLoss() {
	o.mu.Lock()
	lost, loss := o.lost, o.loss
	o.lost = 0
	o.mu.Unlock()
	if lost == 0 {
		return
	}
	var line bytes.Buffer
	loss(&line, lost)
	if !o.pass(line.Bytes()) {
		o.mu.Lock()
		o.lost += lost - 1 // the line itself was counted
		o.mu.Unlock()
	}
}

func (o *Outlet) done() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed && len(o.waiting) == 0
}

// beforeClose has f called when the Outlet closes, while it can still be written to.
func (o *Outlet) beforeClose(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closers = append(o.closers, f)
}

// tellLossBy has tell write the line that says how many were lost.
func (o *Outlet) tellLossBy(tell func(to io.Writer, lines int)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.loss = tell
}

// Close ends the Outlet when what waits has been written, or after a second: a stream that
// takes nothing does not keep a program from ending. What is written to it later is lost.
func (o *Outlet) Close() {
	o.mu.Lock()
	closers := o.closers
	o.closers = nil
	o.mu.Unlock()
	for _, f := range closers {
		f()
	}
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.rouse()
	limit := time.NewTimer(farewell)
	defer limit.Stop()
	select {
	case <-o.ended:
	case <-limit.C: // its goroutine ends with the process
	}
}
