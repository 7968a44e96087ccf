package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/internal/program/programtest"
)

// run runs the program in process until its context ends, which it has already.
func run(t *testing.T, in string, args ...string) (status int, out, errs string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	if !slices.Contains(args, "--hash-password") {
		stop()
	}
	defer stop()
	var o, e bytes.Buffer
	status = itself.Run(ctx, args, program.Stdio{In: strings.NewReader(in), Out: &o, Err: &e})
	return status, o.String(), e.String()
}

func TestWhatCannotBeDoneIsALine(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"nobody to ask":           {nil, []string{"lookupd-http-address"}},
		"both to ask":             {[]string{"--lookupd-http-address=127.0.0.1:1", "--qd-http-address=127.0.0.1:2"}, []string{"not both"}},
		"a URL":                   {[]string{"--lookupd-http-address=http://127.0.0.1:1"}, []string{"lookupd-http-address"}},
		"open to the network":     {[]string{"--qd-http-address=127.0.0.1:1", "--http-address=0.0.0.0:0"}, []string{"--users-file"}},
		"names without a proxy":   {[]string{"--qd-http-address=127.0.0.1:1", "--admin-user=me"}, []string{"--trusted-proxy"}},
		"two things are wrong":    {[]string{"--qd-http-address=127.0.0.1:1", "--bodies-for=all", "--sample-interval=1ms"}, []string{"bodies-for", "sample-interval"}},
		"a base path with tricks": {[]string{"--qd-http-address=127.0.0.1:1", "--base-path=/a/../b"}, []string{"base-path"}},
		"no password":             {[]string{"--hash-password"}, []string{"hash-password"}},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, errs := run(t, "", append([]string{"--http-address=127.0.0.1:0"}, c.args...)...)
			if status != 1 || strings.Count(errs, "\n") != len(c.want) {
				t.Fatalf("status %d, said %q, want %d lines", status, errs, len(c.want))
			}
			for _, w := range c.want {
				if !strings.Contains(errs, w) {
					t.Errorf("said %q, which lacks %q", errs, w)
				}
			}
		})
	}
}

func TestHashPassword(t *testing.T) {
	if status, out, errs := run(t, strings.Repeat("x", 1025)+"\n", "--hash-password"); status != 1 || out != "" || !strings.Contains(errs, "1024") {
		t.Errorf("too long: status %d, printed %q, said %q", status, out, errs)
	}
	status, out, errs := run(t, "correct horse\n", "--hash-password")
	if status != 0 || !strings.HasPrefix(out, "$") || strings.Contains(out, "horse") {
		t.Errorf("status %d, printed %q, said %q", status, out, errs)
	}
}

// theirs are nsqadmin's flags that do the same here, or nothing.
var theirs = []string{
	"acl-http-header", "admin-user", "allow-config-from-cidr", "base-path", "http-address", "http-client-connect-timeout",
	"http-client-request-timeout", "http-client-tls-cert", "http-client-tls-insecure-skip-verify", "http-client-tls-key",
	"http-client-tls-root-ca-file", "log-level", "log-prefix", "lookupd-http-address", "notification-http-endpoint",
}

// TestDocumented wants every flag that nsqadmin has not in the page for those who
// come from there, in one row.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/coming-from-nsq.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(string(text), "| flags that nsqadmin has not |")
	row, _, _ = strings.Cut(row, "\n")
	fs := flag.NewFlagSet("admin", flag.ContinueOnError)
	setup(fs, program.Stdio{})
	for _, o := range program.Options(fs) {
		listed := slices.Contains(strings.FieldsFunc(row, func(r rune) bool { return strings.ContainsRune(" `|", r) }), "--"+o.Flag.Name)
		if listed == slices.Contains(theirs, o.Flag.Name) {
			t.Errorf("docs/coming-from-nsq.md lists --%s: %v", o.Flag.Name, listed)
		}
	}
}

// TestEveryFlagOfNSQ starts admin with all flags of nsqadmin at their defaults, but
// for the address, and with all of its config file's keys.
func TestEveryFlagOfNSQ(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nsqadmin.cfg")
	err := os.WriteFile(path, []byte(`
log_level = "info"
log_prefix = "[nsqadmin] "
http_address = "127.0.0.1:0"
base_path = "/"
dev_static_dir = ""
graphite_url = ""
proxy_graphite = false
statsd_prefix = "nsq.%s"
statsd_counter_format = "stats.counters.%s.count"
statsd_gauge_format = "stats.gauges.%s"
statsd_interval = "60s"
notification_http_endpoint = ""
nsqlookupd_http_addresses = ["127.0.0.1:1"]
allow_config_from_cidr = "127.0.0.1/8"
acl_http_header = "X-Forwarded-User"
http_client_connect_timeout = "2s"
http_client_request_timeout = 5000
http_client_tls_insecure_skip_verify = false
http_client_tls_root_ca_file = ""
http_client_tls_cert = ""
http_client_tls_key = ""
admin_users = []
nsqd_http_addresses = []
verbose = false
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"flags": {
			"--http-address=127.0.0.1:0", "--log-level=info", "--log-format=text", "--log-prefix=[nsqadmin] ", "--verbose=false", "--base-path=/", "--graphite-url=",
			"--proxy-graphite=false", "--statsd-counter-format=stats.counters.%s.count", "--statsd-gauge-format=stats.gauges.%s", "--statsd-prefix=nsq.%s",
			"--statsd-interval=1m0s", "--notification-http-endpoint=", "--http-client-connect-timeout=2s", "--http-client-request-timeout=5s",
			"--http-client-tls-insecure-skip-verify=false", "--allow-config-from-cidr=127.0.0.1/8", "--acl-http-header=X-Forwarded-User",
			"--dev-static-dir=", "--nsqd-http-address=127.0.0.1:1",
		},
		"keys":  {"--config=" + path, "--log-format=text"},
		"check": {"--config=" + path, "--check-config"},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, errs := run(t, "", args...)
			if status != 0 || name != "check" && !strings.Contains(errs, "[nsqadmin] time=") {
				t.Errorf("status %d, said\n%s", status, errs)
			}
		})
	}
}

// What --print-config prints is a config file that means the same, whatever is in it.
func TestPrintedIsRead(t *testing.T) {
	programtest.RoundTrip(t, itself,
		`--lookupd-http-address=a:1,b:2`,
		`--trusted-proxy=10.0.0.0/8,::1`,
		`--admin-user=a b,ü`,
		`--cluster-name="#`,
		`--base-path=/x/y`,
		`--allow-config-from-cidr=`,
		`--session-key-file=kk`,
		`--audit-keep=1`,
		`--sample-interval=1.5s`,
		`--read-only`,
		`--http-client-token-file=t`,
	)
}
