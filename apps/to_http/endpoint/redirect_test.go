package endpoint

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// house is a server that redirects /STATUS to where its query says, and keeps what comes
// to other paths.
type house struct {
	mu   sync.Mutex
	came []string // method, path, body
	last http.Header
}

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if to := r.URL.Query().Get("to"); to != "" {
		status := map[string]int{"/301": 301, "/302": 302, "/303": 303, "/307": 307, "/308": 308}[r.URL.Path]
		http.Redirect(w, r, to, status)
		return
	}
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.came = append(h.came, r.Method+" "+r.URL.Path+" "+string(body))
	h.last = r.Header
}

func (h *house) take() (string, http.Header) {
	h.mu.Lock()
	defer h.mu.Unlock()
	came := strings.Join(h.came, "\n")
	h.came = nil
	return came, h.last
}

func TestRedirects(t *testing.T) {
	var h house
	address := serve(t, h.ServeHTTP)
	tests := []struct {
		method, path string
		outcome      Outcome
		want         string // what came, or what is wrong
	}{
		{"POST", "/301?to=/x", Refused, "redirects to " + address + "/x: following would lose the body"},
		{"POST", "/302?to=/x", Refused, "answered 302 (Found), redirects to " + address + "/x"},
		{"POST", "/303?to=/x", Refused, "lose the body"},
		{"POST", "/307?to=/x", Taken, "POST /x body"},
		{"POST", "/308?to=/307?to=/x", Taken, "POST /x body"},
		{"POST", "/307?to=/302?to=/x", Refused, "lose the body"},
		{"POST", "/307?to=/307", Taken, "POST /307 body"},
		{"GET", "/301?b=%s&to=/x", Taken, "GET /x "},
		{"GET", "/302?b=%s&to=/x", Taken, "GET /x "},
		{"GET", "/303?b=%s&to=/x", Taken, "GET /x "},
		{"GET", "/307?b=%s&to=/x", Taken, "GET /x "},
	}
	for _, tt := range tests {
		r := open(t, address+tt.path, usual(tt.method)).Send(t.Context(), nil, []byte("body"))
		want(t, r, tt.outcome, tt.want)
		came, _ := h.take()
		if tt.outcome == Taken && came != tt.want || tt.outcome != Taken && came != "" {
			t.Errorf("%s %s: %q came", tt.method, tt.path, came)
		}
		if r.About {
			t.Errorf("%s %s: is taken to be about the message", tt.method, tt.path)
		}
	}
}

func TestRedirectsWithoutAnEnd(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	})
	want(t, open(t, address, usual("POST")).Send(t.Context(), nil, []byte("x")), Refused, "more than 10 redirects")
}

// Who is redirected to elsewhere gets the message, and none of our keys.
func TestRedirectElsewhere(t *testing.T) {
	var there house
	other := strings.Replace(serve(t, there.ServeHTTP), "127.0.0.1", "localhost", 1)
	here := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other+"/x", http.StatusTemporaryRedirect)
	})
	c := usual("POST")
	c.Header = http.Header{"X-Api-Key": {"secret"}, "Authorization": {"secret"}, "Cookie": {"secret"}}
	e := open(t, strings.Replace(here, "//", "//user:secret@", 1)+"/?key=secret", c)
	want(t, e.Send(t.Context(), http.Header{"X-Id": {"7"}}, []byte("body")), Taken, "")
	came, header := there.take()
	if came != "POST /x body" || header.Get("X-Id") != "7" {
		t.Errorf("%q came with %v", came, header)
	}
	for name, values := range header {
		if strings.Contains(strings.Join(values, ","), "secret") {
			t.Errorf("%s: %v was told", name, values)
		}
	}
}

func TestRedirectToPlainHTTP(t *testing.T) {
	var there house
	other := serve(t, there.ServeHTTP)
	s := httptest.NewTLSServer(http.RedirectHandler(other, http.StatusTemporaryRedirect))
	defer s.Close()
	c := usual("POST")
	c.TLS = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	want(t, open(t, s.URL, c).Send(t.Context(), nil, []byte("x")), Refused, "from https to http")
	if came, _ := there.take(); came != "" {
		t.Errorf("%q came", came)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	tests := []struct {
		retryAfter, date string
		want             time.Duration
	}{
		{"", "", 0},
		{"0", "", 0},
		{" 7 ", "", 7 * time.Second},
		{"86400", "", maxRetryAfter},
		{"18446744073709551615", "", maxRetryAfter},
		{"18446744073709551616", "", maxRetryAfter},
		{"-5", "", 0},
		{"1.5", "", 0},
		{"soon", "", 0},
		{at(time.Minute), "", time.Minute},
		{at(-time.Minute), "", 0},
		{at(100 * time.Hour), "", maxRetryAfter},
		{at(time.Minute), at(-time.Hour), maxRetryAfter}, // an hour and a minute by its clock
		{at(time.Hour), at(time.Hour - time.Minute), time.Minute},
		{at(time.Minute), "nonsense", time.Minute},
		{now.Add(time.Minute).Format(time.RFC850), "", time.Minute},
	}
	for _, tt := range tests {
		h := http.Header{"Retry-After": {tt.retryAfter}, "Date": {tt.date}}
		if d := retryAfter(h, now); d != tt.want {
			t.Errorf("%q at %q: %s, want %s", tt.retryAfter, tt.date, d, tt.want)
		}
	}
}

// Only an answer that says "not now" can have us wait.
func TestRetryAfterOfStatus(t *testing.T) {
	for status, d := range map[int]time.Duration{429: 3 * time.Second, 503: 3 * time.Second, 500: 0, 404: 0, 200: 0} {
		address := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3")
			w.WriteHeader(status)
		})
		if r := open(t, address, usual("POST")).Send(t.Context(), nil, nil); r.RetryAfter != d {
			t.Errorf("%d: %+v", status, r)
		}
	}
}
