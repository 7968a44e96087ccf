package endpoint

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// usual are settings that no test waits for.
func usual(method string) Config {
	return Config{Method: method, ConnectTimeout: 20 * time.Second, RequestTimeout: 20 * time.Second, UserAgent: "tester/1"}
}

func open(t *testing.T, address string, c Config) *Endpoint {
	t.Helper()
	e, err := New(address, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// raw is a server that answers each connection's first request with these bytes, and
// closes.
func raw(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1<<16))
			_, _ = io.WriteString(c, answer)
			c.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

// want is what a test expects of a result.
func want(t *testing.T, r Result, o Outcome, text string) {
	t.Helper()
	if r.Outcome != o || (r.Err == nil) != (o == Taken) {
		t.Errorf("outcome %d, error %v; want outcome %d", r.Outcome, r.Err, o)
	}
	if r.Err != nil && !strings.Contains(r.Err.Error(), text) {
		t.Errorf("error %q, want one with %q", r.Err, text)
	}
}

func TestStatus(t *testing.T) {
	tests := []struct {
		status    int
		post, get Outcome
		about     bool
	}{
		{200, Taken, Taken, false},
		{201, Taken, Failed, false},
		{204, Taken, Failed, false},
		{299, Taken, Failed, false},
		{301, Refused, Refused, false}, // to nowhere
		{304, Refused, Refused, false},
		{400, Refused, Refused, true},
		{401, Refused, Refused, false},
		{404, Refused, Refused, false},
		{408, Failed, Failed, false},
		{413, Refused, Refused, true},
		{422, Refused, Refused, true},
		{425, Failed, Failed, false},
		{429, Failed, Failed, false},
		{500, Failed, Failed, false},
		{503, Failed, Failed, false},
		{599, Failed, Failed, false},
		{999, Failed, Failed, false},
	}
	var status atomic.Int64
	address := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(int(status.Load())) })
	post := open(t, address, usual("POST"))
	get := open(t, address+"/?%s", usual("GET"))
	for _, tt := range tests {
		status.Store(int64(tt.status))
		for _, one := range []struct {
			e       *Endpoint
			outcome Outcome
		}{{post, tt.post}, {get, tt.get}} {
			r := one.e.Send(t.Context(), nil, []byte("x"))
			if r.Outcome != one.outcome || r.Outcome == Refused && r.About != tt.about {
				t.Errorf("%d: %+v", tt.status, r)
			}
		}
	}
}

func TestWhatIsSent(t *testing.T) {
	type seen struct {
		uri, host, body string
		header          http.Header
	}
	got := make(chan seen, 1)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.RequestURI, r.Host, string(body), r.Header}
	})
	c := usual("POST")
	c.ContentType, c.Header = "a/b", http.Header{"Host": {"other.example"}, "X-Own": {"1", "2"}}
	body := "\x00\xff\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
	want(t, open(t, strings.Replace(address, "//", "//user:word@", 1)+"/p?q=%73", c).Send(t.Context(), http.Header{"X-Id": {"7"}}, []byte(body)), Taken, "")
	s := <-got
	if s.uri != "/p?q=%73" || s.host != "other.example" || s.body != body {
		t.Errorf("got %+v", s)
	}
	for name, value := range map[string]string{
		"X-Id": "7", "X-Own": "1,2", "User-Agent": "tester/1", "Content-Type": "a/b",
		"Authorization": "Basic dXNlcjp3b3Jk", "Accept-Encoding": "", "Idempotency-Key": "",
	} {
		if have := strings.Join(s.header[name], ","); have != value {
			t.Errorf("%s: %q, want %q", name, have, value)
		}
	}

	gets := []struct{ url, body, uri string }{
		{"/?b=%s", "a b&c=d/é#\n", "/?b=a+b%26c%3Dd%2F%C3%A9%23%0A"},
		{"/?b=%s&c=%%20%73", "x", "/?b=x&c=%20%73"},
		{"/x/%s/y?z", "a b/../?#", "/x/a%20b%2F..%2F%3F%23/y?z"},
		{"/%s", "", "/"},
	}
	for _, tt := range gets {
		want(t, open(t, address+tt.url, usual("GET")).Send(t.Context(), nil, []byte(tt.body)), Taken, "")
		if s := <-got; s.uri != tt.uri || s.body != "" {
			t.Errorf("%s with %q: asked for %s", tt.url, tt.body, s.uri)
		}
	}
}

