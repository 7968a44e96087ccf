package api_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/session"
)

// The files in testdata/table are conversations with a daemon of their own, over
// a real connection. A line that is not indented is asked:
//
//	# a remark
//	METHOD PATH [{Header: value}…] ["body"[*times]] [chunked]
//	raw "bytes"      until the connection ends
//	state            what there is in the daemon
//	exiting, panic   from here on the daemon is so
//
// The indented lines below it are the answer: the status, and whether the
// connection takes another request; the headers that matter; the body.
func TestTable(t *testing.T) {
	files, err := filepath.Glob("testdata/table/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := converse(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s differs:\n%s", file, firstDifference(string(want), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range w {
		if i >= len(g) || w[i] != g[i] {
			from := max(i-6, 0)
			return fmt.Sprintf("line %d, want\n%s\ngot\n%s", i+1,
				strings.Join(w[from:min(i+4, len(w))], "\n"), strings.Join(g[from:min(i+4, len(g))], "\n"))
		}
	}
	return "it goes on with\n" + strings.Join(g[len(w):], "\n")
}

// talker asks one daemon line by line.
type talker struct {
	*daemon
	addr  string
	conn  net.Conn // nil: the next request opens one
	read  *bufio.Reader
	panic atomic.Bool
}

// converse does what text asks and returns it with the answers.
func converse(t *testing.T, text string) string {
	k := &talker{}
	var log slog.LevelVar
	links := lookupds(nil)
	k.daemon = start(t, func(_ *broker.Settings, c *api.Config) {
		c.Disconnect = func(connection uint64) bool { return connection == 42 }
		c.Lookupds, c.Settings = &links, settingsOf(&links, &log)
		c.Log = slog.New(slog.DiscardHandler)
		c.Clients = func() []session.Client {
			if k.panic.Load() {
				panic("told to")
			}
			return nil
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k.addr = l.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- httpapi.Serve(ctx, l, k.handler, k.config.Log) }()
	var out strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "  ") {
			continue // the answer of the last time
		}
		out.WriteString(line)
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			for answer := range strings.Lines(k.ask(line)) {
				out.WriteString("  " + answer)
			}
		}
	}
	k.hangUp()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return out.String()
}

func (k *talker) ask(line string) string {
	k.t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "state":
		return k.state()
	case "exiting":
		k.broker.Refuse()
		return ""
	case "panic":
		k.panic.Store(true)
		return ""
	case "raw":
		k.hangUp()
		k.dial()
		k.write(k.quoted(&rest))
		var all strings.Builder
		for {
			answer, err := http.ReadResponse(k.read, nil)
			if err != nil {
				k.hangUp()
				return all.String()
			}
			all.WriteString(k.describe(answer, ""))
		}
	}
	return k.request(word, rest)
}

// request sends what a line asks for, and describes the answer.
func (k *talker) request(method, rest string) string {
	k.t.Helper()
	path, rest, _ := strings.Cut(rest, " ")
	var w bytes.Buffer
	fmt.Fprintf(&w, "%s %s HTTP/1.1\r\nHost: a\r\n", method, path)
	for strings.HasPrefix(rest, "{") {
		header, after, _ := strings.Cut(rest[1:], "}")
		w.WriteString(header + "\r\n")
		rest = strings.TrimSpace(after)
	}
	body := ""
	if strings.HasPrefix(rest, `"`) {
		body = k.quoted(&rest)
	}
	if strings.TrimSpace(rest) == "chunked" {
		half := len(body) / 2
		fmt.Fprintf(&w, "Transfer-Encoding: chunked\r\n\r\n")
		for _, part := range []string{body[:half], body[half:]} {
			if part != "" {
				fmt.Fprintf(&w, "%x\r\n%s\r\n", len(part), part)
			}
		}
		w.WriteString("0\r\n\r\n")
	} else if method != "GET" || body != "" {
		fmt.Fprintf(&w, "Content-Length: %d\r\n\r\n%s", len(body), body)
	} else {
		w.WriteString("\r\n")
	}
	if k.conn == nil {
		k.dial()
	}
	k.write(w.String())
	answer, err := http.ReadResponse(k.read, &http.Request{Method: method})
	if err != nil {
		k.t.Fatalf("%s %s: %v", method, path, err)
	}
	return k.describe(answer, path)
}

var (
	times = regexp.MustCompile(`"(start_time|since|deadline)":\d+`)
	nodes = regexp.MustCompile(`"node":\{[^}]*\}`) // it has the machine's disk
)

