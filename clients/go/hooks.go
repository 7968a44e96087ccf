package millrace

import "time"

// Published is what a Writer tells OnPublish, before the publishers hear of it. It is
// called on whatever goroutine learns of the outcome, often one that reads a
// daemon's answers: it must not wait, and may be called by several at once.
type Published struct {
	Topic    string
	Address  string        // the daemon that it was sent to; "" if it was not sent, or went to the spool
	Messages int           // in the command
	Bytes    int           // of their bodies
	Took     time.Duration // from when the first of them was accepted to the answer
	Err      error         // nil if they are stored
}

// Handled is what a Reader tells OnHandled, on the goroutine that handled.
type Handled struct {
	Messages int           // 1, or a batch's
	Age      time.Duration // since the first of them was published, by the daemon's clock, when it was handed over
	Took     time.Duration // in the handler
	Err      error         // what the handler returned; a *PanicError if it panicked
}
