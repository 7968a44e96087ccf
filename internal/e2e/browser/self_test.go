package browser

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestTab wants the eyes of these tests to see: what a page shows, and what a script
// or the policy of contents complains of.
func TestTab(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(`<!doctype html><html lang="en"><head><title>t</title><link rel="icon" href="data:,"></head>` +
			`<body><main><h1>hello</h1><script>1</script></main></body></html>`))
	}))
	defer server.Close()
	b := open(t, server.URL)
	b.visit("/")
	b.shows("hello")
	b.mu.Lock()
	n := len(b.problems)
	b.mu.Unlock()
	if n == 0 {
		t.Error("nobody complained of an inline script that the policy forbids")
	}
	b.expect("Content Security Policy")
	b.expect("data:")
}
