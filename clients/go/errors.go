package millrace

import (
	"errors"
	"fmt"
	"strings"
)

// ErrClosed is returned by a Writer's methods once Close was called, and by
// Reader.Run and Reader.Messages of a Reader closed before.
var ErrClosed = errors.New("the client is closed")

// ErrAnswerLater is what a Handler returns to keep its message in flight:
// somebody calls the message's Finish or Requeue later. If nobody does, the
// daemon delivers it again after its message timeout.
var ErrAnswerLater = errors.New("the message is answered later")

// ErrMismatch is in errors of connections that fail for what they were asked to be: TLS that
// the daemon does not offer, a certificate that one side does not believe, AUTH without a
// secret, the address of something that is no daemon. Trying again, which Readers and Writers
// do, helps once somebody has changed something at either end.
var ErrMismatch = errors.New("the connection is not as it was asked for")

// mismatch makes an error one that is ErrMismatch, too. It reads as before.
type mismatch struct{ error }

func (m mismatch) Unwrap() error { return m.error }

func (m mismatch) Is(target error) bool { return target == ErrMismatch }

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

// Retryable reports true: it can be published again if a duplicate does no harm.
func (e *UncertainError) Retryable() bool { return true }

// UnavailableError says that a publish is certainly not stored, because no
// daemon took it for as long as it was tried: none could be reached, or those that were
// had no room. Publishing it again later may succeed.
type UnavailableError struct {
	Topic string
	Err   error // the last daemon's reason, and a context's error if that ended the trying
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("publish to %s was not stored: %v", e.Topic, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Retryable reports true: it can be published again, and is then stored once.
func (e *UnavailableError) Retryable() bool { return true }

// RefusedError says that a publish is certainly not stored, and would be refused
// again: a name out of rule, a message that is empty or too large, a right that is missing.
type RefusedError struct {
	Topic   string
	Address string // the daemon that refused it; "" if the client did
	Err     error  // a *protocol.Error if a daemon did
}

func (e *RefusedError) Error() string {
	if e.Address == "" {
		return fmt.Sprintf("publish to %s was refused: %v", e.Topic, e.Err)
	}
	return fmt.Sprintf("publish to %s was refused by %s: %v", e.Topic, e.Address, e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// Retryable reports false.
func (e *RefusedError) Retryable() bool { return false }

// PanicError is what a handler's panic is reported as. Its message is requeued.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("the handler panicked: %v", e.Value) }

// reasons are several errors on one line.
type reasons []error

// because joins those errors that are not nil.
func because(errs ...error) error {
	var all reasons
	for _, err := range errs {
		if err != nil {
			all = append(all, err)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

func (r reasons) Error() string {
	var text strings.Builder
	for i, err := range r {
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(err.Error())
	}
	return text.String()
}

func (r reasons) Unwrap() []error { return r }