// describe says what an answer is. That the connection is as the answer has it
// is tried.
func (k *talker) describe(answer *http.Response, path string) string {
	k.t.Helper()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	var w strings.Builder
	fmt.Fprintf(&w, "%d %s\n", answer.StatusCode, map[bool]string{true: "closed", false: "open"}[answer.Close])
	for _, name := range []string{"Allow", "Content-Type", "Location", "X-Nsq-Content-Type"} {
		if v, given := answer.Header[name]; given {
			fmt.Fprintf(&w, "%s: %s\n", name, strings.Join(v, ", "))
		}
	}
	switch {
	case strings.HasPrefix(path, "/debug/pprof") && answer.StatusCode == http.StatusOK:
		fmt.Fprintf(&w, "empty: %v\n", len(body) == 0)
	case len(body) > 0:
		fmt.Fprintf(&w, "%s\n", shown(string(body)))
	}
	switch {
	case path == "": // of a raw one, which ends by itself
	case answer.Close:
		if _, err := k.read.ReadByte(); err == nil {
			k.t.Errorf("%s: the connection goes on", path)
		}
		k.hangUp()
	default:
		k.write("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := http.ReadResponse(k.read, nil); err != nil {
			k.t.Errorf("%s: the connection is at its end: %v", path, err)
		}
		k.read.Reset(k.conn) // what is left of it is OK, or why not
	}
	return w.String()
}

// shown is as much of an answer's body as belongs into the table: what stats has
// of a topic has tables of its own.
func shown(body string) string {
	body = strings.TrimSpace(nodes.ReplaceAllString(times.ReplaceAllString(body, `"$1":TIME`), `"node":{…}`))
	if before, _, found := strings.Cut(body, `"channels":[{`); found {
		return before + "…"
	}
	return body
}

// state lists topics and channels with what stats says of them.
func (k *talker) state() string {
	var all struct {
		Topics []struct {
			Name     string `json:"topic_name"`
			Depth    int64  `json:"depth"`
			Count    int64  `json:"message_count"`
			Paused   bool   `json:"paused"`
			Channels []struct {
				Name     string `json:"channel_name"`
				Depth    int64  `json:"depth"`
				Deferred int64  `json:"deferred_count"`
				Paused   bool   `json:"paused"`
			} `json:"channels"`
		} `json:"topics"`
	}
	k.get("/stats?format=json&include_mem=false", &all)
	var w strings.Builder
	for _, t := range all.Topics {
		fmt.Fprintf(&w, "%s depth=%d messages=%d%s\n", t.Name, t.Depth, t.Count, paused(t.Paused))
		for _, c := range t.Channels {
			fmt.Fprintf(&w, "  %s depth=%d deferred=%d%s\n", c.Name, c.Depth, c.Deferred, paused(c.Paused))
		}
	}
	if w.Len() == 0 {
		return "nothing\n"
	}
	return w.String()
}

func paused(p bool) string {
	if p {
		return " paused"
	}
	return ""
}

// quoted takes a quoted string, and how often it is to be repeated, off text.
func (k *talker) quoted(text *string) string {
	k.t.Helper()
	prefix, err := strconv.QuotedPrefix(*text)
	if err != nil {
		k.t.Fatalf("%q: %v", *text, err)
	}
	body, err := strconv.Unquote(prefix)
	if err != nil {
		k.t.Fatal(err)
	}
	*text = (*text)[len(prefix):]
	if times, after, _ := strings.Cut(*text, " "); strings.HasPrefix(times, "*") {
		n, err := strconv.Atoi(times[1:])
		if err != nil {
			k.t.Fatal(err)
		}
		body, *text = strings.Repeat(body, n), after
	}
	return body
}

func (k *talker) dial() {
	k.t.Helper()
	var err error
	if k.conn, err = net.Dial("tcp", k.addr); err != nil {
		k.t.Fatal(err)
	}
	_ = k.conn.SetDeadline(time.Now().Add(20 * time.Second))
	k.read = bufio.NewReader(k.conn)
}

func (k *talker) hangUp() {
	if k.conn != nil {
		_ = k.conn.Close()
		k.conn = nil
	}
}

// write writes as much as is read: a request that is refused at once is not
// read to its end.
func (k *talker) write(text string) {
	k.t.Helper()
	if _, err := io.WriteString(k.conn, text); err != nil && !errors.Is(err, net.ErrClosed) {
		k.t.Logf("writing: %v", err)
	}
}
