package httpapi

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"github.com/millrace-mq/millrace/internal/access"
)

// Handler answers a request. A string or a []byte is sent as it is, nil is an
// empty success, anything else is sent as JSON. An *Error is sent as such;
// any other error is logged and sent as 500 INTERNAL_ERROR.
type Handler func(r *http.Request, q url.Values) (any, error)

// Router routes requests to Handlers, with NSQ's answers for unknown paths,
// wrong methods and panics. Before a handler is called, the policy is asked whether
// who sends the request may do what the route is for.
type Router struct {
	router  *httprouter.Router
	policy  access.Policy // nil: everything is allowed
	scopes  map[string]Scope
	routes  []Route
	observe Observer        // nil: nobody wants to know
	deeds   func(*Deed)     // nil: likewise
	further map[string]bool // paths of which deeds is told although their action is not Change
	log     *slog.Logger
	sparing *Sparing
	heavy   heavy

	// turns are held by answers in many chunks while one of these is made, not while
	// it is sent. However many listings are asked for, they leave half of the processors
	// to requests that are answered at once.
	turns chan struct{}
}

// Route is what a router answers.
type Route struct {
	Method, Path string
	Action       access.Action // what it is for
	Scope        Scope
}

// Scope is what a route is about, and so which of a request's arguments the policy is
// told. Who may manage one topic must not get the daemon's settings changed by naming
// that topic beside them.
type Scope uint8

const (
	// OfDaemon is about the daemon as a whole, and is what a route is if nothing else is
	// said of it.
	OfDaemon Scope = iota
	// OfTopic is about the topic that it names.
	OfTopic
	// OfChannel is about the channel that it names, of the topic that it names.
	OfChannel
)

// Scope says what routes are about. It is called before they are routed.
func (r *Router) Scope(s Scope, paths ...string) {
	for _, p := range paths {
		r.scopes[p] = s
	}
}

// Observer is told of each request when it has been answered: the path of its route,
// empty if there is none; the status, 0 if the answer was cut off; and how
// long it took until all of the answer was on its way. It is called by many
// goroutines.
type Observer func(path string, status int, took time.Duration)

// NewRouter returns a Router that asks policy, which may be nil, and logs to log
// what goes wrong on our side.
func NewRouter(policy access.Policy, log *slog.Logger) *Router {
	r := &Router{
		router: httprouter.New(), scopes: make(map[string]Scope), policy: policy, log: log, sparing: NewSparing(log), heavy: newHeavy(heavyBytes),
		turns: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
	r.router.NotFound = r.wrap(func(*http.Request, url.Values) (any, error) {
		return nil, &Error{Status: http.StatusNotFound, Code: "NOT_FOUND"}
	})
	r.router.MethodNotAllowed = r.wrap(func(*http.Request, url.Values) (any, error) {
		return nil, &Error{Status: http.StatusMethodNotAllowed, Code: "METHOD_NOT_ALLOWED"}
	})
	r.router.PanicHandler = func(w http.ResponseWriter, req *http.Request, p any) {
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p) // the answer is cut off on purpose
		}
		log.Error("panic while answering a request", "method", req.Method, "path", req.URL.Path, "panic", p, "stack", string(debug.Stack()))
		r.reply(w, req, nil, &Error{Status: http.StatusInternalServerError, Code: "INTERNAL_ERROR"})
	}
	return r
}

// Observe has o told of requests. It is called before the first one.
func (r *Router) Observe(o Observer) { r.observe = o }

// NoRedirects has paths that are nearly right, with a slash behind or in other case,
// answered as unknown. It is for what lies below a base path that was cut off: a
// redirect would lead out of it. It is called before the first request.
func (r *Router) NoRedirects() {
	r.router.RedirectTrailingSlash, r.router.RedirectFixedPath = false, false
}

// Routes returns what is answered, in the order in which it was routed.
func (r *Router) Routes() []Route { return r.routes }

// ServeHTTP implements http.Handler.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.observe == nil {
		r.router.ServeHTTP(w, req)
		return
	}
	o := observed{ResponseWriter: w}
	began, ended := time.Now(), false
	defer func() {
		if !ended { // by a panic, which cuts the answer off
			o.status = 0
		}
		r.observe(o.path, o.status, time.Since(began))
	}()
	r.router.ServeHTTP(&o, req)
	if o.status == 0 {
		o.status = http.StatusOK // as net/http does for an empty answer
	}
	ended = true
}

