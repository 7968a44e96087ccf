package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// TestTampered comes with cookies that nobody has given out: they are worth nothing,
// and the log says so once.
func TestTampered(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 0, "--users-file="+people(t, ""))
	s := h.as(t, "ada")
	name, right, _ := strings.Cut(s.header.Get("Cookie"), "=")
	want(t, "the cookie as it is", s.get("/topics").Status, http.StatusOK)
	middle := len(right) / 2
	other := map[bool]string{true: "B", false: "A"}[right[middle] == 'A']
	for what, value := range map[string]string{
		"a changed letter": right[:middle] + other + right[middle+1:], "cut": right[:len(right)-8], "nothing": "", "text": "ada", "longer": right + right,
		"very long": strings.Repeat("A", 8<<10), "JSON": `eyJuIjoiYWRhIiwiaCI6InBhc3N3b3JkIn0=`,
	} {
		s.header.Set("Cookie", name+"="+value)
		if r := s.get("/topics"); r.Status != http.StatusSeeOther || !strings.HasPrefix(r.Get("Location"), "/sign-in") {
			t.Errorf("%s: the page is %d %s", what, r.Status, r.Body)
		}
		want(t, what+": the API", s.get("/api/overview").Status, http.StatusUnauthorized)
	}
	want(t, "lines of the log", h.admin.lines("tampered with"), 1)

	b := open(t, h.base)
	b.visit("/sign-in")
	b.signIn("ada", password)
	b.at("/")
	_, value, _ := strings.Cut(b.cookie(), "=")
	_, err := chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{Name: name, Value: value[1:], URL: h.base + "/", HTTPOnly: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	b.visit("/topics")
	b.at("/sign-in?back=")
	b.signIn("ada", password) // which it does not keep her from
	b.at("/topics")
}

// lines counts those of a program's log that have a text.
func (p *program) lines(text string) (n int) {
	for line := range strings.SplitSeq(p.tail(1<<20), "\n") {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// TestCrossSite has a page of somebody else's send forms to the admin, which the
// browser really does: nothing is done, whether the cookie comes along or not.
func TestCrossSite(t *testing.T) {
	t.Parallel()
	signed, free := newHouse(t, 1, "--users-file="+people(t, "")), newHouse(t, 1)
	var target string
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		form := `<form id="f" method="post" action="` + target + `/do/delete-topic"><input name="topic" value="orders"><input name="confirm" value="orders"></form>`
		if r.URL.Path == "/json" {
			form = `<form id="f" method="post" enctype="text/plain" action="` + target + `/api/actions">` +
				`<input name='{"action":"delete-topic","targets":[{"topic":"orders"}],"args":{}}' value=""></form>`
		}
		fmt.Fprintf(w, `<!doctype html><html><head><link rel="icon" href="data:,"></head><body><main>%s<button form="f">Win</button></main></body></html>`, form)
	}))
	t.Cleanup(evil.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(evil.URL, "http://"), ":")
	for _, h := range []*house{signed, free} {
		target = h.base
		h.publish(0, "orders", 3)
		b := open(t, h.base)
		if h == signed {
			b.visit("/sign-in")
			b.signIn("ada", password)
		}
		b.reach("/topics/orders")
		for _, site := range []string{"http://127.0.0.1:" + port, "http://localhost:" + port} { // of one site with the admin, and of another
			for _, path := range []string{"/form", "/json"} {
				b.do(chromedp.Navigate(site + path))
				b.follow("main button", "Win")
				b.at(map[string]string{"/form": "/do/delete-topic", "/json": "/api/actions"}[path])
				b.shows("A page of another site asks for a change")
				b.expect("403 (Forbidden)")
			}
			b.do(chromedp.Navigate(site + "/form"))
			got := b.evalAsync(`fetch("` + target + `/do/delete-topic", {method: "POST", mode: "no-cors", credentials: "include",
				body: new URLSearchParams({topic: "orders", confirm: "orders"})}).then(r => r.type, () => "refused")`)
			if got != "opaque" && got != "refused" {
				t.Errorf("a request from %s: %s", site, got)
			}
			b.expect("403 (Forbidden)")
			b.expect("ERR_BLOCKED_BY")
		}
		want(t, "daemons that have the topic", h.topic("orders").There, 1)
		if n := h.admin.lines("another site asks"); n != 1 {
			t.Errorf("the log says so %d times:\n%s", n, h.admin.tail(20))
		}
		b.reach("/topics/orders") // she is who she was
		b.link("Publish a message")
	}

	// Where nobody is configured, a name that somebody else has pointed here gets nothing.
	s := newScript(t, free.base)
	r, err := http.NewRequest(http.MethodGet, free.base+"/topics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example:4171"
	answer, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	want(t, "the status by another name", answer.StatusCode, http.StatusForbidden)
}

