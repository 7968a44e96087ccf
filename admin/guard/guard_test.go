package guard_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/admin/guard"
	"github.com/millrace-mq/millrace/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wrap returns h behind a guard.
func wrap(t *testing.T, s guard.Settings, h http.HandlerFunc) (http.Handler, *logtest.Lines) {
	t.Helper()
	said := new(logtest.Lines)
	g, err := guard.New(s, slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return g.Wrap(h), said
}

// serve has it answer at an address of its own.
func serve(t *testing.T, s guard.Settings, h http.HandlerFunc) (*httptest.Server, *logtest.Lines) {
	t.Helper()
	wrapped, said := wrap(t, s, h)
	server := httptest.NewUnstartedServer(wrapped)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.Start()
	t.Cleanup(server.Close)
	return server, said
}

// show answers with what is seen of a request.
func show(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "shown %s", r.URL) }

// ask sends a request line as it is: http.NewRequest would clean it.
func ask(h http.Handler, method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, "http://here.example/", nil)
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}, Body: http.NoBody} // as net/http does
	}
	r.URL, r.RequestURI = u, target
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		base, target string
		status       int
		want         string // in the answer, or where it redirects to
	}{
		{"/", "/", 200, "shown /"},
		{"/", "/topics/T?q=%2f..//x", 200, "shown /topics/T?q=%2f..//x"},
		{"/", "/topics/a..b/...", 200, "shown /topics/a..b/..."},
		{"/", "/nodes/[::1]:4151", 200, "shown /nodes/[::1]:4151"},
		{"/", "/topics/%3Cscript%3E", 200, "shown /topics/%3Cscript%3E"},
		{"/", "/topics/%ff%fe", 200, "shown /topics/%ff%fe"},
		{"/x/y", "/x/y/", 200, "shown /"},
		{"/x/y", "/x/y/topics/T", 200, "shown /topics/T"},
		{"/x/y", "/x/y/topics/a%20b%3F", 200, "shown /topics/a%20b%3F"},
		{"/x/y", "/x/y", 307, "/x/y/"},
		{"/x/y", "/x/y?sort=depth", 307, "/x/y/?sort=depth"},

		{"/x/y", "/", 404, "/x/y/"},
		{"/x/y", "/topics", 404, ""},
		{"/x/y", "/x", 404, ""},
		{"/x/y", "/x/", 404, ""},
		{"/x/y", "/x/yy", 404, ""},
		{"/x/y", "/x/yy/topics", 404, ""},
		{"/x/y", "/X/Y/topics", 404, ""},
		{"/x/y", "/x/y%2ftopics", 400, ""},
		{"/x/y", "/%78/y/topics", 404, ""},
		{"/x/y", "/x%2Fy/topics", 400, ""},
		{"/x/y", "//x/y/topics", 400, ""},
		{"/x/y", "/x/../x/y/", 400, ""},
		{"/x/y", "/x/y/../y/", 400, ""},
		{"/x/y", "/x/y/%2e%2e/", 400, ""},

		{"/", "//evil.example", 400, ""},
		{"/", "//evil.example/", 400, ""},
		{"/", "/topics//", 400, ""},
		{"/", "/..", 400, ""},
		{"/", "/topics/../api", 400, ""},
		{"/", "/topics/./T", 400, ""},
		{"/", "/%2e%2e/etc", 400, ""},
		{"/", "/.%2e/etc", 400, ""},
		{"/", "/a%2fb", 400, ""},
		{"/", "/a%2F..%2Fb", 400, ""},
		{"/", "/a%5cb", 400, ""},
		{"/", `/\evil.example`, 400, ""},
		{"/", "/a%00b", 400, ""},
		{"/", "/a%0d%0aSet-Cookie:x", 400, ""},
		{"/", "/a%7f", 400, ""},
		{"/", "/%zz", 400, ""},
		{"/", "*", 400, ""},
		{"/", "/" + strings.Repeat("x", 9000), 414, ""},
		{"/", "/?q=" + strings.Repeat("x", 9000), 414, ""},
	} {
		h, said := wrap(t, guard.Settings{Base: tt.base}, show)
		resp := ask(h, "GET", tt.target)
		got := text(t, resp)
		if resp.StatusCode == 307 {
			got = resp.Header.Get("Location")
		}
		if resp.StatusCode != tt.status || !strings.Contains(got, tt.want) || resp.StatusCode != 200 && strings.Contains(got, "shown") {
			t.Errorf("%s below %s: %d %q, want %d %q", tt.target, tt.base, resp.StatusCode, got, tt.status, tt.want)
		}
		if len(said.String()) > 2000 {
			t.Errorf("%.50s…: said %d bytes", tt.target, len(said.String()))
		}
	}
	h, _ := wrap(t, guard.Settings{Base: "/x/y"}, show)
	if resp := ask(h, "POST", "/x/y"); resp.StatusCode != 404 {
		t.Errorf("a POST without the slash: %d", resp.StatusCode)
	}
}

