package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// configFile writes a config file.
func configFile(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "millrace.cfg")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func setting(key string, value any) string { return fmt.Sprintf("%s = %v", key, value) }

func text(value string) string { return fmt.Sprintf("%q", value) }

// nsqd's and nsqlookupd's config files are ours: the same keys, milliseconds,
// lists; a flag wins over the file; what has no meaning any more is said.
func TestConfigFiles(t *testing.T) {
	l := newLookup(t)
	lookupd := start(t, nil, "lookupd", "--config="+configFile(t,
		setting("verbose", false), setting("tcp_address", text(l.tcp)), setting("http_address", text(l.http)),
		setting("inactive_producer_timeout", text("300s")), setting("tombstone_lifetime", text("45s"))))
	answering(t, lookupd, l.http)

	d := newDaemon(t)
	qd := start(t, nil, "qd", "--max-rdy-count=7", "--config", configFile(t,
		"## nsqd's, with its comments",
		setting("verbose", false), setting("tcp_address", text(d.tcp)), setting("http_address", text(d.http)),
		setting("broadcast_address", text("127.0.0.1")), setting("data_path", text(d.data)),
		setting("nsqlookupd_tcp_addresses", "[\n    "+text(l.tcp)+"\n]"),
		setting("msg_timeout", text("90s")), setting("max_msg_timeout", 120_000), setting("max_rdy_count", 2500),
		setting("statsd_mem_stats", true)))
	answering(t, qd, d.http)
	d.post(t, "/topic/create?topic=orders", "")
	eventually(t, "lookupd to list the topic", func() bool { return l.lists("orders") })

	for p, wants := range map[*process]int{qd: 1, lookupd: 1} {
		if n := strings.Count(p.stderr.String(), "verbose"); n != wants {
			t.Errorf("%s names the obsolete key %d times, want %d:\n%s", p.name, n, wants, p.stderr.tail(5))
		}
	}
	got := negotiate(t, d.tcp)
	if got.MsgTimeout != 90_000 || got.MaxMsgTimeout != 120_000 || got.MaxRdyCount != 7 {
		t.Errorf("msg_timeout %d ms, max_msg_timeout %d ms, max_rdy_count %d; want 90000, 120000 and 7, the flag's",
			got.MsgTimeout, got.MaxMsgTimeout, got.MaxRdyCount)
	}
	qd.stop(syscall.SIGTERM)
	lookupd.stop(syscall.SIGTERM)
}

// negotiate returns what a qd answers to IDENTIFY.
func negotiate(t *testing.T, address string) (r protocol.IdentifyResponse) {
	t.Helper()
	w, err := dial(address, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	body, err := json.Marshal(protocol.IdentifyRequest{FeatureNegotiation: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(protocol.AppendIdentify(nil, body)); err != nil {
		t.Fatal(err)
	}
	_, data, err := w.frame()
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatalf("the answer to IDENTIFY: %q, %v", data, err)
	}
	return r
}

// What is wrong in a config file is said in one line, with the file and the
// line.
func TestConfigFileIsWrong(t *testing.T) {
	tests := []struct{ program, line, says string }{
		{"qd", `tpc_address = "127.0.0.1:4150"`, "tcp_address"},
		{"qd", `msg_timeout = "soon"`, "msg_timeout"},
		{"qd", `max_rdy_count = "many"`, "max_rdy_count"},
		{"lookupd", `http_address = 4161`, "http_address"},
	}
	for _, tt := range tests {
		t.Run(tt.program+" "+tt.line, func(t *testing.T) {
			name := configFile(t, "# the second line is wrong", tt.line)
			p := start(t, nil, tt.program, "--config="+name)
			if got := p.status(); got != 1 {
				t.Errorf("ended with status %d, want 1", got)
			}
			if said := p.stderr.lines(); len(said) != 1 || !strings.Contains(said[0], name+":2") || !strings.Contains(said[0], tt.says) {
				t.Errorf("said %q, want one line that names %s:2 and %s", said, name, tt.says)
			}
		})
	}
}
