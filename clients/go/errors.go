package millrace

import (
	"errors"
	"fmt"
)

// ErrClosed is returned by a Writer's methods once Close was called.
var ErrClosed = errors.New("the writer is closed")

// ErrAnswerLater is what a Handler returns to keep its message in flight:
// somebody calls the message's Finish or Requeue later. If nobody does, the
// daemon delivers it again after its message timeout.
var ErrAnswerLater = errors.New("the message is answered later")

// UncertainError says that a publish was sent and not answered: the messages
// may or may not have been stored. Publishing them again may store them twice.
type UncertainError struct {
	Address string // the daemon that they were sent to
	Err     error  // why no answer came; a context's error if the caller stopped waiting
}

func (e *UncertainError) Error() string {
	return fmt.Sprintf("publish to %s may or may not have been stored: %v", e.Address, e.Err)
}

func (e *UncertainError) Unwrap() error { return e.Err }

// notStoredError is how a connection fails a publish that the daemon certainly
// did not execute, and which may therefore be tried elsewhere.
type notStoredError struct {
	address string
	err     error
}

func (e *notStoredError) Error() string {
	return fmt.Sprintf("publish to %s was not stored: %v", e.address, e.err)
}

func (e *notStoredError) Unwrap() error { return e.err }
