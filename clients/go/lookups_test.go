package millrace

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// serveHTTP answers what is asked at an address as the table says, by path and
// query; anything else as nsqlookupd does.
func serveHTTP(t *testing.T, l net.Listener, answers map[string]string) *[]string {
	t.Helper()
	asked := new([]string) // read when nobody asks
	s := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.RequestURI())
		answer, ok := answers[r.URL.RequestURI()]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"message":"NOT_FOUND"}`
		}
		_, _ = w.Write([]byte(answer))
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return asked
}

func openLookups(t *testing.T, n *pipeNet, c Connection, q question, list ...string) *lookups {
	t.Helper()
	c.Dial = n.dial
	noError(t, c.complete())
	l, err := newLookups(list, &c, q)
	noError(t, err)
	return l
}

func addressesOf(found []producer) string {
	var all []string
	for _, p := range found {
		all = append(all, p.address)
	}
	return strings.Join(all, " ")
}

func listed(names ...string) string {
	var all []string
	for _, n := range names {
		all = append(all, fmt.Sprintf(`{"broadcast_address":%q,"tcp_port":1,"http_port":2,"topology_region":"r","topology_zone":"z"}`, n))
	}
	return `{"producers":[` + strings.Join(all, ",") + `]`
}

func TestParseListing(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   string // addresses, or the error
	}{
		{200, `{"producers":[{"broadcast_address":"h","tcp_port":1},{"broadcast_address":"::1","tcp_port":2}]}`, "h:1 [::1]:2"},
		{200, `{"producers":[]}`, ""},
		{404, `{"message":"TOPIC_NOT_FOUND"}`, `status 404: "{\"message\":\"TOPIC_NOT_FOUND\"}"`},
		{404, `not found`, `status 404: "not found"`},
		{500, `{}`, `status 500: "{}"`},
		{200, `{"status":"ok"}`, `the answer is not a lookupd's: it lists no producers: "{\"status\":\"ok\"}"`},
		{200, `null`, `the answer is not a lookupd's: it lists no producers: "null"`},
		{200, `<html>`, "the answer is not a lookupd's: invalid character '<' looking for beginning of value"},
		{200, `{"producers":[{"broadcast_address":"","tcp_port":1},{"broadcast_address":"h","tcp_port":1}]}`, "h:1"},
		{200, `{"producers":[{"broadcast_address":"h","tcp_port":1},{"broadcast_address":"h","tcp_port":70000}]}`, "h:1"},
	} {
		l, err := parseListing(c.status, []byte(c.body))
		text := addressesOf(l.producers())
		if err != nil {
			text = err.Error()
		}
		want(t, c.body, text, c.want)
	}
}