func TestHeaders(t *testing.T) {
	h, _ := wrap(t, guard.Settings{Base: "/x"}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic("no")
		}
		show(w, r)
	})
	for _, target := range []string{"/x/", "/x", "/y", "/x/../", "/x/panic"} {
		header := ask(h, "GET", target).Header
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
				"font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
			"X-Frame-Options": "DENY", "Cache-Control": "no-store",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q", target, name, got)
			}
		}
	}
	h, _ = wrap(t, guard.Settings{}, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "immutable") })
	if got := ask(h, "GET", "/").Header.Values("Cache-Control"); len(got) != 1 || got[0] != "immutable" {
		t.Errorf("a handler cannot say how long its answer is kept: %q", got)
	}
}

func TestCrossSite(t *testing.T) {
	const ours, theirs = "http://here.example", "https://evil.example"
	for _, tt := range []struct {
		method string
		header []string
		allow  bool
	}{
		{"POST", nil, true}, // a script's
		{"POST", []string{"Sec-Fetch-Site", "same-origin"}, true},
		{"POST", []string{"Sec-Fetch-Site", "none"}, true},
		{"POST", []string{"Sec-Fetch-Site", "same-site"}, false},
		{"POST", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"POST", []string{"Sec-Fetch-Site", "cross-site", "Content-Type", "application/json"}, false},
		{"POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", ours}, false},
		{"POST", []string{"Origin", ours}, true},
		{"POST", []string{"Origin", theirs}, false},
		{"POST", []string{"Origin", "null"}, false},
		{"POST", []string{"Origin", ours + ":8080"}, false},
		{"POST", []string{"Origin", ours + ".evil.example"}, false},
		{"POST", []string{"Origin", "https://trusted.example"}, true},
		{"POST", []string{"Origin", "https://trusted.example", "Sec-Fetch-Site", "cross-site"}, true},
		{"PUT", []string{"Origin", theirs}, false},
		{"DELETE", []string{"Origin", theirs}, false},
		{"PATCH", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"BREW", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"GET", []string{"Sec-Fetch-Site", "cross-site"}, true}, // a link; it changes nothing
		{"HEAD", []string{"Origin", theirs}, true},
	} {
		h, said := wrap(t, guard.Settings{Origins: []string{"https://trusted.example"}}, show)
		for _, target := range []string{"/do/delete-topic", "/api/topics/T"} {
			resp := ask(h, tt.method, target, tt.header...)
			want := 200
			if !tt.allow {
				want = 403
			}
			if got := text(t, resp); resp.StatusCode != want || !tt.allow && strings.Contains(got, "shown") {
				t.Errorf("%s %s %v: %d %q, want %d", tt.method, target, tt.header, resp.StatusCode, got, want)
			}
			if json := resp.Header.Get("Content-Type") == "application/json; charset=utf-8"; !tt.allow && json != (target == "/api/topics/T") {
				t.Errorf("%s %s is refused as %q", tt.method, target, resp.Header.Get("Content-Type"))
			}
		}
		if n := strings.Count(said.String(), "\n"); n > 1 || (n == 1) == tt.allow {
			t.Errorf("%s %v: said in %d lines %q", tt.method, tt.header, n, said.String())
		}
	}
}

