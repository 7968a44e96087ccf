// Package guard stands before everything that the admin UI serves over HTTP: it sets
// the headers that keep a page's content from doing harm, lets no other site change
// anything, bounds what a request may bring and how long its answer may take to be read,
// cuts off the base path, compresses, and makes a clear page of a panic.
package guard

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"

	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/httpapi"
)

// Settings say what is served, and to whom.
type Settings struct {
	Base    string           // path below which everything lies, as CleanBase takes it
	Open    bool             // nobody is configured: only this machine's own names are answered to
	Origins []string         // https://host of other sites whose pages may change something here; for proxies that hide our name
	Body    int64            // most bytes of a request's body; 0: 2 MiB
	Bodies  map[string]int64 // other bounds for paths that begin so, below the base; of several the longest counts
	Refuse  signin.Refuse    // shows why a request is refused; nil: as plain text
}

const (
	defaultBody = 2 << 20
	bodyTimeout = time.Minute // for a request's body to come
	restTimeout = 5 * time.Second
	restBytes   = 64 << 20 // of a body that is too large: so many are read on, so that the answer gets through
)

// policy is the Content-Security-Policy. form-action has browsers follow no redirect of
// a form to another host either: the way to an OpenID provider is a link.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// headers are those of every answer.
var headers = map[string]string{
	"Content-Security-Policy":      policy,
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "same-origin",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-store", // unless a handler says otherwise
}

// Guard wraps handlers. It is safe for concurrent use.
type Guard struct {
	Settings
	origins *http.CrossOriginProtection
	packing func(http.Handler) http.HandlerFunc
	sparing *httpapi.Sparing
	log     *slog.Logger
}

// New returns a Guard. The error says which setting is wrong.
func New(s Settings, log *slog.Logger) (*Guard, error) {
	g := &Guard{Settings: s, origins: http.NewCrossOriginProtection(), sparing: httpapi.NewSparing(log), log: log}
	var err error
	if g.Base, err = CleanBase(s.Base); err != nil {
		return nil, err
	}
	if g.Body == 0 {
		g.Body = defaultBody
	}
	for _, origin := range s.Origins {
		if err := g.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("trusted origin %q: must be such as https://queues.example.com: %w", origin, err)
		}
	}
	g.packing, err = gzhttp.NewWrapper(gzhttp.EnableZstd(false), gzhttp.ContentTypeFilter(packed))
	if err != nil {
		return nil, fmt.Errorf("setting up compression: %w", err)
	}
	return g, nil
}

// packed reports whether answers of a type are compressed. Events are not: each must go
// out at once, and who sends them packs them himself if he likes.
func packed(contentType string) bool {
	return !strings.HasPrefix(contentType, "text/event-stream") && gzhttp.DefaultContentTypeFilter(contentType)
}

// Wrap returns next behind all of it. What next sees as a request's URL lies below the
// base path: / is the first page.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &tracked{ResponseWriter: w}
		defer g.catch(t, r)
		if r = g.admit(t, r); r != nil {
			g.serve(t, r, next)
		}
	})
	packing := g.packing(inner)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for name, value := range headers {
			h.Set(name, value)
		}
		if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			inner(w, r) // the packer would hold back a header without anything behind it
			return
		}
		packing(w, r)
	})
}

// admit returns the request as it lies below the base path, or answers it and returns
// nil.
func (g *Guard) admit(w http.ResponseWriter, r *http.Request) *http.Request {
	if len(r.RequestURI) > maxTarget {
		g.refuse(w, r, http.StatusRequestURITooLong, "Address too long", fmt.Sprintf("An address has %d bytes at most.", maxTarget))
		return nil
	}
	if why := strange(r); why != "" {
		g.refuse(w, r, http.StatusBadRequest, "Bad address", why)
		return nil
	}
	if g.Open && !ownName(r.Host) {
		g.refuse(w, r, http.StatusForbidden, "From this machine only",
			"No user is configured, so only localhost and loopback addresses are answered to, and not "+brief(r.Host)+
				". Open http://127.0.0.1 with the port of this UI, or configure users.")
		return nil
	}
	inside, ok := g.below(r)
	if !ok {
		g.outside(w, r)
		return nil
	}
	if err := g.origins.Check(inside); err != nil {
		g.refuse(w, inside, http.StatusForbidden, "Another site asks",
			"A page of another site asks for a change, and that is refused. If this is our own page, a proxy hides the name that the browser knows: have it pass the Host header on.")
		return nil
	}
	return inside
}

// outside answers what does not lie below the base path.
func (g *Guard) outside(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == strings.TrimSuffix(g.Base, "/") && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		to := g.Base
		if r.URL.RawQuery != "" {
			to += "?" + r.URL.RawQuery
		}
		// #nosec G710 -- always our own first page, with the same query
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		return
	}
	g.refuse(w, r, http.StatusNotFound, "Not found", "There is nothing at this address. The first page is "+g.Base)
}

// serve has next answer, with the bound of its body.
func (g *Guard) serve(w *tracked, r *http.Request, next http.Handler) {
	if r.Body == nil || r.Body == http.NoBody {
		next.ServeHTTP(w, r)
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // fails in tests without a connection
	most := g.bodyOf(r.URL.Path)
	body := &bounded{ReadCloser: http.MaxBytesReader(w, r.Body, most), control: control}
	if r.ContentLength > most {
		body.over = true
		g.refuse(w, r, http.StatusRequestEntityTooLarge, "Too much", fmt.Sprintf("A request's body may have %d bytes here.", most))
	} else {
		outer := r.Body
		r.Body = body
		next.ServeHTTP(w, r)
		r.Body = outer
	}
	if body.over && r.Header.Get("Expect") == "" {
		w.Flush()
		_ = control.SetReadDeadline(time.Now().Add(restTimeout))
		drain(r.Body)
	}
}

// bodyOf is the bound of a body sent to a path.
func (g *Guard) bodyOf(path string) int64 {
	most, length := g.Body, -1
	for prefix, bytes := range g.Bodies {
		if strings.HasPrefix(path, prefix) && len(prefix) > length {
			most, length = bytes, len(prefix)
		}
	}
	return most
}

func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, status int, what, why string) {
	g.sparing.Warn("a request is refused", "code", strings.ToLower(what), "method", r.Method, "path", brief(r.URL.Path), "host", brief(r.Host),
		"origin", brief(r.Header.Get("Origin")), "client", r.RemoteAddr)
	g.Refuse.Answer(w, r, status, what, why)
}

// brief is a text from a request, as far as a log line has room for it.
func brief(text string) string { return text[:min(len(text), 200)] }

// catch makes a clear page of a panic, if it is not too late for that.
func (g *Guard) catch(w *tracked, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p != http.ErrAbortHandler {
		g.log.Error("panic while answering a request", "method", r.Method, "path", brief(r.URL.Path), "panic", p, "stack", string(debug.Stack()))
	}
	if w.begun || p == http.ErrAbortHandler {
		panic(http.ErrAbortHandler) // what was sent must not look whole
	}
	const what, why = "This page cannot be shown", "Something went wrong inside. The reason is in the admin's log."
	defer func() {
		if recover() == nil {
			return
		}
		if w.begun { // the page that says so has panicked as well
			panic(http.ErrAbortHandler)
		}
		signin.Refuse(nil).Answer(w, r, http.StatusInternalServerError, what, why)
	}()
	g.Refuse.Answer(w, r, http.StatusInternalServerError, what, why)
}
