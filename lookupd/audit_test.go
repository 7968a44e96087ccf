package lookupd

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/program"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

// written are the entries in an audit file.
func written(t *testing.T, path string) (all []audit.Entry) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// Every route that is there to change something writes one line, with a name for what it
// does, to whomever it is refused. Profiles and all that only looks write none.
func TestEveryChangeIsWrittenDown(t *testing.T) {
	f := newFace(t)
	f.policy, f.settings = new(refuser), tellable{}
	for _, route := range f.router().Routes() {
		changes := route.Action == access.Manage && !strings.HasPrefix(route.Path, "/debug/pprof/")
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		w, err := audit.Open(path, "l1:4161", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		f.audit = w
		to := strings.NewReplacer(":option", "log_level", "*profile", "heap").Replace(route.Path)
		f.router().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(route.Method, to+"?topic=t&channel=c&node=n:1", nil))
		ended, end := context.WithCancel(t.Context())
		end()
		w.Run(ended)
		all := written(t, path)
		switch {
		case !changes && len(all) > 0:
			t.Errorf("%s %s writes %+v", route.Method, route.Path, all)
		case changes && (len(all) != 1 || all[0].Refused == "" || all[0].Topic != "t" || all[0].Channel != "c" || strings.ContainsAny(all[0].Action, "/:*_")):
			t.Errorf("%s %s writes %+v", route.Method, route.Path, all)
		}
	}
}

// TestAuditLog has everything done that changes something, and compares what was written
// down.
func TestAuditLog(t *testing.T) {
	file, rules := filepath.Join(t.TempDir(), "audit.jsonl"), filepath.Join(t.TempDir(), "access.toml")
	ops, lines, err := access.NewToken("ops")
	if err != nil {
		t.Fatal(err)
	}
	lines += "\n[[rule]]\nwho = [\"ops\"]\nrights = [\"manage\"]\n[[rule]]\nwho = [\"anyone\"]\nrights = [\"register\", \"stats\"]\n"
	if err := os.WriteFile(rules, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	s := DefaultSettings()
	s.TCPAddress, s.HTTPAddress, s.AuditFile, s.AccessFile, s.Level = "127.0.0.1:0", "127.0.0.1:0", file, rules, new(slog.LevelVar)
	d, err := Listen(s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	do := func(method, path, body, token, behalf string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+d.HTTPAddr().String()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set(audit.ForHeader, behalf)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}

	peer := d.dial(t)
	peer.join(4150)
	peer.say("REGISTER orders ship\n") // has no line
	peer.reply()
	for _, change := range []string{
		"/topic/create?topic=orders", "/create_topic?topic=old", "/channel/create?topic=orders&channel=ship", "/channel/create?topic=orders",
		"/topic/tombstone?topic=orders&node=127.0.0.1:4151", "/topic/tombstone?topic=orders",
		"/channel/delete?topic=orders&channel=ship", "/channel/delete?topic=orders&channel=none", "/topic/delete?topic=old", "/topic/delete?topic=none",
		"/config/reload",
	} {
		do("POST", change, "", ops, "")
	}
	do("PUT", "/config/log_level", "debug", ops, "")
	do("PUT", "/config/log_level", "loud", ops, "")
	do("GET", "/delete_topic?topic=none", "", ops, "")
	do("POST", "/topic/create?topic=by.anna", "", ops, "anna")
	do("POST", "/topic/delete?topic=orders&token=wrong", "", "wrong", "root")
	do("GET", "/nodes", "", ops, "")
	_ = peer.conn.Close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) { // a real connection is seen to be closed
		if all := written(t, file); len(all) > 0 && all[len(all)-1].Action == "leave" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody has written that the daemon leaves")
		}
	}
	_, _ = d.Reload()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}

	var got strings.Builder
	for i, e := range written(t, file) {
		if e.Number != uint64(i+1) || e.At.IsZero() || !e.Done {
			t.Errorf("%+v", e)
		}
		local := strings.HasPrefix(e.From, "127.0.0.1:")
		if local != (e.Via == audit.HTTP || e.Via == audit.Admin || e.Via == audit.TCP) {
			t.Errorf("from %s: %+v", e.From, e)
		}
		fmt.Fprintf(&got, "%s %s/%s %s by %q (%s) through %q via %s: %s", e.Action, e.Topic, e.Channel, e.Node, e.Who, e.How, e.Through, e.Via, e.Outcome())
		if e.Detail != "" {
			fmt.Fprintf(&got, " {%s}", strings.ReplaceAll(e.Detail, program.Version, "VERSION"))
		}
		if e.Refused != "" {
			reason, _, _ := strings.Cut(e.Refused, ":")
			fmt.Fprintf(&got, " because %s", reason)
		}
		got.WriteString("\n")
	}
	if strings.Contains(got.String(), ops) || strings.Contains(got.String(), "wrong") {
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
		t.Errorf("it says\n%s\nwant\n%s", &got, want)
	}
}
