package qd_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

// auditLines are the entries in a file; a line that is none fails the test.
func auditLines(t *testing.T, path string) (all []audit.Entry) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// token adds somebody with some rights to an access file, and returns his token.
func token(t *testing.T, name, rights string) (secret, lines string) {
	t.Helper()
	secret, lines, err := access.NewToken(name)
	if err != nil {
		t.Fatal(err)
	}
	return secret, lines + fmt.Sprintf("\n[[rule]]\nwho = [%q]\nrights = [%s]\n", name, rights)
}

// lastAction is that of the last entry in a file.
func lastAction(t *testing.T, path string) string {
	all := auditLines(t, path)
	return all[len(all)-1].Action
}

// word is what a reason begins with; the rest is for people.
func word(reason string) string {
	before, _, _ := strings.Cut(reason, ":")
	return before
}

// operator sends requests to the HTTP side of a daemon, as somebody.
type operator struct {
	t             *testing.T
	d             *qd.Daemon
	token, behalf string
}

func (o operator) do(method, path, body string) string {
	o.t.Helper()
	r, err := http.NewRequest(method, "http://"+o.d.HTTPAddr().String()+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	r.Close = true
	r.Header.Set("User-Agent", "script")
	r.Header.Set("Authorization", "Bearer "+o.token)
	if o.behalf != "" {
		r.Header.Set(audit.ForHeader, o.behalf)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return string(text)
}

// conversation is a V2 connection.
func conversation(t *testing.T, d *qd.Daemon, commands ...[]byte) *consumer {
	t.Helper()
	conn, err := net.Dial("tcp", d.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c := &consumer{t, conn}
	c.say([]byte(protocol.MagicV2))
	for _, command := range commands {
		c.say(command)
		c.frame()
	}
	return c
}

// TestAuditLog has everything done that changes something, in every way, and compares
// what was written down.
func TestAuditLog(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "audit.jsonl")
	ops, a := token(t, "ops", `"manage", "publish", "stats"`)
	worker, b := token(t, "worker", `"publish", "subscribe", "look"`)
	rules := filepath.Join(dir, "access.toml")
	if err := os.WriteFile(rules, []byte(a+b+"\n[[rule]]\nwho = [\"anyone\"]\nrights = [\"publish\", \"subscribe\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := settings(t)
	s.AuditFile, s.AccessFile = file, rules
	d, err := qd.Listen(s, slog.New(slog.DiscardHandler), new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	stop := serve(t, d)

	asOps := operator{t, d, ops, ""}
	for _, change := range []string{
		"/topic/create?topic=orders&max_messages=1000", "/create_topic?topic=old", "/topic/policy?topic=orders&retention_age=1h",
		"/channel/create?topic=orders&channel=ship", "/channel/policy?topic=orders&channel=ship&max_attempts=1",
		"/topic/pause?topic=orders&reason=%0A", "/topic/pause?topic=orders&reason=stock+taking", "/topic/unpause?topic=orders",
		"/channel/pause?topic=orders&channel=ship", "/channel/unpause?topic=orders&channel=ship",
		"/topic/empty?topic=orders", "/channel/empty?topic=orders&channel=ship", "/channel/seek?topic=orders&channel=ship&to=earliest",
		"/channel/delete?topic=orders&channel=none", "/channel/delete?topic=orders&channel=ship", "/topic/delete?topic=old",
		"/message/revive?topic=orders&channel=none&all=true", "/message/delete?topic=orders&channel=none&id=zzz",
		"/client/disconnect?connection=4711", "/debug/freememory", "/config/reload",
	} {
		asOps.do("POST", change, "")
	}
	asOps.do("PUT", "/config/log_level", "debug")
	asOps.do("PUT", "/config/log_level", "loud")
	asOps.do("PUT", "/config/data_path", "/secret")
	asOps.do("PUT", "/debug/setblockrate?rate=0", "")
	asOps.do("GET", "/delete_topic?topic=none", "")

	// Through an admin, by one who may, and by one who may not.
	operator{t, d, ops, "anna%0A%E2%80%AE"}.do("POST", "/topic/create?topic=by.anna", "")
	operator{t, d, ops, "anna"}.do("POST", "/pub?topic=by.anna.too", "x")
	operator{t, d, worker, "root"}.do("POST", "/topic/delete?topic=orders", "")
	operator{t, d, worker, "root"}.do("POST", "/pub?topic=by.worker", "x")
	operator{t, d, "wrong", ""}.do("POST", "/topic/delete?topic=orders&token=wrong", "")
	operator{t, d, ops, ""}.do("POST", "/pub?topic=by.worker", "no line: it is there")

	// Dead messages, copied and dropped.
	conversation(t, d, protocol.AppendPub(nil, "by.tcp", []byte("one"))).conn.Close()
	c := conversation(t, d, protocol.AppendAuth(nil, []byte(worker)), protocol.AppendSub(nil, "by.tcp", "work"))
	asOps.do("POST", "/channel/policy?topic=by.tcp&channel=work&max_attempts=1", "")
	c.say(protocol.AppendRdy(nil, 1))
	c.say(protocol.AppendReq(nil, c.message().ID, 0))
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(asOps.do("GET", "/stats?format=json&topic=by.tcp", ""), `"dead_count":1`); {
		if time.Now().After(deadline) {
			t.Fatal("the message does not die")
		}
	}
	operator{t, d, worker, ""}.do("POST", "/message/copy?topic=by.tcp&channel=work&state=dead&all=true&to=copies", "")
	asOps.do("POST", "/message/revive?topic=by.tcp&channel=work&all=true", "")
	c.conn.Close()

	// What goes by itself.
	gone := conversation(t, d, protocol.AppendSub(nil, "brief#ephemeral", "c#ephemeral"))
	gone.conn.Close()
	for deadline := time.Now().Add(30 * time.Second); strings.Contains(asOps.do("GET", "/stats?format=json", ""), "brief#ephemeral"); {
		if time.Now().After(deadline) {
			t.Fatal("the topic does not go")
		}
	}
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(lastAction(t, file), "delete-topic"); time.Sleep(time.Millisecond) { // a real daemon and file
		if time.Now().After(deadline) {
			t.Fatal("nobody has written that it goes")
		}
	}
	_, _ = d.Reload()
	if err := stop(); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()

	var got strings.Builder
	for i, e := range auditLines(t, file) {
		if e.Number != uint64(i+1) || e.At.IsZero() || !e.Done {
			t.Errorf("%+v", e)
		}
		fmt.Fprintf(&got, "%s %s/%s by %q (%s) through %q via %s: %s", e.Action, e.Topic, e.Channel, e.Who, e.How, e.Through, e.Via, e.Outcome())
		if e.Detail != "" {
			fmt.Fprintf(&got, " {%s}", strings.ReplaceAll(e.Detail, program.Version, "VERSION"))
		}
		if e.Refused != "" {
			fmt.Fprintf(&got, " because %s", word(e.Refused))
		}
		for _, r := range e.Results {
			if r.Count > 0 || r.Error != "" {
				fmt.Fprintf(&got, " count %d %s", r.Count, word(r.Error))
			}
			if r.Node != d.HTTPAddr().String() {
				t.Errorf("node %s", r.Node)
			}
		}
		got.WriteString("\n")
		local := strings.HasPrefix(e.From, "127.0.0.1:")
		if local != (e.Via == audit.HTTP || e.Via == audit.Admin || e.Via == audit.TCP) || (e.UserAgent == "script") != (e.Via == audit.HTTP || e.Via == audit.Admin) {
			t.Errorf("from %s, %s: %+v", e.From, e.UserAgent, e)
		}
	}
	if strings.Contains(got.String(), ops) || strings.Contains(got.String(), worker) || strings.Contains(got.String(), "wrong") || strings.Contains(got.String(), "/secret") {
		t.Error("there are secrets in it")
	}
	const golden = "testdata/audit.txt"
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("it says\n%s\nwant\n%s", got.String(), want)
	}
}
