package browser

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// raw sends a request as it stands, which no client would make, and returns the answer.
func raw(t *testing.T, address, request string) reply {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	go func() { _, _ = io.WriteString(conn, request) }() // the answer may come before all is sent; ends with the connection
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.100q: %v", request, err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%.100q: %v", request, err)
	}
	return reply{r.StatusCode, r.Header, string(body)}
}

// nonsense is a request that makes no sense, and what it may be answered with.
type nonsense struct {
	method, target, header, body string
	status                       []int
}

// TestNonsense sends what makes no sense, or is meant to do harm: each is refused with a
// clear page, or for the API with a line of JSON; the log has a line for each cause, and
// no more of them; nothing is done, and the process stays.
func TestNonsense(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	h.post(0, "/topic/create", "", "topic", "orders")
	h.post(0, "/channel/create", "", "topic", "orders", "channel", "ship")
	h.publish(0, "orders", 2)
	s := newScript(t, h.base)
	wait(t, "the topic being known", func() bool { return s.get("/topics/orders/ship").Status == http.StatusOK })
	before := h.everything()

	const form = "Content-Type: application/x-www-form-urlencoded\r\n"
	long := strings.Repeat("a", 1<<20)
	text := "<script>alert(1)</script>"
	list := []nonsense{
		{"GET", "/../../etc/passwd", "", "", []int{400}},
		{"GET", "/topics/../settings", "", "", []int{400}},
		{"GET", "/static/../../../etc/passwd", "", "", []int{400}},
		{"GET", "/static/x/..%2f..%2fgo.mod", "", "", []int{400}},
		{"GET", "/%2e%2e/%2e%2e/etc/passwd", "", "", []int{400}},
		{"GET", "//evil.example/topics", "", "", []int{400}},
		{"GET", "/topics//orders", "", "", []int{400}},
		{"GET", "/topics%2forders", "", "", []int{400}},
		{"GET", "/topics/orders%2Fship", "", "", []int{400}},
		{"GET", `/topics\orders`, "", "", []int{400}},
		{"GET", "/topics/%00", "", "", []int{400}},
		{"GET", "/topics/a%0d%0aSet-Cookie:%20x=y", "", "", []int{400}},
		{"GET", "/topics/%ff%fe", "", "", []int{404}},
		{"GET", "/topics/%zz", "", "", []int{400}},
		{"GET", "/topics/" + strings.ReplaceAll(text, " ", "%20"), "", "", []int{400, 404}}, // it has a slash
		{"GET", "/topics/%3Cscript%3Ealert(1)%3C", "", "", []int{404}},
		{"GET", "/topics/" + long[:20_000], "", "", []int{414}},
		{"GET", "/topics/" + long, "", "", []int{414, 431}},
		{"GET", "/topics?q=" + long, "", "", []int{414, 431}},
		{"GET", "/topics?q=%ff%00%3Cscript%3Ealert(1)%3C/script%3E", "", "", []int{200}},
		{"GET", "/topics?page=-1", "", "", []int{200}},
		{"GET", "/topics?page=99999999999999999999999&sort=evil&show=evil", "", "", []int{200}},
		{"GET", "/topics?%zz=%zz;;&&==", "", "", []int{200}},
		{"GET", "/topics/orders?node=evil.example:80&range=evil", "", "", []int{200, 400, 404}},
		{"GET", "/topics/orders/ship/messages?state=evil", "", "", []int{400}},
		{"GET", "/topics/orders/ship/messages?after=%ff%00evil&node=evil.example:80&as=evil", "", "", []int{400, 404}},
		{"GET", "/topics/orders/messages/evil", "", "", []int{400, 404}},
		{"GET", "/topics/orders/messages/0000000000000000?size=-1&as=evil", "", "", []int{404, 400, 200}},
		{"GET", "/nodes/evil.example:80", "", "", []int{404}},
		{"GET", "/nodes/169.254.169.254:80?q=x", "", "", []int{404}},
		{"GET", "/search?q=%00%3Cscript%3Ealert(1)%3C/script%3E", "", "", []int{200}},
		{"GET", "/audit/99999999999999999999999", "", "", []int{404}},
		{"GET", "/audit/-1", "", "", []int{404}},
		{"GET", "/audit?before=evil&who=%3Cscript%3Ealert(1)%3C/script%3E", "", "", []int{200}},
		{"GET", "/settings?node=evil.example:80&q=%00", "", "", []int{200, 404}},
		{"GET", "/do/evil", "", "", []int{404}},
		{"GET", "/do/delete-topic?topic=%00%3Cscript%3Ealert(1)%3C/script%3E", "", "", []int{200}},
		{"GET", "/nothing/here", "", "", []int{404}},
		{"GET", "/static/x/nothing.js", "", "", []int{404}},
		{"GET", "/api/nothing", "", "", []int{404}},
		{"GET", "/api/topics/%00", "", "", []int{400}},
		{"GET", "/api/topics/%ff", "", "", []int{400, 404, 502}},
		{"GET", "/api/message?id=evil", "", "", []int{400}},
		{"GET", "/api/history?from=evil&points=-1", "", "", []int{400}},
		{"GET", "/api/audit?limit=99999999999999999999", "", "", []int{400}},
		{"GET", "/topics", "Host: evil.example\r\n", "", []int{400, 403}},
		{"GET", "/topics", "Cookie: " + long + "\r\n", "", []int{200, 431}},
		{"GET", "/topics", "Cookie: " + long + long + "\r\n", "", []int{431}},
		{"POST", "/topics", "", "", []int{405}},
		{"PUT", "/", "", "x", []int{405}},
		{"DELETE", "/topics/orders", "", "", []int{405}},
		{"PATCH", "/do/delete-topic", "", "", []int{405}},
		{"TRACE", "/", "", "", []int{405}},
		{"OPTIONS", "/topics", "", "", []int{200, 204, 405}},
		{"BREW", "/topics", "", "", []int{405}},
		{"DELETE", "/api/overview", "", "", []int{405}},
		{"POST", "/do/delete-topic", form, "", []int{400}},
		{"POST", "/do/evil", form, "topic=orders", []int{404}},
		{"POST", "/do/delete-topic", form, "topic=orders&confirm=orders%zz", []int{400}},
		{"POST", "/do/pause-topic", form, "topic=%ff%00", []int{400}},
		{"POST", "/do/pause-topic", form, "topic=" + long, []int{400}},
		{"POST", "/do/pause-topic", form, "topic=orders&node=evil.example:80", []int{404}},
		{"POST", "/do/pause-topic", form, "topic=orders&reason=" + long, []int{400}},
		{"POST", "/do/pause-topic", form, "topic=orders&for=-1h", []int{400}},
		{"POST", "/do/pause-topic", form, strings.Repeat("topic=t&", 200_000), []int{400, 413}},
		{"POST", "/do/pause-topic", form, "topic=orders&reason=" + strings.Repeat(long, 4), []int{413}},
		{"POST", "/do/publish", form, "topic=orders&body=" + strings.Repeat(long, 9), []int{413}},
		{"POST", "/do/delete-topic", "Content-Type: multipart/form-data; boundary=x\r\n", "--x\r\nContent-Disposition: form-data; name=\"topic\"\r\n\r\norders\r\n--x--\r\n", []int{400}},
		{"POST", "/do/seek", form, "topic=orders&channel=ship&to=yesterday&confirm=ship", []int{400}},
		{"POST", "/do/revive", form, "topic=orders&channel=ship&id=../../x", []int{400}},
		{"POST", "/theme", form, "theme=evil&back=//evil.example", []int{303, 400}},
		{"POST", "/sign-in", form, "name=a&password=b&back=//evil.example", []int{404}},
		{"POST", "/events", form, "", []int{405}},
		{"POST", "/api/actions", "", "{", []int{400}},
		{"POST", "/api/actions", "", "null", []int{400}},
		{"POST", "/api/actions", "", `{"action":"delete-topic","targets":[{"topic":"orders"}],"confirm":1}`, []int{400}},
		{"POST", "/api/actions", "", `{"action":"delete-topic","targets":[{"topic":"or\u0000ders"}]}`, []int{400}},
		{"POST", "/api/actions", "", `{"action":"delete-topic","targets":[{"topic":"` + "\xff\xfe" + `"}]}`, []int{400}},
		{"POST", "/api/actions", "", strings.Repeat("[", 1_000_000), []int{400}},
		{"POST", "/api/actions", "", `{"action":"publish","targets":[{"topic":"orders"}],"args":{"body":{}}}`, []int{400}},
		{"POST", "/api/actions", "", `{"action":"` + long + `"}`, []int{400}},
		{"POST", "/api/actions", "", strings.Repeat(long, 9), []int{413}},
		{"POST", "/api/topics", "", `{"topic":"../x"}`, []int{400}},
		{"POST", "/api/topics/orders", "", `{"action":"explode"}`, []int{400}},
		{"PUT", "/config/log_level", "", "", []int{400, 413}},
		{"PUT", "/config/evil", "", "x", []int{400, 404}},
	}
	said := 0
	for round := range 3 {
		for _, n := range list {
			h.refuses(n)
		}
		lines := h.admin.tail(1 << 20)
		if round == 0 {
			said = strings.Count(lines, "\n")
			for _, bad := range []string{"level=ERROR", "panic", "goroutine", text, long[:1000]} {
				if strings.Contains(lines, bad) {
					t.Errorf("the log has %.20q:\n%s", bad, lines)
				}
			}
			continue
		}
		if now := strings.Count(lines, "\n"); now > said {
			t.Errorf("the log grew from %d lines to %d:\n%s", said, now, lines)
		}
	}
	if after := h.everything(); after != before {
		t.Errorf("nonsense has changed\n%s\nto\n%s", before, after)
	}
	want(t, "the page afterwards", s.get("/topics/orders").Status, http.StatusOK)
	if log := s.get("/api/audit").Body; strings.Contains(log, `"ok":true`) {
		t.Errorf("nonsense was done: %s", log)
	}
}

