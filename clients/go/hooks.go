package millrace

import "time"

// Published is what a Writer tells OnPublish. It is called on the goroutine that
// reads a daemon's answers, and so must not wait.
type Published struct {
	Topic    string
	Address  string        // the daemon that answered; "" if none was reached
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