// Without users a page of another site must not reach us by a name that leads here.
func TestHosts(t *testing.T) {
	for host, allow := range map[string]bool{
		"localhost": true, "localhost:4171": true, "LocalHost.:4171": true, "queues.localhost:4171": true, "127.0.0.1": true, "127.9.9.9:4171": true,
		"[::1]:4171": true, "[::1]": true, "[::ffff:127.0.0.1]:4171": true, "": true,

		"evil.example": false, "evil.example:4171": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "notlocalhost": false,
		"192.168.1.7:4171": false, "0.0.0.0:4171": false, "[::]:4171": false, "2130706433": false, "0x7f.1": false, "127.1": false,
		"evil.example#localhost": false, "localhost@evil.example": false, "[fe80::1%25localhost]": false,
	} {
		open, _ := wrap(t, guard.Settings{Open: true}, show)
		resp := ask(open, "GET", "/", "Host", host)
		if got := text(t, resp); (resp.StatusCode == 200) != allow || !allow && (resp.StatusCode != 403 || strings.Contains(got, "shown")) {
			t.Errorf("host %q: %d %q", host, resp.StatusCode, got)
		}
		closed, _ := wrap(t, guard.Settings{}, show)
		if resp := ask(closed, "GET", "/", "Host", host); resp.StatusCode != 200 {
			t.Errorf("host %q where users are configured: %d", host, resp.StatusCode)
		}
	}
}

func TestPanics(t *testing.T) {
	server, said := serve(t, guard.Settings{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			fmt.Fprint(w, strings.Repeat("half a page ", 1000))
		case "/abort":
			panic(http.ErrAbortHandler)
		}
		panic("a slip in the code")
	})
	for _, path := range []string{"/", "/api/topics"} {
		resp, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(t, resp); resp.StatusCode != 500 || strings.Contains(got, "slip") || !strings.Contains(got, "log") {
			t.Errorf("%s: %d %q", path, resp.StatusCode, got)
		}
		resp.Body.Close()
	}
	if n := strings.Count(said.String(), "a slip in the code"); n != 2 || strings.Count(said.String(), "\n") != 2 {
		t.Errorf("said: %s", said.String())
	}
	for _, path := range []string{"/late", "/abort"} {
		resp, err := server.Client().Get(server.URL + path)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: an answer that was cut off looks whole", path)
		}
	}
}

// The web's page that says what is wrong is used, and may fail itself.
func TestRefuse(t *testing.T) {
	broken := false
	s := guard.Settings{Open: true, Refuse: func(w http.ResponseWriter, r *http.Request, status int, what, why string) {
		if broken {
			panic("the page of errors is broken too")
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, "<h1>%s</h1><p>%s", what, why)
	}}
	h, _ := wrap(t, s, func(http.ResponseWriter, *http.Request) { panic("no") })
	for target, want := range map[string]int{"/": 500, "//": 400} {
		resp := ask(h, "GET", target, "Host", "localhost")
		if got := text(t, resp); resp.StatusCode != want || !strings.HasPrefix(got, "<h1>") {
			t.Errorf("%s: %d %q", target, resp.StatusCode, got)
		}
	}
	broken = true
	resp := ask(h, "GET", "/", "Host", "localhost")
	if got := text(t, resp); resp.StatusCode != 500 || !strings.HasPrefix(got, "This page cannot be shown") {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
}

func TestSettings(t *testing.T) {
	for _, s := range []guard.Settings{{Base: "//evil"}, {Origins: []string{"evil.example"}}, {Origins: []string{"https://evil.example/path"}}} {
		if _, err := guard.New(s, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v is taken", s)
		}
	}
}
