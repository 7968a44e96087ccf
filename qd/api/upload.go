package api

import (
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"

	"github.com/millrace-mq/millrace/internal/httpapi"
)

// upload is the body of a request, in memory that is used again.
type upload struct {
	body   []byte
	bodies [][]byte // the messages in it

	api   *api
	taken int64 // bytes of the budget of all bodies
}

var uploads = sync.Pool{New: func() any { return new(upload) }}

const (
	firstRead = 4 << 10 // bytes that every body may have, whatever others have taken

	// What is larger than this is left to the garbage collector.
	maxKeptBytes  = 1 << 20
	maxKeptBodies = 1 << 14

	// allBodies is how many bytes the bodies that are being received or stored may
	// have together, beyond the first of each; the process takes up to four times
	// that, with what they have outgrown and the collector's share. Several of the
	// largest there may be are always allowed for.
	allBodies  = 128 << 20
	allLargest = 8

	sliceBytes = 24 // of a slice's header
)

func bodyBudget(c Config) *httpapi.Budget {
	if c.BodyMemory > 0 {
		return httpapi.NewBudget(c.BodyMemory)
	}
	return httpapi.NewBudget(max(allBodies, allLargest*int64(c.MaxBodySize), allLargest*int64(c.MaxMsgSize)))
}

func (a *api) upload() *upload {
	u := uploads.Get().(*upload)
	u.api = a
	return u
}

// release gives the upload back. Nothing of it may be used any more.
func (u *upload) release() {
	if cap(u.body) > maxKeptBytes {
		u.body = nil
	}
	if cap(u.bodies) > maxKeptBodies {
		u.bodies = nil
	}
	clear(u.bodies)
	u.body, u.bodies = u.body[:0], u.bodies[:0]
	u.api.bodies.Give(u.taken)
	u.api, u.taken = nil, 0
	uploads.Put(u)
}

// take takes n bytes more of what all bodies may have.
func (u *upload) take(n int64) error {
	if u.api.bodies.Take(n) {
		u.taken += n
		return nil
	}
	u.body, u.bodies = nil, nil // not to be kept: nothing counts what is
	u.api.sparing.Warn("the bodies of requests take all the memory that they may have together")
	return httpapi.Errorf(http.StatusServiceUnavailable, "BUSY: too much is being published at once")
}

// read takes in the body of r, of limit bytes at most; tooBig is the code for
// one that is longer. Memory follows what has arrived, whatever the request
// announces: one that says a megabyte and sends nothing costs firstRead.
func (u *upload) read(r *http.Request, limit int, tooBig string) error {
	if r.ContentLength > int64(limit) {
		return tooLarge(tooBig)
	}
	for room := firstRead; ; {
		if len(u.body) == room {
			if err := u.take(int64(room)); err != nil {
				return err
			}
			room *= 2
		}
		if cap(u.body) < room {
			u.body = append(make([]byte, 0, room), u.body...) // exactly: slices.Grow takes up to a quarter more
		}
		n, err := r.Body.Read(u.body[len(u.body):min(room, limit+1)])
		u.body = u.body[:len(u.body)+n]
		switch {
		case len(u.body) > limit:
			return tooLarge(tooBig)
		case err == io.EOF:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			u.api.sparing.Warn("a client did not send its request in time", "path", r.URL.Path, "from", r.RemoteAddr)
			return httpapi.Errorf(http.StatusRequestTimeout, "TIMEOUT: the body has not come within %v", bodyTimeout)
		case err != nil: // of the client's making: it went away, or sent nonsense
			return errInternal
		}
	}
}

// messages makes room for so many messages.
func (u *upload) messages(count int) error {
	if count > maxKeptBodies { // of lines of a byte, the headers are much more than the lines
		if err := u.take(sliceBytes * int64(count)); err != nil {
			return err
		}
	}
	u.bodies = slices.Grow(u.bodies, count)
	return nil
}
