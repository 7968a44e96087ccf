package cluster

import "errors"

// errUnsent marks an error of connecting: no byte of the request has been sent.
type errUnsent struct{ error }

func (e errUnsent) Unwrap() error { return e.error }

// Unsent reports whether err is of a request that certainly never reached the daemon,
// so that nothing can have been done. Of any other error but a *Refusal, that is not
// known.
func Unsent(err error) bool {
	_, unsent := errors.AsType[errUnsent](err)
	return unsent
}
