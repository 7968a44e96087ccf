package millrace

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
)

// Seek moves the channel on every daemon that the Reader is connected to: to
// "earliest" or "latest", to the message with an ID, or to a time as in RFC 3339.
// Only Millrace's daemons can. The error, if any, says which daemons have not
// moved, or may not have, and why; the others have.
//
// What was delivered before stays so, and is to be answered. A daemon that is
// found later, or connected to again, is not moved.
func (r *Reader) Seek(ctx context.Context, place string) error {
	if place == "" || strings.ContainsAny(place, " \r\n") {
		return fmt.Errorf("seek: %q is no place: give earliest, latest, a message's ID or a time as in RFC 3339", place)
	}
	lines := r.current()
	if len(lines) == 0 {
		return errors.New("seek: no daemon is connected")
	}
	answers := make([]chan error, len(lines))
	errs := make([]error, len(lines))
	for i, l := range lines {
		answers[i] = make(chan error, 1)
		l.seek(place, answers[i])
	}
	for i, l := range lines {
		var err error
		select {
		case err = <-answers[i]:
		case <-ctx.Done():
			err = fmt.Errorf("not answered yet: %w", ctx.Err())
		}
		if err != nil {
			errs[i] = fmt.Errorf("seek to %s on %s: %w", place, l.address, err)
		}
	}
	return errors.Join(errs...)
}

var errCannotSeek = errors.New("the daemon does not know SEEK: only Millrace's qd does")

// seek says SEEK. The outcome is sent to answer, which has room for it.
func (l *line) seek(place string, answer chan<- error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.extension == nil || !l.extension.Seek:
		answer <- errCannotSeek
	case l.err != nil:
		answer <- l.err
	case l.phase != receiving:
		answer <- errors.New("the reader is ending")
	default:
		before := len(l.out)
		l.out = protocol.AppendSeek(l.out, place)
		l.appendedLocked(before, now)
		l.seeks.push(answer)
	}
}

// sought tells the first of those who wait for a SEEK its outcome. It reports
// false if nobody does.
func (l *line) sought(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	answer, ok := l.seeks.peek()
	if ok {
		l.seeks.drop()
		answer <- err
	}
	return ok
}

// failSeeks tells those who still wait why no answer comes any more.
func (l *line) failSeeks(err error) {
	for l.sought(fmt.Errorf("not answered: %w", err)) {
	}
}