func TestAddressesRefused(t *testing.T) {
	tests := []struct{ method, address, want string }{
		{"POST", "", "must be a URL that begins with http"},
		{"POST", "host:80/x", "must be a URL"},
		{"POST", "ftp://host/", "must be a URL"},
		{"POST", "http://user:secret@host:port/", "not a URL: invalid port"},
		{"POST", "http://user:secret@host/\x7f", "invalid control character"},
		{"POST", "http://host/#timeout=5s", "only connect-timeout and request-timeout"},
		{"POST", "http://user:secret@host/?k=secret#request-timeout=5", "http://host/: #request-timeout=5: must be one positive duration"},
		{"POST", "http://host/#request-timeout=-5s", "positive"},
		{"POST", "http://host/#request-timeout=5s&request-timeout=6s", "one positive"},
		{"GET", "http://host/", "exactly one %s"},
		{"GET", "http://host/%s/%s", "exactly one %s"},
		{"GET", "http://host/%%s", "exactly one %s"},
		{"GET", "http://%s/", "must be in the path or the query"},
		{"GET", "http://host%s/", "must be in the path or the query"},
		{"GET", "http://%s@host/", "must be in the path or the query"},
		{"GET", "%s", "must be a URL"},
		{"GET", "http://host/#%s", "exactly one %s"},
	}
	for _, tt := range tests {
		_, err := New(tt.address, usual(tt.method))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s %s: %v, want an error with %q", tt.method, tt.address, err, tt.want)
		}
	}
}

// Servers that are out of order.
func TestBadServers(t *testing.T) {
	hang := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	long := strings.Repeat("x", maxHeader)
	_, certify, _ := strings.Cut(secure(t, nil), "https://")
	tests := map[string]struct {
		url     string
		outcome Outcome
		want    string
	}{
		"nobody listens":            {"http://127.0.0.1:1", Failed, "refused"},
		"closes without an answer":  {raw(t, ""), Failed, "EOF"},
		"closes in the status line": {raw(t, "HTTP/1.1 20"), Failed, "malformed"},
		"closes in the headers":     {raw(t, "HTTP/1.1 200 OK\r\nContent-Le"), Failed, "malformed"},
		"answers garbage":           {raw(t, "\x00\x01garbage\r\n\r\n"), Failed, "malformed"},
		"speaks something else":     {raw(t, "SSH-2.0-OpenSSH_9.6\r\n"), Failed, "malformed"},
		"headers without an end":    {raw(t, "HTTP/1.1 200 OK\r\nX: "+long), Failed, "header"},
		"never answers":             {hang + "#request-timeout=50ms", Failed, "no answer within 50ms"},
		"closes in the body":        {raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), Taken, ""},
		"a bad chunk":               {raw(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense"), Taken, ""},
		"TLS where there is none":   {strings.Replace(hang, "http:", "https:", 1), Failed, "HTTP response to HTTPS client"},
		"an unknown certificate":    {"https://" + certify, Failed, "certificate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := open(t, tt.url, usual("POST"))
			want(t, e.Send(t.Context(), nil, []byte("x")), tt.outcome, tt.want)
		})
	}
}

// An answer that does not end is taken for what its status says, and not read to its end.
func TestEndlessAnswers(t *testing.T) {
	tests := map[string]struct {
		pause time.Duration
		most  int // bytes; those that wait in sockets count
	}{
		"fast": {0, 64 << 20},
		"slow": {100 * time.Millisecond, maxDrain / 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			sent := make(chan int, 1)
			address := serve(t, func(w http.ResponseWriter, r *http.Request) {
				total := 0
				defer func() { sent <- total }()
				for r.Context().Err() == nil {
					n, err := w.Write(make([]byte, 1<<10))
					if total += n; err != nil {
						return
					}
					_ = http.NewResponseController(w).Flush()
					time.Sleep(tt.pause) // how slow the server is; the connection is real
				}
			})
			c := usual("POST")
			c.RequestTimeout = time.Hour
			want(t, open(t, address, c).Send(t.Context(), nil, nil), Taken, "")
			if n := <-sent; n > tt.most {
				t.Errorf("%d bytes were sent", n)
			}
		})
	}
}