func FuzzParseListing(f *testing.F) {
	f.Add([]byte(`{"producers":[{"broadcast_address":"h","tcp_port":1}],"next":"7"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		l, err := parseListing(http.StatusOK, body)
		if err != nil {
			return
		}
		for _, p := range l.producers() {
			_, port, err := net.SplitHostPort(p.address)
			if n, _ := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
				// A host with brackets or percent signs of its own is the
				// only thing that dialling may complain of.
				if err == nil || !strings.ContainsAny(p.address, "[]%") {
					t.Fatalf("%q: %v", p.address, err)
				}
			}
		}
	})
}

// TestQuestions looks at what lookupds are asked and how their answers are read.
func TestQuestions(t *testing.T) {
	for name, c := range map[string]struct {
		question question
		answers  map[string]string
		want     string
		asked    []string
	}{
		"who has a topic": {whoHas("a.b"), map[string]string{"/lookup?topic=a.b": listed("a", "b") + "}"}, "a:1 b:1",
			[]string{"/lookup?topic=a.b"}},
		"who takes publishes": {whoTakes, map[string]string{"/producers/available?limit=1000": listed("a", "b") + "}"}, "a:1 b:1",
			[]string{"/producers/available?limit=1000"}},
		"who takes publishes, in pages": {whoTakes, map[string]string{
			"/producers/available?limit=1000":         listed("a", "b") + `,"next":"7"}`,
			"/producers/available?after=7&limit=1000": listed("b", "c") + `,"next":"9"}`,
			"/producers/available?after=9&limit=1000": listed() + `,"next":"9"}`,
		}, "a:1 b:1 c:1", []string{
			"/producers/available?limit=1000", "/producers/available?after=7&limit=1000", "/producers/available?after=9&limit=1000",
		}},
		"who is there": {whoTakes, map[string]string{"/nodes": listed("a") + "}"}, "a:1",
			[]string{"/producers/available?limit=1000", "/nodes"}},
	} {
		inBubble(t, func(t *testing.T, n *pipeNet) {
			asked := serveHTTP(t, n.listen("l:1"), c.answers)
			l := openLookups(t, n, Connection{}, c.question, "l:1")
			found, changed := l.ask(t.Context())
			want(t, name, addressesOf(found), c.want)
			want(t, name+": asked", *asked, c.asked)
			want(t, name+": changed", changed, true)
			_, changed = l.ask(t.Context())
			want(t, name+": changed again", changed, false)
			want(t, "first", found[0], producer{"a:1", "a:2", "r", "z"})
		})
	}
}

func TestLookupURLs(t *testing.T) {
	for given, wanted := range map[string]string{
		"l:1": "http://l:1", "http://l": "http://l", "https://l/behind/": "https://l/behind/", "[::1]:1": "http://[::1]:1",
		"[fe80::1%eth0]:1": "http://[fe80::1%25eth0]:1",
		"l":                "error", "": "error", "ftp://l": "error", "http://": "error", "l:x": "error",
	} {
		u, err := parseLookup(given)
		got := "error"
		if err == nil {
			got = u.String()
		}
		want(t, given, got, wanted)
	}
}

// TestALookupdThatHangs must not hold up what the others say, nor be waited for
// longer than DialTimeout; that it fails is said once, and not of its own accord
// when the asking is given up.
func TestALookupdThatHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		var said strings.Builder
		serveHTTP(t, n.listen("l:1"), map[string]string{"/lookup?topic=t": listed("a") + "}"})
		hangs := n.listen("l:2")
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				c, err := hangs.Accept()
				if err != nil {
					return
				}
				defer func() { _ = c.Close() }()
			}
		}()
		t.Cleanup(func() { _ = hangs.Close(); <-ended })
		c := Connection{DialTimeout: 3 * time.Second, Log: slog.New(slog.NewTextHandler(&said, nil))}
		l := openLookups(t, n, c, whoHas("t"), "l:1", "l:2")
		began := time.Now()
		var early time.Duration = -1
		l.partly = func(found []producer) {
			want(t, "found early", addressesOf(found), "a:1")
			early = time.Since(began)
		}
		for range 3 {
			began = time.Now()
			found, _ := l.ask(t.Context())
			want(t, "found", addressesOf(found), "a:1")
			want(t, "it took", time.Since(began), 3*time.Second)
			want(t, "the other's answer took", early, time.Duration(0))
		}
		want(t, "complaints", strings.Count(said.String(), "lookup failed"), 1)
	})
}

// TestAnswersThatAreNone change nothing: what a lookupd said before still holds. That it
// does not know the topic is an answer.
func TestAnswersThatAreNone(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		const question = "/lookup?topic=t"
		answers := map[string]string{}
		serveHTTP(t, n.listen("l:1"), answers)
		l := openLookups(t, n, Connection{}, whoHas("t"), "l:1")
		for _, c := range []struct{ answer, want string }{
			{listed("a") + "}", "a:1"},
			{"", "a:1"}, {"<html>", "a:1"}, {"{}", "a:1"}, {strings.Repeat(" ", maxLookup) + listed() + "}", "a:1"},
			{listed("b") + "}", "b:1"},
		} {
			answers[question] = c.answer
			found, _ := l.ask(t.Context())
			want(t, fmt.Sprintf("%.20q", c.answer), addressesOf(found), c.want)
		}
		delete(answers, question) // 404, of something that is no lookupd
		found, _ := l.ask(t.Context())
		want(t, "another's 404", addressesOf(found), "b:1")
	})
}

// TestALookupdThatGoesOn answers each page slowly and always has another: it is given
// DialTimeout for all of them.
func TestALookupdThatGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		var said strings.Builder
		pages := 0
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sleep(r.Context(), time.Second)
			pages++
			_, _ = fmt.Fprintf(w, `%s,"next":"%d"}`, listed("a"), pages)
		})}
		at := n.listen("l:1")
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Serve(at) }()
		t.Cleanup(func() { _ = s.Close(); <-done })
		c := Connection{DialTimeout: 3500 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&said, nil))}
		l := openLookups(t, n, c, whoTakes, "l:1")
		began := time.Now()
		_, _ = l.ask(t.Context())
		want(t, "it took", time.Since(began), c.DialTimeout)
		want(t, "it is said why", strings.Contains(said.String(), "no answer within 3.5s"), true)
	})
}

// TestLookupsOverTLS asks with the settings for lookupds, and with those for daemons
// but for the name.
func TestLookupsOverTLS(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		server, trusted := certify(t, "l")
		serveHTTP(t, tls.NewListener(n.listen("l:1"), server), map[string]string{"/lookup?topic=t": listed("a") + "}"})
		for name, c := range map[string]struct {
			connection Connection
			want       string
		}{
			"its own":       {Connection{LookupTLS: &tls.Config{RootCAs: trusted}}, "a:1"},
			"the daemons'":  {Connection{TLS: &tls.Config{RootCAs: trusted, ServerName: "daemon"}}, "a:1"},
			"the machine's": {Connection{}, ""}, // which does not trust it
		} {
			l := openLookups(t, n, c.connection, whoHas("t"), "https://l:1")
			found, _ := l.ask(t.Context())
			want(t, name, addressesOf(found), c.want)
		}
	})
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		ours, theirs [2]string // region and zone
		want         int
	}{
		{[2]string{"", ""}, [2]string{"r", "z"}, 0},
		{[2]string{"r", "z"}, [2]string{"r", "z"}, 0},
		{[2]string{"r", "z"}, [2]string{"r", "y"}, 1},
		{[2]string{"r", "z"}, [2]string{"q", "z"}, 2},
		{[2]string{"", "z"}, [2]string{"q", "z"}, 0},
		{[2]string{"", "z"}, [2]string{"q", "y"}, 1},
		{[2]string{"r", ""}, [2]string{"r", "y"}, 0},
	} {
		p := producer{region: c.theirs[0], zone: c.theirs[1]}
		want(t, fmt.Sprint(c), p.distance(&Connection{Region: c.ours[0], Zone: c.ours[1]}), c.want)
	}
}
