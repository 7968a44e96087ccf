package signin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Refuse answers a request that gets no further: what is wrong is a few words, why is a
// sentence or two for whoever reads the page. Both are text, of which parts may be
// from the request. If r.URL.Path is /sign-in, somebody has not been let in and tries
// again; r.PostForm has the name and where he wanted to go.
type Refuse func(w http.ResponseWriter, r *http.Request, status int, what, why string)

// Answer calls f for pages. What asks the API gets {"message":"CODE: why"}, as from the
// daemons, whatever f is; and a nil f answers in plain text.
func (f Refuse) Answer(w http.ResponseWriter, r *http.Request, status int, what, why string) {
	h := w.Header()
	h.Del("Content-Length")
	h.Del("Content-Encoding")
	h.Set("Cache-Control", "no-store")
	switch {
	case forScripts(r):
		code := strings.ToUpper(strings.NewReplacer(" ", "_", "-", "_").Replace(http.StatusText(status)))
		body, _ := json.Marshal(map[string]string{"message": code + ": " + why})
		h.Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	case f != nil:
		f(w, r, status, what, why)
	default:
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		// #nosec G705 -- plain text, and browsers are told not to guess
		_, _ = fmt.Fprintf(w, "%s\n\n%s\n", what, why)
	}
}

// forScripts reports whether a request is for nsqadmin's API, or ours, and not for a
// page.
func forScripts(r *http.Request) bool {
	p := r.URL.Path
	return strings.HasPrefix(p, "/api/") || p == "/api" || strings.HasPrefix(p, "/config/") || p == "/ping"
}