// What a server says is told, as far as a line goes; what is secret is not.
func TestErrorsTellNoSecrets(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(422)
		_, _ = io.WriteString(w, "field \"a\"\nis missing"+strings.Repeat(".", 10_000))
	})
	secrets := func(address string) string {
		return strings.Replace(address, "//", "//user:secret@", 1) + "/path?key=secret&b=%s"
	}
	r := open(t, secrets(address), usual("GET")).Send(t.Context(), nil, []byte("secret"))
	want(t, r, Refused, "GET "+address+`/path: answered 422 (Unprocessable Entity): "field \"a\"\nis missing..`)
	if len(r.Err.Error()) > 2*maxReason {
		t.Errorf("the error has %d bytes", len(r.Err.Error()))
	}
	broken := open(t, secrets("http://127.0.0.1:1"), usual("GET")).Send(t.Context(), nil, []byte("secret"))
	for _, err := range []error{r.Err, broken.Err} {
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("told: %v", err)
		}
	}
}

// secure is a server with TLS, whose certificate config gets, if it is not nil.
func secure(t *testing.T, config *tls.Config) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
		w.Header().Set("X", "y")
		if r.ProtoMajor != 2 {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
		}
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	if config != nil {
		config.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	}
	return s.URL
}

func TestHTTP2(t *testing.T) {
	c := usual("POST")
	c.TLS = &tls.Config{}
	address := secure(t, c.TLS)
	want(t, open(t, address, c).Send(t.Context(), http.Header{"X-Id": {"1"}}, []byte("x")), Taken, "")
}

// A connection that the server has closed while nobody used it costs no message.
func TestKeptConnectionCloses(t *testing.T) {
	var asked atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // each connection is good for one answer, and dies with the next request
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buffer := make([]byte, 1<<16)
				if _, err := c.Read(buffer); err != nil {
					return
				}
				asked.Add(1)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				_, _ = c.Read(buffer)
			}()
		}
	}()
	e := open(t, "http://"+l.Addr().String(), usual("POST"))
	for range 10 {
		want(t, e.Send(t.Context(), nil, []byte("x")), Taken, "")
	}
	if n := asked.Load(); n != 10 {
		t.Errorf("answered %d requests", n)
	}
}

func TestCallerGivesUp(t *testing.T) {
	asked := make(chan struct{}, 1)
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	want(t, open(t, address+"/?%s", usual("GET")).Send(ctx, nil, nil), Failed, "canceled")
}

// A body that is put into a path must not make another path of it.
func TestBodyClimbs(t *testing.T) {
	var asked atomic.Value
	address := serve(t, func(w http.ResponseWriter, r *http.Request) { asked.Store(r.RequestURI) })
	tests := []struct{ url, body, uri string }{
		{"/users/%s/delete", "..", ""},
		{"/users/%s/delete", ".", ""},
		{"/users/%s", "..", ""},
		{"/users/%s?x", "..", ""},
		{"/users/.%s", ".", ""},
		{"/users/%%2e%s/", ".", ""},
		{"/users/%s/delete", "...", "/users/.../delete"},
		{"/users/%s.json", ".", "/users/..json"},
		{"/users/%s/delete", "../..", "/users/..%2F../delete"},
		{"/users/?id=%s", "..", "/users/?id=.."},
		{"/users/?id=a/%s/b", "..", "/users/?id=a/../b"},
	}
	for _, tt := range tests {
		asked.Store("")
		r := open(t, address+tt.url, usual("GET")).Send(t.Context(), nil, []byte(tt.body))
		if outcome := map[bool]Outcome{true: Refused, false: Taken}[tt.uri == ""]; r.Outcome != outcome || asked.Load() != tt.uri {
			t.Errorf("%s with %q: outcome %d, asked for %q, want %q", tt.url, tt.body, r.Outcome, asked.Load(), tt.uri)
		}
	}
}
