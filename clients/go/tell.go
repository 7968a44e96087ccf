package millrace

import "runtime/debug"

// generation is what was accepted between two calls of Flush.
type generation struct {
	left    int           // batches without an outcome, or whose callbacks have not returned
	reached chan struct{} // closed when it and all before it have none left
}

// afterwards is what is to be done once mu is released.
type afterwards struct {
	waiters   []decided
	published []Published
	lost      []*lane // to be ended
}

type decided struct {
	wait *waiter
	err  error
}

// unlock releases mu and then does what must not be done under it.
func (w *Writer) unlock() {
	if len(w.after.waiters) == 0 && len(w.after.published) == 0 && len(w.after.lost) == 0 {
		w.mu.Unlock()
		return
	}
	after := w.after
	w.after = afterwards{}
	w.mu.Unlock()
	for _, p := range after.published {
		w.config.OnPublish(p)
	}
	for _, v := range after.waiters {
		v.wait.outcome <- v.err
	}
	for _, l := range after.lost {
		_ = l.fail(errNotNeeded)
	}
}

// outcome is what has become of a batch whose callbacks are to be called.
type outcome struct {
	batch *pubBatch
	err   error
}

// tell calls the callbacks of asynchronous publishes, until there will be none.
func (w *Writer) tell() {
	var told []outcome
	for {
		w.mu.Lock()
		for i, o := range told {
			w.forgetLocked(o.batch)
			told[i] = outcome{}
		}
		told, w.told = w.told, told[:0]
		end := w.noMore && len(told) == 0
		w.unlock()
		if end {
			return
		}
		for _, o := range told {
			for i := 0; i < len(o.batch.entries); {
				i = w.tellFrom(i, o)
			}
		}
		if len(told) == 0 {
			<-w.outcomes
		}
	}
}

// tellFrom calls the callbacks of a batch from an entry on. If one panics it
// returns the index of the next. Some state of the program's is not what it should
// be then, but the other publishes' outcomes are as true as before.
func (w *Writer) tellFrom(i int, o outcome) (next int) {
	var e *entry
	defer func() {
		if e == nil {
			return
		}
		p := recover()
		w.config.Log.Error("a callback of a publish panicked", "topic", o.batch.topic, "panic", p, "stack", string(debug.Stack()))
		w.toldOne(e.size)
		next = i + 1
	}()
	for ; i < len(o.batch.entries); i++ {
		if o.batch.entries[i].done == nil {
			continue
		}
		e = &o.batch.entries[i]
		e.done(o.err)
		w.toldOne(e.size)
		e = nil
	}
	return i
}

func (w *Writer) toldOne(l load) {
	if w.room.tell(l) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.room.grant()
	}
}
