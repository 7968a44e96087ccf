package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/internal/program/programtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nsqdFlags are all flags of nsqd with their defaults, after the reference, but
// for version, config and data-path. The third column is qd's default where it
// is another one on purpose, and "obsolete" where the flag means nothing here.
var nsqdFlags = []struct{ name, nsqd, qd string }{
	{"log-level", "info", ""},
	{"log-prefix", "[nsqd] ", "nothing"},
	{"verbose", "false", "obsolete"},
	{"worker-id", "false", "obsolete"},
	{"node-id", "617", "obsolete"},
	{"tcp-address", "0.0.0.0:4150", "127.0.0.1:4150"},
	{"http-address", "0.0.0.0:4151", "127.0.0.1:4151"},
	{"https-address", "0.0.0.0:4152", "127.0.0.1:4152"},
	{"broadcast-address", "", ""},
	{"broadcast-tcp-port", "0", ""},
	{"broadcast-http-port", "0", ""},
	{"lookupd-tcp-address", "", ""},
	{"auth-http-address", "", ""},
	{"auth-http-request-method", "get", ""},
	{"http-client-connect-timeout", "2s", ""},
	{"http-client-request-timeout", "5s", ""},
	{"topology-region", "", ""},
	{"topology-zone", "", ""},
	{"enable-experiment", "", ""},
	{"mem-queue-size", "10000", "1000000"},
	{"max-bytes-per-file", "104857600", ""},
	{"sync-every", "2500", ""},
	{"sync-timeout", "2s", ""},
	{"queue-scan-worker-pool-max", "4", "obsolete"},
	{"queue-scan-selection-count", "20", "obsolete"},
	{"msg-timeout", "1m0s", ""},
	{"max-msg-timeout", "15m0s", ""},
	{"max-msg-size", "1048576", ""},
	{"max-body-size", "5242880", ""},
	{"max-req-timeout", "1h0m0s", ""},
	{"max-heartbeat-interval", "1m0s", ""},
	{"max-rdy-count", "2500", ""},
	{"max-output-buffer-size", "65536", ""},
	{"max-output-buffer-timeout", "30s", ""},
	{"min-output-buffer-timeout", "25ms", ""},
	{"output-buffer-timeout", "250ms", ""},
	{"max-channel-consumers", "0", ""},
	{"statsd-address", "", ""},
	{"statsd-interval", "1m0s", ""},
	{"statsd-prefix", "nsq.%s", ""},
	{"statsd-mem-stats", "true", ""},
	{"statsd-udp-packet-size", "508", ""},
	{"statsd-exclude-ephemeral", "false", ""},
	{"e2e-processing-latency-percentile", "", ""},
	{"e2e-processing-latency-window-time", "10m0s", ""},
	{"tls-cert", "", ""},
	{"tls-key", "", ""},
	{"tls-root-ca-file", "", ""},
	{"tls-client-auth-policy", "", ""},
	{"tls-required", "false", ""},
	{"tls-min-version", "tls1.0", "tls1.2"},
	{"deflate", "true", ""},
	{"max-deflate-level", "6", ""},
	{"snappy", "true", ""},
}

func TestDefaultsAreNSQs(t *testing.T) {
	fs := flag.NewFlagSet("qd", flag.ContinueOnError)
	setup(fs, program.Stdio{})
	help := new(bytes.Buffer)
	itself.Draining(t.Context(), setup).Run(t.Context(), []string{"--help"}, program.Stdio{Out: help})
	for _, row := range nsqdFlags {
		f := fs.Lookup(row.name)
		if f == nil {
			t.Errorf("there is no --%s", row.name)
			continue
		}
		want := row.nsqd
		switch row.qd {
		case "":
		case "nothing":
			want = ""
		case "obsolete":
			want = f.DefValue
		default:
			want = row.qd
		}
		if f.DefValue != want {
			t.Errorf("--%s is %q unless said otherwise, want %q", row.name, f.DefValue, want)
		}
		if listed := strings.Contains(help.String(), "  --"+row.name); listed == (row.qd == "obsolete") {
			t.Errorf("--%s is listed by --help: %v", row.name, listed)
		}
	}
}

// TestDocumented wants every flag that differs from nsqd's in the page for those
// who come from there, and every one that nsqd has not.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/coming-from-nsq.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	fs := flag.NewFlagSet("qd", flag.ContinueOnError)
	setup(fs, program.Stdio{})
	differ := make(map[string]bool)
	for _, o := range program.Options(fs) {
		differ[o.Flag.Name] = true
	}
	for _, row := range nsqdFlags {
		differ[row.name] = row.qd != ""
	}
	for name, differs := range differ {
		if differs && name != "data-path" && !strings.Contains(page, "--"+name) {
			t.Errorf("docs/coming-from-nsq.md says nothing of --%s", name)
		}
	}
}