// refuses sends nonsense, and wants an answer that says what is wrong and gives nothing
// away.
func (h *house) refuses(n nonsense) {
	h.t.Helper()
	name := fmt.Sprintf("%s %.60s %.60q", n.method, n.target, n.body)
	host := "Host: " + h.admin.http + "\r\n"
	if strings.HasPrefix(n.header, "Host:") {
		host = ""
	}
	r := raw(h.t, h.admin.http, fmt.Sprintf("%s %s HTTP/1.1\r\n%s%sConnection: close\r\nContent-Length: %d\r\n\r\n%s", n.method, n.target, host, n.header, len(n.body), n.body))
	if !slices.Contains(n.status, r.Status) {
		h.t.Errorf("%s: status %d, want %v: %.300s", name, r.Status, n.status, r.Body)
	}
	for _, bad := range []string{"<script>alert", "goroutine ", "runtime error", ".go:", "/etc/passwd", "runtime."} {
		if strings.Contains(r.Body, bad) {
			h.t.Errorf("%s: the answer has %q: %.2000s", name, bad, r.Body)
		}
	}
	if r.Get("Set-Cookie") != "" && n.target != "/theme" {
		h.t.Errorf("%s: the answer sets a cookie: %v", name, r.Header)
	}
	if to := r.Get("Location"); strings.Contains(to, "evil") {
		h.t.Errorf("%s: the answer leads to %s", name, to)
	}
	if r.Status == http.StatusRequestHeaderFieldsTooLarge || r.Get("Content-Security-Policy") == "" && strings.HasPrefix(r.Body, "400 Bad Request") {
		return // the server of Go itself has refused it
	}
	kind := r.Get("Content-Type")
	switch {
	case r.Get("Content-Security-Policy") == "" || r.Get("X-Content-Type-Options") != "nosniff":
		h.t.Errorf("%s: the answer lacks headers that keep it from harm: %v", name, r.Header)
	case strings.HasPrefix(n.target, "/api/") || strings.HasPrefix(n.target, "/config/"):
		if !strings.HasPrefix(kind, "application/json") || !strings.HasPrefix(r.Body, `{"message":"`) || strings.Contains(r.Body, `{"message":""`) {
			h.t.Errorf("%s: the answer is no message: %s %.300s", name, kind, r.Body)
		}
	case r.Status >= 400 && !strings.HasPrefix(n.target, "/static/") && (!strings.HasPrefix(kind, "text/html") || !strings.Contains(r.Body, "<h1>")):
		h.t.Errorf("%s: the answer is no page: %d %s %.300s", name, r.Status, kind, r.Body)
	}
}
