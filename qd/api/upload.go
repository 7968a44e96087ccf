package api

import (
	"errors"
	"io"
	"math/bits"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/internal/httpapi"
)

// upload is the body of a request, in memory that is used again.
type upload struct {
	body   []byte   // in first, or in a buffer once it has outgrown that
	bodies [][]byte // the messages in it
	first  [firstRead]byte

	api   *api
	from  httpapi.Remote // who has taken what is taken
	taken int64          // bytes of the budget of all bodies
	ahead bool           // it may have what it needs, from what is set aside
}

const (
	firstRead = 4 << 10 // bytes that every body may have, whatever others have taken

	// What is larger than this is left to the garbage collector.
	maxKeptBytes  = 1 << 20
	maxKeptBodies = 256

	// allBodies is how many bytes the bodies that are being received or stored may
	// have together, beyond the first of each; one address has at most half. The
	// process takes up to four times that, with what they have outgrown and the
	// collector's share. Several of the largest there may be are always allowed for.
	allBodies  = 256 << 20
	allLargest = 16

	// Where there is not enough for a body, it waits, for so long, until others are
	// done. So that not all who have a part of theirs wait for each other, a few at
	// a time get what they need from what is set aside for it.
	bodyPatience = 30 * time.Second
	bodiesAhead  = 4

	sliceBytes = 24 // of a slice's header
)

// uploads and buffers are what is used again. A buffer is one of firstRead<<1,
// firstRead<<2, … bytes, so that who gets one has taken just as much of the
// budget: a small body must not sit in a large buffer that nobody counts.
var (
	uploads = sync.Pool{New: func() any { return new(upload) }}
	buffers [9]sync.Pool // of *[]byte, by the logarithm
)

func bufferClass(size int) int { return bits.Len(uint(size/firstRead)) - 1 }

func newBuffer(size int) []byte {
	if size <= maxKeptBytes {
		if b, ok := buffers[bufferClass(size)].Get().(*[]byte); ok {
			return *b
		}
	}
	return make([]byte, 0, size)
}

func keepBuffer(b []byte) {
	if size := cap(b); size > firstRead && size <= maxKeptBytes {
		kept := b[:0] // a parameter would be allocated for small ones too
		buffers[bufferClass(size)].Put(&kept)
	}
}

// bodyMemory is how many bytes the bodies of all requests may have together.
func (c *Config) bodyMemory() int64 {
	if c.BodyMemory > 0 {
		return c.BodyMemory
	}
	of := c.bounds()
	return max(allBodies, allLargest*int64(of.MaxBodySize), allLargest*int64(of.MaxMsgSize))
}

func (a *api) upload() *upload {
	u := uploads.Get().(*upload)
	u.api = a
	u.body = u.first[:0]
	return u
}

// release gives the upload back. Nothing of it may be used any more.
func (u *upload) release() {
	keepBuffer(u.body)
	clear(u.bodies)
	u.body, u.bodies = nil, u.bodies[:0]
	if cap(u.bodies) > maxKeptBodies {
		u.bodies = nil
	}
	if u.taken > 0 {
		u.api.bodies.Give(u.from, u.taken)
	}
	if u.ahead {
		<-u.api.ahead
	}
	u.api, u.taken, u.ahead = nil, 0, false
	uploads.Put(u)
}

// tryTake takes n bytes more of what all bodies may have, or returns false.
func (u *upload) tryTake(r *http.Request, n int) bool {
	if u.ahead {
		return true
	}
	if u.taken == 0 {
		u.from = httpapi.RemoteOf(r)
	}
	if !u.api.bodies.Take(u.from, int64(n)) {
		return false
	}
	u.taken += int64(n)
	return true
}

// take takes n bytes more, or refuses the request.
func (u *upload) take(r *http.Request, n int) error {
	if u.tryTake(r, n) {
		return nil
	}
	u.api.sparing.Warn("the bodies of requests take all the memory that they may have together, or that one address may have", "client", r.RemoteAddr)
	return httpapi.Errorf(http.StatusServiceUnavailable, "BUSY: too much is being published at once")
}

// await takes n bytes more, for which it waits a while if need be. ahead is where
// to get into those who need not wait; nil if that is not allowed.
func (u *upload) await(r *http.Request, n int, ahead chan<- struct{}) error {
	if u.tryTake(r, n) {
		return nil
	}
	u.api.bodies.AtLeast(u.api.bodyMemory()) // bodies may be larger since a reload
	patience := time.NewTimer(bodyPatience)
	defer patience.Stop()
	for {
		given := u.api.bodies.Given()
		if u.tryTake(r, n) {
			return nil
		}
		select {
		case ahead <- struct{}{}:
			u.ahead = true
		case <-given:
		case <-patience.C:
			return u.take(r, n)
		}
	}
}

// grow moves the body to a buffer of twice the size, or of all that is wanted of
// a large one.
func (u *upload) grow(r *http.Request, most int) error {
	outgrown, size := u.body, 2*cap(u.body)
	if size > maxKeptBytes {
		size = min(size, most)
	}
	if err := u.await(r, size-cap(outgrown), u.api.ahead); err != nil {
		return err
	}
	u.body = append(newBuffer(size), outgrown...)
	keepBuffer(outgrown)
	return nil
}

// read takes in the body of r, of limit bytes at most; tooBig is the code for
// one that is longer. Memory follows what has arrived, whatever the request
// announces: one that says a megabyte and sends nothing costs firstRead.
func (u *upload) read(r *http.Request, limit int, tooBig string) error {
	if r.ContentLength > int64(limit) {
		return tooLarge(tooBig)
	}
	for {
		if len(u.body) == cap(u.body) {
			if err := u.grow(r, limit+1); err != nil {
				return err
			}
		}
		n, err := r.Body.Read(u.body[len(u.body):min(cap(u.body), limit+1)])
		u.body = u.body[:len(u.body)+n]
		switch {
		case len(u.body) > limit:
			return tooLarge(tooBig)
		case err == io.EOF:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			u.api.sparing.Warn("a client did not send its request in time", "path", r.URL.Path, "client", r.RemoteAddr)
			return httpapi.Errorf(http.StatusRequestTimeout, "TIMEOUT: the body has not come within %v", bodyTimeout)
		case err != nil: // of the client's making: it went away, or sent nonsense
			return errInternal
		}
	}
}

// messages makes room for so many messages.
func (u *upload) messages(r *http.Request, count int) error {
	if count > maxKeptBodies { // of lines of a byte, the headers are much more than the lines
		if err := u.await(r, sliceBytes*count, nil); err != nil {
			return err
		}
	}
	u.bodies = slices.Grow(u.bodies, count)
	return nil
}
