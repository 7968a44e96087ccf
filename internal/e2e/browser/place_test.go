package browser

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"

	"github.com/millrace-mq/millrace/internal/secure/securetest"
)

// address is what is behind a name in the line in which a program says that it listens.
func (p *program) address(name string) string {
	_, rest, _ := strings.Cut(p.tail(1<<20), " "+name+"=")
	address, _, _ := strings.Cut(rest, " ")
	return address
}

// TestBasePath comes through a proxy that has the admin below /x/y, and something else
// beside it: whatever a page leads to, loads or sends lies below.
func TestBasePath(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, "--base-path=/x/y", "--users-file="+people(t, ""), "--trusted-proxy=127.0.0.1")
	target, err := url.Parse("http://" + h.admin.http)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var outside []string
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.SetXForwarded()
		r.Out.Host = r.In.Host
	}, ModifyResponse: func(r *http.Response) error {
		if to := r.Header.Get("Location"); to != "" && !strings.HasPrefix(to, "/x/y/") {
			mu.Lock()
			defer mu.Unlock()
			outside = append(outside, "a redirect to "+to)
		}
		return nil
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/x/y" && !strings.HasPrefix(r.URL.Path, "/x/y/") {
			mu.Lock()
			defer mu.Unlock()
			outside = append(outside, r.Method+" "+r.URL.Path)
			http.NotFound(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	h.base = front.URL + "/x/y"
	h.bury("orders", "ship", 2)
	h.post(0, "/channel/create", "", "topic", "orders", "channel", "bill")

	b := open(t, h.base)
	b.do(chromedp.Navigate(h.base), chromedp.WaitReady("main")) // without the slash
	b.at("/x/y/sign-in?back=")
	b.signIn("ada", password)
	b.at("/x/y/")
	b.reach("/topics/orders")
	want(t, "the style has come", b.eval(`getComputedStyle(document.querySelector(".side")).display !== "inline" && document.styleSheets[0].cssRules.length > 10`), "true")
	b.until("the charts", `document.querySelector(".plot canvas")`) // loaded by a script, below the base too
	b.until("nothing being in line", `/Depth\s+0\s/.test(document.querySelector("main dl.stats").innerText)`)
	h.publish(0, "orders", 7)
	b.until("an event's having come", `!/Depth\s+0\s/.test(document.querySelector("main dl.stats").innerText)`)
	b.link("Pause topic")
	b.button("Pause topic")
	o := b.done(1)
	b.link("Back to orders")
	b.at("/x/y/topics/orders")
	want(t, "daemons on which it is paused", h.topic("orders").Paused, 1)
	want(t, "its number", o.Number > 0, true)
	b.do(chromedp.KeyEvent("k", chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	b.until("the palette", `document.querySelector("#palette[open]")`)
	b.do(chromedp.KeyEvent("ship"))
	b.until("what was found", `[...document.querySelectorAll("#hits li")].some(l => l.dataset.url === "/x/y/topics/orders/ship")`)
	b.load("going there", chromedp.KeyEvent("\r"))
	b.at("/x/y/topics/orders/ship")
	b.click("form.themes button[value=dark]", "")
	b.until("the dark theme", `document.documentElement.dataset.theme === "dark"`)
	b.visit("/search?q=orders")
	want(t, "the theme is kept", b.eval(`document.documentElement.dataset.theme`), "dark")
	b.follow(".side .who button", "Sign out")
	b.at("/x/y/sign-in")

	pages := h.crawl(t, h.as(t, "ada"), "/x/y")
	if len(pages) < 30 {
		t.Errorf("only %d pages are linked to: %v", len(pages), pages)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, o := range outside {
		t.Errorf("outside the base path: %s", o)
	}
}

var (
	addresses = regexp.MustCompile(`\s(?:href|src|action|formaction|data-base|data-static|data-events|data-curl)="([^"]*)"`)
	ranges    = regexp.MustCompile(`[?&](range|as|sort|show)=`)
)

// crawl follows each link of each page once, and wants them to lie below base and to be
// there.
func (h *house) crawl(t *testing.T, s *script, base string) (pages []string) {
	t.Helper()
	root := strings.TrimSuffix(h.base, base)
	seen := map[string]bool{}
	for next := []string{base + "/"}; len(next) > 0 && len(pages) < 150; next = next[1:] {
		from := &script{t, root, s.header, s.client}
		r := from.get(next[0])
		if r.Status != http.StatusOK {
			t.Errorf("a page leads to %s, which is %d", next[0], r.Status)
			continue
		}
		pages = append(pages, next[0])
		if !strings.HasPrefix(r.Get("Content-Type"), "text/html") {
			continue
		}
		for _, m := range addresses.FindAllStringSubmatch(r.Body, -1) {
			to := strings.ReplaceAll(m[1], "&amp;", "&")
			if to == base || strings.HasPrefix(to, "#") {
				continue
			}
			if !strings.HasPrefix(to, base+"/") {
				t.Errorf("%s leads to %s", next[0], to)
				continue
			}
			path, _, _ := strings.Cut(strings.TrimPrefix(to, base), "?")
			noPage := slices.Contains([]string{"/sign-out", "/theme", "/events"}, path) || strings.HasPrefix(path, "/static/") && strings.HasSuffix(path, "/")
			if key := ranges.ReplaceAllString(to, ""); !seen[key] && !noPage {
				seen[key] = true
				next = append(next, to)
			}
		}
	}
	return pages
}

// TestHTTPS comes over TLS: pages, events, forms; and the session's cookie goes nowhere
// else.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	authority, err := securetest.NewAuthority("the test's authority")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := authority.Issue("localhost", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := newHouse(t, 1, "--users-file="+people(t, ""), "--https-address=127.0.0.1:0", "--tls-cert="+filepath.Join(dir, "cert.pem"), "--tls-key="+filepath.Join(dir, "key.pem"))
	h.publish(0, "orders", 1)
	h.base = "https://" + h.admin.address("https")
	b := open(t, h.base)
	if _, err := chromedp.Call(b.ctx, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true}); err != nil {
		t.Fatal(err)
	}
	b.visit("/topics")
	b.signIn("ada", password)
	b.reach("/topics/orders")
	h.publish(0, "orders", 41)
	b.until("an event", `document.querySelector("main dl.stats").innerText.includes("42")`)
	b.link("Pause topic")
	b.button("Pause topic")
	b.done(1)
	want(t, "daemons on which it is paused", h.topic("orders").Paused, 1)

	s := newScript(t, h.base)
	r := s.signIn("ada", password)
	if c := r.Get("Set-Cookie"); !strings.Contains(c, "; Secure") || !strings.Contains(c, "; HttpOnly") {
		t.Errorf("the cookie is %s", c)
	}
	want(t, "HTTPS on the port of HTTP", newScript(t, "http://"+h.admin.http).get("/sign-in").Status, http.StatusOK)
}

// TestSocket listens at a socket file, for a proxy on the same machine.
func TestSocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "m") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := newHouse(t, 1)
	h.publish(0, "orders", 1)
	admin := newProgram(t, "admin", "--lookupd-http-address="+h.lookup.http)
	admin.http = filepath.Join(dir, "admin.sock") // where it is to listen
	admin.start()
	s := newScript(t, "http://localhost")
	s.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "admin.sock"))
	}
	wait(t, "the first look at the daemons", func() bool { return s.get("/topics/orders").Status == http.StatusOK })
	want(t, "an action", s.act("pause-topic", map[string]string{"topic": "orders"}, nil).Status, http.StatusOK)
	want(t, "daemons on which it is paused", h.topic("orders").Paused, 1)
	info, err := os.Stat(filepath.Join(dir, "admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "who may use it", info.Mode().Perm()&0o002, 0)
}
