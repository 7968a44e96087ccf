package browser

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands before an admin, counts the streams of events that are open, and
// remembers what was sent that is no mere reading.
type proxy struct {
	base string // of the admin's pages, as they are seen through it
	open atomic.Int64
	ever atomic.Int64 // that were opened

	mu   sync.Mutex
	sent []string // method and path, guarded by mu
}

// newProxy starts one for the admin at base. It ends with the test.
func newProxy(t *testing.T, base string) *proxy {
	t.Helper()
	to, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	p := new(proxy)
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }, FlushInterval: -1}
	p.base = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			p.ever.Add(1)
			p.open.Add(1)
			defer p.open.Add(-1)
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			p.mu.Lock()
			p.sent = append(p.sent, r.Method+" "+r.URL.Path)
			p.mu.Unlock()
		}
		pass.ServeHTTP(w, r)
	})
	return p
}

// changes are what was sent so far that is no mere reading.
func (p *proxy) changes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sent
}