// TestProxy believes a header that names a user from the proxy that was named, and from
// nobody else.
func TestProxy(t *testing.T) {
	t.Parallel()
	flags := []string{"--admin-user=ada", "--operator-user=otto"}
	believing := newHouse(t, 0, append(flags, "--trusted-proxy=127.0.0.1", "--acl-http-header=X-Forwarded-User")...)
	elsewhere := newHouse(t, 0, append(flags, "--trusted-proxy=10.1.2.3")...)
	s := newScript(t, believing.base)
	s.header.Set("X-Forwarded-For", "6.6.6.6, 192.0.2.7")
	for name, may := range map[string]int{"ada": len(deedNames()), "otto": len(operators), "somebody": 0} {
		s.header.Set("X-Forwarded-User", name)
		got, _ := allowed(t, s)
		want(t, "what "+name+" may do", len(got), may)
		if page := s.get("/topics"); page.Status != http.StatusOK || !strings.Contains(page.Body, "<b>"+name+"</b>") {
			t.Errorf("the page of %s: %d %s", name, page.Status, page.Body)
		}
	}
	s.header.Set("X-Forwarded-User", "ada")
	want(t, "creating", s.act("create-topic", map[string]string{"topic": "by-proxy"}, nil).Status, http.StatusOK)
	if log := s.get("/api/audit").Body; !strings.Contains(log, `"from":"192.0.2.7"`) || !strings.Contains(log, `"who":"ada"`) || strings.Contains(log, "6.6.6.6") {
		t.Errorf("the audit log says %s", log)
	}
	for _, lie := range [][]string{{"ada", "otto"}, {""}, {"ada\tx"}, {strings.Repeat("a", 300)}} {
		s.header["X-Forwarded-User"] = lie
		want(t, fmt.Sprintf("the API for %q", lie), s.get("/api/overview").Status, http.StatusUnauthorized)
	}

	liar := newScript(t, elsewhere.base)
	liar.header.Set("X-Forwarded-User", "ada")
	liar.header.Set("X-Forwarded-For", "10.1.2.3")
	for range 3 {
		want(t, "the API from elsewhere", liar.get("/api/overview").Status, http.StatusUnauthorized)
		want(t, "creating from elsewhere", liar.act("create-topic", map[string]string{"topic": "forged"}, nil).Status, http.StatusUnauthorized)
		if page := liar.get("/topics"); page.Status != http.StatusUnauthorized || !strings.Contains(page.Body, "Come through the proxy that signs people in.") {
			t.Errorf("the page from elsewhere: %d %s", page.Status, page.Body)
		}
	}
	want(t, "lines of the log", elsewhere.admin.lines("it is not from a --trusted-proxy"), 1)
}

// deedNames are all actions.
func deedNames() map[string]bool {
	names := make(map[string]bool)
	for _, d := range deeds {
		names[d.action] = true
	}
	return names
}

// TestDismissed removes somebody from the users' file while she looks: her page goes to
// the sign-in by itself, and her session is worth nothing.
func TestDismissed(t *testing.T) {
	t.Parallel()
	file := people(t, "")
	h := newHouse(t, 1, "--users-file="+file)
	h.publish(0, "orders", 1)
	b := open(t, h.base)
	b.visit("/sign-in")
	b.signIn("vera", password)
	b.reach("/topics/orders")
	s := b.script()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".new", []byte(strings.Replace(string(text), "'vera'", "'veronica'", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	wait(t, "the session being over", func() bool { return s.get("/api/overview").Status == http.StatusUnauthorized })
	wait(t, "the page being left", func() bool { return strings.Contains(b.href(), "/sign-in?back="+url.QueryEscape("/topics/orders")) })
	b.signIn("veronica", password)
	b.at("/topics/orders")
}