// observed is an answer, and what an Observer is told of it.
type observed struct {
	http.ResponseWriter
	path   string
	status int
}

func (o *observed) WriteHeader(status int) {
	if o.status == 0 {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *observed) Write(p []byte) (int, error) {
	if o.status == 0 {
		o.status = http.StatusOK
	}
	return o.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (o *observed) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// On routes method and path to h, for what action says. The query is parsed before
// h is called; one that cannot be is answered with 400 INVALID_REQUEST.
func (r *Router) On(method, path string, action access.Action, h Handler) {
	r.route(method, path, action, r.wrap(h))
}

// OnRaw routes like On, for handlers that have something to refuse before they
// look at the query. They parse it with ParseArguments.
func (r *Router) OnRaw(method, path string, action access.Action, h func(r *http.Request) (any, error)) {
	r.route(method, path, action, func(w http.ResponseWriter, req *http.Request) {
		v, err := h(req)
		r.reply(w, req, v, err)
	})
}

// Plain routes like On, but answers without X-NSQ-Content-Type, as NSQ does
// for /ping.
func (r *Router) Plain(method, path string, action access.Action, h http.HandlerFunc) {
	r.route(method, path, action, h)
}

// route adds a route. Every one comes by here, so none can be forgotten when the
// policy is asked.
func (r *Router) route(method, path string, action access.Action, h http.HandlerFunc) {
	if !action.Valid() {
		panic(method + " " + path + ": no action is said") // a slip in the code
	}
	scope := r.scopes[path]
	route := Route{method, path, action, scope}
	r.routes = append(r.routes, route)
	asked := r.watch(route, func(w http.ResponseWriter, req *http.Request) {
		if r.policy != nil {
			if err := r.ask(req, action, scope); err != nil {
				if d := DeedOf(req.Context()); d != nil {
					d.Denied = true
				}
				r.refuse(w, req, err)
				return
			}
		}
		h(w, req)
	})
	r.router.HandlerFunc(method, path, func(w http.ResponseWriter, req *http.Request) {
		if o, ok := w.(*observed); ok {
			o.path = path
		}
		asked(w, req)
	})
}

// ask asks the policy whether a request may be answered.
func (r *Router) ask(req *http.Request, action access.Action, scope Scope) error {
	q, err := ParseArguments(req)
	if err != nil {
		return err // the handler would take another topic for meant than the policy
	}
	var topic, channel string
	if scope >= OfTopic {
		topic, _ = q.First("topic")
	}
	if scope == OfChannel {
		channel, _ = q.First("channel")
	}
	return Ask(req, r.policy, action, topic, channel)
}

// Ask asks p, which may be nil, whether who sends a request may do something else
// than what its route says: with another topic, for one. The error is 403 FORBIDDEN,
// or 401 UNAUTHORIZED if nobody knows who he is.
func Ask(req *http.Request, p access.Policy, action access.Action, topic, channel string) error {
	if p == nil {
		return nil
	}
	if err := access.Ask(req.Context(), p, whoOf(req), action, topic, channel); err != nil {
		if refused, ok := errors.AsType[*access.Refusal](err); ok && refused.Unknown {
			return Errorf(http.StatusUnauthorized, "UNAUTHORIZED: %s", access.Reason(err))
		}
		return Errorf(http.StatusForbidden, "FORBIDDEN: %s", access.Reason(err))
	}
	return nil
}

// View returns what p, which may be nil, lets who sends a request see in lists of what
// action reads; nil is everything.
func View(req *http.Request, p access.Policy, action access.Action) func(topic, channel string) bool {
	return access.View(req.Context(), p, whoOf(req), action)
}

func (r *Router) wrap(h Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		var v any
		q, err := Query(req)
		if err == nil {
			v, err = h(req, q)
		}
		r.reply(w, req, v, err)
	}
}

// whoOf returns who sends a request.
func whoOf(req *http.Request) access.Who {
	who := access.Of(req.RemoteAddr, req.TLS)
	who.Secret = bearer(req.Header.Get("Authorization"))
	return who
}

// bearer returns the token of an Authorization header; empty if it is of another
// kind.
func bearer(header string) string {
	const kind = "Bearer "
	if len(header) < len(kind) || !strings.EqualFold(header[:len(kind)], kind) {
		return ""
	}
	return strings.TrimSpace(header[len(kind):])
}
