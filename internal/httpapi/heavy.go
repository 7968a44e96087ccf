package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
)

const (
	// heavyAtOnce is how many large answers are made at the same time.
	heavyAtOnce = 4
	// heavyBytes is how much of them may wait for clients to read them.
	heavyBytes = 128 << 20
)

// heavy is what bounds the memory of large answers.
type heavy struct {
	making chan struct{}
	unread *Budget
}

func newHeavy() heavy { return heavy{make(chan struct{}, heavyAtOnce), NewBudget(heavyBytes)} }

// OnHeavy routes like On, for answers that can be large: only a few of them are
// made at once, others wait; and when too much of them waits for clients that do
// not read, those who ask for more are answered 503 BUSY.
func (r *Router) OnHeavy(method, path string, h Handler) {
	r.HandlerFunc(method, path, func(w http.ResponseWriter, req *http.Request) {
		a, err := r.makeHeavy(req, h)
		if err != nil {
			r.refuse(w, req, err)
			return
		}
		size := int64(len(a.body))
		if !r.heavy.unread.Take(size) {
			r.sparing.Warn("clients do not read what they are answered, or too many ask at once", "path", req.URL.Path, "from", req.RemoteAddr)
			r.refuse(w, req, Errorf(http.StatusServiceUnavailable, "BUSY: too many answers are being read"))
			return
		}
		defer r.heavy.unread.Give(size)
		r.send(w, req, a)
	})
}

// makeHeavy makes an answer when it is its turn.
func (r *Router) makeHeavy(req *http.Request, h Handler) (a answer, err error) {
	select {
	case r.heavy.making <- struct{}{}:
		defer func() { <-r.heavy.making }()
	case <-req.Context().Done(): // nobody waits for it any more
		return a, &Error{http.StatusServiceUnavailable, "BUSY: " + context.Cause(req.Context()).Error()}
	}
	var q url.Values
	if q, err = Query(req); err != nil {
		return a, err
	}
	v, err := h(req, q)
	if err != nil {
		return a, err
	}
	return encode(v)
}

// send sends an answer. A client that went away is not our error; one that does
// not read costs memory, and is told of.
func (r *Router) send(w http.ResponseWriter, req *http.Request, a answer) {
	h := w.Header()
	h[nsqName] = nsqValue
	if a.kind != nil {
		h[typeName] = a.kind
	}
	if _, err := w.Write(a.body); errors.Is(err, os.ErrDeadlineExceeded) {
		r.sparing.Warn("a client did not read its answer in time", "path", req.URL.Path, "from", req.RemoteAddr)
	}
}
