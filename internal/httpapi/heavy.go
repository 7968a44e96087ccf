package httpapi

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"os"

	"github.com/millrace-mq/millrace/internal/access"
)

const (
	// heavyAtOnce is how many large answers are made at the same time.
	heavyAtOnce = 4

	// heavyBytes is how much of them may wait for clients to read them.
	heavyBytes = 256 << 20
)

// heavy is what bounds the memory of large answers.
type heavy struct {
	making chan struct{}
	unread *Budget
	most   int64 // bytes of unread, and so what a still larger answer counts as
}

func newHeavy(bytes int64) heavy {
	return heavy{make(chan struct{}, heavyAtOnce), NewBudget(bytes), bytes}
}

// OnHeavy routes like On, for answers that can be large: only a few of them are
// made at once, others wait; and when too much of them waits for clients that do
// not read, those who ask for more are answered 503 BUSY.
func (r *Router) OnHeavy(method, path string, action access.Action, h Handler) {
	r.route(method, path, action, func(w http.ResponseWriter, req *http.Request) {
		var a answer
		r.heavily(w, req, func() (int, error) {
			q, err := Query(req)
			if err != nil {
				return 0, err
			}
			v, err := h(req, q)
			if err == nil {
				a, err = encode(v)
			}
			return len(a.body), err
		}, func() { r.send(w, req, a) })
	})
}

// PlainHeavy routes like Plain, with the bounds of OnHeavy: what h writes is kept
// until h has returned.
func (r *Router) PlainHeavy(method, path string, action access.Action, h http.Handler) {
	r.route(method, path, action, func(w http.ResponseWriter, req *http.Request) {
		k := kept{header: make(http.Header), status: http.StatusOK}
		r.heavily(w, req, func() (int, error) {
			h.ServeHTTP(&k, req)
			return k.body.Len(), nil
		}, func() {
			maps.Copy(w.Header(), k.header)
			w.WriteHeader(k.status)
			r.write(w, req, k.body.Bytes())
		})
	})
}

// kept is an answer that is not sent yet.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(b []byte) (int, error) { return k.body.Write(b) }

// heavily has an answer made when it is its turn, and sent if its size can be
// afforded.
func (r *Router) heavily(w http.ResponseWriter, req *http.Request, produce func() (size int, err error), send func()) {
	n, err := r.inTurn(req, produce)
	if err != nil {
		r.refuse(w, req, err)
		return
	}
	who, size := RemoteOf(req), min(int64(n), r.heavy.most)
	if !r.heavy.unread.Take(who, size) {
		r.refuse(w, req, r.busy(req))
		return
	}
	defer r.heavy.unread.Give(who, size)
	send()
}

// busy logs, and returns, that there is no memory for another unread answer.
func (r *Router) busy(req *http.Request) error {
	r.sparing.Warn("clients do not read what they are answered, or too many ask at once", "path", req.URL.Path, "client", req.RemoteAddr)
	return Errorf(http.StatusServiceUnavailable, "BUSY: too many answers are being read")
}

// inTurn calls produce when there is a turn. Who has gone is not waited for. But it
// looks the same when a client has only said that it will send nothing more, so a turn
// that is there is taken.
func (r *Router) inTurn(req *http.Request, produce func() (int, error)) (int, error) {
	select {
	case r.heavy.making <- struct{}{}:
	default:
		select {
		case r.heavy.making <- struct{}{}:
		case <-req.Context().Done():
			return 0, &Error{Status: http.StatusServiceUnavailable, Code: "BUSY: " + context.Cause(req.Context()).Error()}
		}
	}
	defer func() { <-r.heavy.making }()
	return produce()
}

// send sends an answer.
func (r *Router) send(w http.ResponseWriter, req *http.Request, a answer) {
	h := w.Header()
	h[nsqName] = nsqValue
	if a.kind != nil {
		h[typeName] = a.kind
	}
	r.write(w, req, a.body)
}

// write sends the body of an answer. A client that went away is not our error;
// one that does not read costs memory, and is told of.
func (r *Router) write(w http.ResponseWriter, req *http.Request, body []byte) {
	if _, err := w.Write(body); errors.Is(err, os.ErrDeadlineExceeded) {
		r.unread(req)
	}
}

// unread logs that a client has stopped reading.
func (r *Router) unread(req *http.Request) {
	r.sparing.Warn("a client did not read its answer in time", "path", req.URL.Path, "client", req.RemoteAddr)
}
