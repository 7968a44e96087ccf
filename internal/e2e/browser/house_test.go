package browser

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// house is an admin and the daemons that it shows.
type house struct {
	t      *testing.T
	lookup *program
	qds    []*program
	admin  *program
	base   string // of the admin's pages, without a slash at its end
}

// newHouse starts so many queue daemons, a lookupd, and an admin with the flags.
func newHouse(t *testing.T, qds int, flags ...string) *house {
	t.Helper()
	h := &house{t: t, lookup: newProgram(t, "lookupd", "--tcp-address=127.0.0.1:0")}
	h.lookup.start()
	tcp := tcpOf(h.lookup)
	for range qds {
		q := newProgram(t, "qd", "--tcp-address=127.0.0.1:0", "--data-path="+t.TempDir(), "--lookupd-tcp-address="+tcp)
		q.start()
		h.qds = append(h.qds, q)
	}
	h.admin = newProgram(t, "admin", append([]string{"--lookupd-http-address=" + h.lookup.http, "--sample-interval=500ms", "--cluster-name=test"}, flags...)...)
	h.admin.start()
	h.base = "http://" + h.admin.http
	return h
}

// tcpOf is where a daemon listens for TCP, as it has said.
func tcpOf(p *program) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, rest, _ := strings.Cut(p.said.String(), " tcp=")
	address, _, _ := strings.Cut(rest, " ")
	return address
}

// post posts to the nth queue daemon.
func (h *house) post(n int, path, body string, arguments ...string) {
	h.t.Helper()
	r, err := http.Post("http://"+h.qds[n].http+path+"?"+query(arguments), "", strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	defer r.Body.Close()
	if answer, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusOK {
		h.t.Fatalf("POST %s: %s %s", path, r.Status, answer)
	}
}

// publish publishes so many messages to a topic of the nth daemon.
func (h *house) publish(n int, topic string, messages int) {
	h.t.Helper()
	var lines []string
	for i := range messages {
		lines = append(lines, fmt.Sprintf(`{"order":%d,"state":"new"}`, i))
	}
	h.post(n, "/mpub", strings.Join(lines, "\n"), "topic", topic)
}

// query is pairs of names and values as a URL has them.
func query(pairs []string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q.Encode()
}

// fetch gets a page, with its status.
func fetch(t *testing.T, at string) (status int, body string) {
	t.Helper()
	r, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}
