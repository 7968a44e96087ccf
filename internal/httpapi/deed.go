package httpapi

import (
	"context"
	"net/http"
	"strings"
	"sync"

	"github.com/millrace-mq/millrace/internal/access"
)

// Deed is a request that is to change something. Whoever keeps an audit log is told of
// it once it has been answered, or rather: once the answer is on its way.
type Deed struct {
	Route
	Request *http.Request
	Policy  access.Policy // that was asked; may be nil
	Denied  bool          // the policy has refused it

	// Status is what was answered, and Refusal why, if that was no success; both are
	// nothing if the answer was cut off.
	Status  int
	Refusal error

	mu      sync.Mutex // guards what follows
	details []string
	count   int64
}

// WhoOf returns who sends a request.
func WhoOf(r *http.Request) access.Who { return whoOf(r) }

// Details is what handlers have told by Tell, and by Count.
func (d *Deed) Details() (text string, count int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.details, "; "), d.count
}

type deedKey struct{}

// DeedOf returns what is done with a request's context; nil if that is nothing that
// anybody wants to be told of.
func DeedOf(ctx context.Context) *Deed {
	d, _ := ctx.Value(deedKey{}).(*Deed)
	return d
}

// Tell adds words to what is told of a request that changes something: what its query
// does not say already. They are no secret, and of no message's body.
func Tell(r *http.Request, words string) {
	if d := DeedOf(r.Context()); d != nil && words != "" {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.details = append(d.details, words)
	}
}

// Count tells how many messages such a request concerned.
func Count(r *http.Request, n int) {
	if d := DeedOf(r.Context()); d != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.count += int64(n)
	}
}

// Watch has f told of every request that is to change something: of those on routes for
// access.Manage but profiles, and on the further paths. f is called by many goroutines, and
// must not block. It is called before the first route is added.
func (r *Router) Watch(f func(*Deed), further ...string) {
	r.deeds = f
	r.further = make(map[string]bool)
	for _, path := range further {
		r.further[path] = true
	}
}

// Watched reports whether whoever watches is told of a route's requests.
func (r *Router) Watched(route Route) bool {
	looks := strings.HasPrefix(route.Path, "/debug/pprof/") // which is not for everybody either
	return r.deeds != nil && (route.Action == access.Manage && !looks || r.further[route.Path])
}

// watch returns h such that whoever watches is told.
func (r *Router) watch(route Route, h http.HandlerFunc) http.HandlerFunc {
	if !r.Watched(route) {
		return h
	}
	return func(w http.ResponseWriter, req *http.Request) {
		d := &Deed{Route: route, Policy: r.policy}
		d.Request = req.WithContext(context.WithValue(req.Context(), deedKey{}, d))
		o := observed{ResponseWriter: w}
		ended := false
		defer func() {
			if ended && o.status == 0 {
				o.status = http.StatusOK // as net/http does for an empty answer
			}
			if ended {
				d.Status = o.status
			}
			r.deeds(d)
		}()
		h(&o, d.Request)
		ended = true
	}
}