// run runs qd until it has started, or not, and returns what it said first and
// its exit status. It wants it to say that it listens, below the warnings.
func run(t *testing.T, args ...string) (warnings []string, status int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	said := &watched{word: "qd listens", seen: stop}
	status = itself.Draining(context.Background(), setup).Run(ctx, args, program.Stdio{Out: said, Err: said})
	for line := range strings.Lines(said.String()) {
		if strings.HasPrefix(line, "qd: ") {
			warnings = append(warnings, strings.TrimSpace(line))
		}
	}
	if status == 0 && !strings.Contains(said.String(), said.word) {
		t.Errorf("it never listened:\n%s", said.String())
	}
	return warnings, status
}

// watched is a writer that notices something; the logger's lock is enough for
// it.
type watched struct {
	bytes.Buffer
	word string
	seen func()
}

func (w *watched) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(w.word)) {
		w.seen()
	}
	return w.Buffer.Write(b)
}

// wantObsolete wants a warning for each flag that the table calls obsolete,
// worker-id and verbose too if all are given, and nothing else.
func wantObsolete(t *testing.T, warnings []string, names ...string) {
	t.Helper()
	if len(warnings) != len(names) {
		t.Errorf("%d warnings, want %d:\n%s", len(warnings), len(names), strings.Join(warnings, "\n"))
	}
	for _, name := range names {
		if !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, name+" has no effect: ") }) {
			t.Errorf("no warning about %s in\n%s", name, strings.Join(warnings, "\n"))
		}
	}
}

// TestServiceFile starts qd as a service file has nsqd started, with every flag
// that there is.
func TestServiceFile(t *testing.T) {
	args := []string{"--data-path=" + t.TempDir()}
	var obsolete []string
	for _, row := range nsqdFlags {
		value := row.nsqd
		switch row.name {
		case "tcp-address", "http-address":
			value = "127.0.0.1:0"
		case "tls-client-auth-policy", "statsd-address", "auth-http-address", "lookupd-tcp-address", "e2e-processing-latency-percentile":
			if value == "" {
				continue // nsqd's list flags are given only with something in them
			}
		}
		args = append(args, "--"+row.name+"="+value)
		if row.qd == "obsolete" {
			obsolete = append(obsolete, "--"+row.name)
		}
	}
	args = append(args, "-lookupd-tcp-address", "127.0.0.1:1", "-lookupd-tcp-address", "127.0.0.1:2",
		"-e2e-processing-latency-percentile", "1.0,0.99")
	warnings, status := run(t, args...)
	if status != 0 {
		t.Fatalf("status %d: %q", status, warnings)
	}
	wantObsolete(t, warnings, obsolete...)
}

// TestConfigFileOfNSQ takes a file of nsqd's that has every key.
func TestConfigFileOfNSQ(t *testing.T) {
	text, err := os.ReadFile("testdata/nsqd.cfg")
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{
		"node-id": "id", "lookupd-tcp-address": "nsqlookupd_tcp_addresses", "auth-http-address": "auth_http_addresses",
		"e2e-processing-latency-percentile": "e2e_processing_latency_percentiles",
	}
	for _, row := range nsqdFlags {
		key := cmp.Or(keys[row.name], strings.ReplaceAll(row.name, "-", "_"))
		if row.name != "worker-id" && row.name != "verbose" && !strings.Contains(string(text), "\n"+key+" = ") {
			t.Errorf("testdata/nsqd.cfg has no %s", key)
		}
	}
	var out bytes.Buffer
	check := []string{"--check-config", "--config=testdata/nsqd.cfg", "--data-path=" + t.TempDir()}
	if status := itself.Draining(t.Context(), setup).Run(t.Context(), check, program.Stdio{Out: &out, Err: &out}); status != 0 {
		t.Errorf("it is not in order:\n%s", &out)
	}
	warnings, status := run(t, "--config=testdata/nsqd.cfg", "--data-path="+t.TempDir())
	if status != 0 {
		t.Fatalf("status %d: %q", status, warnings)
	}
	wantObsolete(t, warnings, "id", "queue_scan_worker_pool_max", "queue_scan_selection_count")
}

func TestConfigFileRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "qd.cfg")
	err := os.WriteFile(path, []byte(`id = 5150
tls_required = "perhaps"
tls_min_version = 1.2
unix_socket_mode = 660
tcp_address = 4150
mem_queue_sice = 1
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	warnings, status := run(t, "--config="+path)
	said := strings.ReplaceAll(strings.Join(warnings, "\n"), path, "F")
	want := `qd: warning: config F:1: id has no effect: message IDs are drawn from a counter in the data path
qd: config F:1: id: must be a whole number from 0 to 1023
qd: config F:2: tls_required: must be true, false or tcp-https
qd: config F:3: tls_min_version: must be tls1.0, tls1.1, tls1.2 or tls1.3
qd: config F:4: unix_socket_mode: must be permissions in octal, in quotes if in a file, such as 0660
qd: config F:5: tcp_address: must be a string, or an array of strings
qd: config F:6: unknown key "mem_queue_sice": is "mem_queue_size" meant?`
	if status != 1 || said != want {
		t.Errorf("status %d, said\n%s\nwant\n%s", status, said, want)
	}
}

// TestRefusals is about what nsqd does not start with.
func TestRefusals(t *testing.T) {
	for args, want := range map[string]string{
		"--node-id=1024":                                            `qd: node-id "1024": must be a whole number from 0 to 1023`,
		"--max-deflate-level=0":                                     "qd: max-deflate-level 0: must be from 1 to 9",
		"--max-deflate-level=10":                                    "qd: max-deflate-level 10: must be from 1 to 9",
		"--e2e-processing-latency-percentile=1,0":                   "qd: e2e-processing-latency-percentile 0: must be above 0 and at most 1",
		"--auth-http-request-method=put":                            "qd: auth-http-request-method put: must be get or post",
		"--tls-required":                                            "qd: tls-required true: must be given together with --tls-cert and --tls-key",
		"--tls-min-version=ssl3.0":                                  `qd: tls-min-version "ssl3.0": must be tls1.0, tls1.1, tls1.2 or tls1.3`,
		"--data-path=/nowhere":                                      "qd: data path: open /nowhere: no such file or directory",
		"--data-path=main_test.go":                                  "qd: data path: open main_test.go: not a directory",
		"--tls-client-auth-policy=require":                          "qd: tls-client-auth-policy require: must be given together with --tls-cert and --tls-key",
		"--node-id=-1 --msg-timeout 5 --nothing":                    "qd: node-id \"-1\": must be a whole number from 0 to 1023\nqd: msg-timeout \"5\": must be a duration, such as \"250ms\"\nqd: unknown flag --nothing: qd --help lists the flags",
		"--durability=none":                                         `qd: durability "none": must be memory, disk or fsync`,
		"--lookupd-tcp-address=a:1 --broadcast-address=0.0.0.0":     `qd: broadcast-address "0.0.0.0": stands for every address, so nobody can connect to it: give one that consumers can connect to`,
		"--lookupd-tcp-address=a:1 --tcp-address= --tcp-address=/s": "qd: broadcast-tcp-port 0: must be given, for lookupd registers nobody without a port and the daemon listens at none",
		"--max-output-buffer-timeout=x --output-buffer-timeout=-1s": "qd: max-output-buffer-timeout \"x\": must be a duration, such as \"250ms\"\nqd: output-buffer-timeout -1s: must be 0 or more",
		"--log-level=loud --sync-every=0":                           "qd: sync-every 0: must be positive\nqd: log-level \"loud\": must be debug, info, warn, error or fatal",
	} {
		line := append([]string{"--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--data-path=" + t.TempDir()}, strings.Fields(args)...)
		if said, status := run(t, line...); status != 1 || strings.Join(said, "\n") != want {
			t.Errorf("%s: status %d, said\n%s", args, status, strings.Join(said, "\n"))
		}
	}
}

// What --print-config prints is a config file that means the same, whatever is in it.
func TestPrintedIsRead(t *testing.T) {
	programtest.RoundTrip(t, itself.Draining(t.Context(), setup),
		`--tcp-address=127.0.0.1:0,/tmp/a.sock,[::1]:0`,
		`--http-address=`,
		`--unix-socket-mode=0600`,
		`--e2e-processing-latency-percentile=0.5,1.0,0.999`,
		`--lookupd-tcp-address=a:1,b:2`,
		`--broadcast-address=x`,
		`--statsd-prefix=a"b\c%s`,
		"--log-prefix=[qd] # \"no\" = \x1b \t",
		`--drain-timeout=0s`,
		`--msg-timeout=1500us`,
		`--max-req-timeout=2562047h`,
		`--tls-cert=c`,
		`--tls-key=k`,
		`--tls-required=tcp-https`,
		`--tls-min-version=tls1.3`,
		`--durability=fsync`,
		`--mem-limit=9223372036854775807`,
		`--topology-zone=日本`,
		`--enable-experiment=topology-aware-consumption`,
		`--statsd-mem-stats=false`,
		`--access-file=it's.toml`,
		`--lookupd-token-file=token`,
		`--auth-http-address=a:1,http://b/auth`,
	)
}
