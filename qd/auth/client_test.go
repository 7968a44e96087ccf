package auth_test

import (
	"bytes"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/qd/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret  = "s3 cret&\"é"
	granted = `{"ttl":60,"identity":"me","authorizations":[{"topic":".*","channels":[".*"],"permissions":["publish"]}]}`
)

// me is the client in whose name is asked.
var me = auth.Request{Secret: secret, CommonName: "cn", RemoteAddr: "10.1.2.3:4567", TLS: true}

// journal is a log that tests read. Lines are without time.
type journal struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// config is nsqd's defaults.
func config(j *journal, addresses ...string) auth.Config {
	return auth.Config{
		Addresses: addresses, Method: "get", ConnectTimeout: 2 * time.Second, RequestTimeout: 5 * time.Second, Log: j.logger(),
	}
}

func client(t *testing.T, c auth.Config) *auth.Client {
	t.Helper()
	client, err := auth.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestRequests compares what a server is asked with golden text.
func TestRequests(t *testing.T) {
	var asked []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, _ = httputil.DumpRequest(r, true)
		_, _ = io.WriteString(w, granted)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	const headers = "Host: HOST\r\nAccept: application/vnd.nsq; version=1.0\r\nConnection: close\r\n"
	for _, c := range []struct {
		address, method string
		from            auth.Request
		want            string
	}{
		{host, "get", me,
			"GET /auth?common_name=cn&remote_ip=10.1.2.3&secret=s3+cret%26%22%C3%A9&tls=true HTTP/1.1\r\n" + headers + "User-Agent: Go-http-client/1.1\r\n\r\n"},
		{host, "get", auth.Request{RemoteAddr: "[fe80::1%eth0]:1"},
			"GET /auth?common_name=&remote_ip=fe80%3A%3A1%25eth0&secret=&tls=false HTTP/1.1\r\n" + headers + "User-Agent: Go-http-client/1.1\r\n\r\n"},
		{"http://" + host + "/some/where?key=1", "get", auth.Request{Secret: "x", RemoteAddr: "@"},
			"GET /some/where?key=1&common_name=&remote_ip=&secret=x&tls=false HTTP/1.1\r\n" + headers + "User-Agent: Go-http-client/1.1\r\n\r\n"},
		{"http://" + host, "get", auth.Request{Secret: "x"},
			"GET /?common_name=&remote_ip=&secret=x&tls=false HTTP/1.1\r\n" + headers + "User-Agent: Go-http-client/1.1\r\n\r\n"},
		{host, "post", me,
			"POST /auth HTTP/1.1\r\n" + headers + "Content-Length: 93\r\nContent-Type: application/json\r\nUser-Agent: Go-http-client/1.1\r\n\r\n" +
				`{"common_name":["cn"],"remote_ip":["10.1.2.3"],"secret":["s3 cret\u0026\"é"],"tls":["true"]}`},
		{"http://" + host + "/p?key=1", "post", auth.Request{Secret: "x"},
			"POST /p?key=1 HTTP/1.1\r\n" + headers + "Content-Length: 68\r\nContent-Type: application/json\r\nUser-Agent: Go-http-client/1.1\r\n\r\n" +
				`{"common_name":[""],"remote_ip":[""],"secret":["x"],"tls":["false"]}`},
	} {
		conf := config(&journal{}, c.address)
		conf.Method = c.method
		g, err := client(t, conf).Query(t.Context(), c.from)
		if err != nil || g.Identity != "me" || g.Permissions() != 1 {
			t.Errorf("%s %s: %+v, %v", c.method, c.address, g, err)
		}
		if got := strings.ReplaceAll(string(asked), host, "HOST"); got != c.want {
			t.Errorf("%s %s:\n got %q\nwant %q", c.method, c.address, got, c.want)
		}
	}
}

// saying answers with a status and a text.
func saying(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// raw answers with just this text, and hangs up.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, text)
		_ = c.Close()
	}
}

// TestAnswers has servers that answer with something else than rights.
func TestAnswers(t *testing.T) {
	const notHTTP = "the answer is not sound HTTP"
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirection was followed")
	}))
	defer elsewhere.Close()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"HTML":       {saying(200, "<html>"+secret), "the answer is not JSON from byte 1 on"},
		"nothing":    {saying(200, ""), "the answer is not JSON from byte 0 on"},
		"failure":    {saying(500, granted), "status 500"},
		"refusal":    {saying(403, `{"message":"`+secret+`"}`), "status 403"},
		"created":    {saying(201, granted), "status 201"},
		"no content": {saying(204, ""), "status 204"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/"+r.URL.RawQuery, http.StatusTemporaryRedirect)
		}, "status 307, and redirections are not followed"},
		"huge":      {saying(200, granted+strings.Repeat(" ", 1<<20)), "the answer is longer than 1048576 bytes"},
		"largest":   {saying(200, granted+strings.Repeat(" ", 1<<20-len(granted))), ""},
		"header":    {raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), notHTTP},
		"cut":       {raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + granted), "unexpected EOF"},
		"hung up":   {raw(""), "EOF"},
		"no status": {raw("HTTP/1.1 " + secret + "\r\n"), notHTTP},
		"chunk":     {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + secret + "\r\n"), notHTTP},
		"no HTTP":   {raw("220 " + secret + "\r\n"), notHTTP},
		"an echo":   {func(w http.ResponseWriter, r *http.Request) { raw(r.URL.RawQuery+"\n")(w, r) }, notHTTP},
		"rights":    {saying(200, granted), ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			j := &journal{}
			g, err := client(t, config(j, server.URL+"/a")).Query(t.Context(), me)
			if c.want == "" {
				if err != nil || g.Permissions() != 1 {
					t.Fatal(g, err)
				}
				return
			}
			if err == nil {
				t.Fatalf("granted %+v", g)
			}
			if got, want := err.Error(), "auth server "+server.URL+"/a: "+c.want; got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
			if text := j.take(); strings.Contains(text, secret) {
				t.Errorf("the log has the secret: %s", text)
			}
		})
	}
}

func TestHTTPS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, granted)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	conf := config(&journal{}, server.URL)
	if g, err := client(t, conf).Query(t.Context(), me); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("without the root: %+v, %v", g, err)
	}
	conf.Roots = x509.NewCertPool()
	conf.Roots.AddCert(server.Certificate())
	if _, err := client(t, conf).Query(t.Context(), me); err != nil {
		t.Errorf("with the root: %v", err)
	}
}

func TestNew(t *testing.T) {
	for address, want := range map[string]string{
		"ftp://host/auth":        `auth server "ftp://host/auth": must be host:port or a URL with http or https`,
		"http://:80/auth":        `auth server "http://:80/auth": must be host:port or a URL with http or https`,
		"":                       `auth server "http:///auth": must be host:port or a URL with http or https`,
		"http://u:p4ss@[::1/":    "an auth server's address is neither host:port nor a URL",
		"ftp://u:p4ss@h/?k=p4ss": `auth server "ftp://h/": must be host:port or a URL with http or https`,
	} {
		if _, err := auth.New(config(&journal{}, address)); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", address, err, want)
		}
	}
	c := config(&journal{}, "127.0.0.1:1")
	c.Method = "put"
	if _, err := auth.New(c); err == nil {
		t.Error("method put is accepted")
	}
	if _, err := auth.New(config(&journal{})); err == nil {
		t.Error("no server is accepted")
	}
}
