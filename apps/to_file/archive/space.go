package archive

import (
	"errors"
	"syscall"
)

// ErrNoSpace says that the disk, or a quota on it, is full. It is the one
// failure of the disk after which an Archive goes on: what was appended since
// the last Sync is cut off the file again, the caller gives these messages
// back, waits, and tries Append, Rotate or Close again.
var ErrNoSpace = errors.New("no space left")

// ErrRemoved says that somebody has removed the file that was being written, or
// its directory. What was appended since the last Sync is nowhere, and the
// caller gives it back; the next Append begins another file.
var ErrRemoved = errors.New("somebody has removed the file")

// spaceError is an error of the disk that is ErrNoSpace. Its text is the
// system's, which says that already.
type spaceError struct{ error }

func (e spaceError) Is(target error) bool { return target == ErrNoSpace }
func (e spaceError) Unwrap() error        { return e.error }

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// failed remembers a failure that is final, and marks one that is not.
func (a *Archive) failed(err error) error {
	switch {
	case err == nil || errors.Is(err, ErrNoSpace) || errors.Is(err, ErrRemoved):
		return err
	case isNoSpace(err):
		return spaceError{err}
	}
	a.err = err
	return err
}
