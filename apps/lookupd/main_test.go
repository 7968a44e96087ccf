package main

import (
	"bytes"
	"context"
	"flag"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/internal/program/programtest"
)

func TestWhatCannotBeDoneIsALine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"taken TCP port":  {[]string{"--tcp-address=" + taken.Addr().String(), "--http-address=127.0.0.1:0"}, "address already in use"},
		"taken HTTP port": {[]string{"--tcp-address=127.0.0.1:0", "--http-address=" + taken.Addr().String()}, "address already in use"},
		"unknown flag":    {[]string{"--nonsense"}, "-nonsense"},
		"two complaints":  {[]string{"--tcp-address=4160", "--log-level=loud"}, "a socket file\nlookupd: log-level \"loud\""},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			std := program.Stdio{In: strings.NewReader(""), Out: &out, Err: &errs}
			status := itself.Run(context.Background(), c.args, std)
			line := errs.String()
			if status != 1 || !strings.Contains(line, c.want) || strings.Count(line, "\n") != 1+strings.Count(c.want, "\n") {
				t.Errorf("status %d, said %q", status, line)
			}
		})
	}
}

func TestAnEndedContextIsAnOrderlyStop(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	var out, errs bytes.Buffer
	std := program.Stdio{In: strings.NewReader(""), Out: &out, Err: &errs}
	args := []string{"--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"}
	if status := itself.Run(ctx, args, std); status != 0 {
		t.Errorf("status %d: %s", status, &errs)
	}
}

// TestDocumented wants every flag that nsqlookupd has not in the page for those
// who come from there, in one row.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/coming-from-nsq.md")
	if err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(string(text), "| flags that nsqlookupd has not |")
	row, _, _ = strings.Cut(row, "\n")
	fs := flag.NewFlagSet("lookupd", flag.ContinueOnError)
	setup(fs, program.Stdio{})
	theirs := []string{"tcp-address", "http-address", "broadcast-address", "inactive-producer-timeout", "tombstone-lifetime", "log-level", "log-prefix"}
	for _, o := range program.Options(fs) {
		listed := slices.Contains(strings.FieldsFunc(row, func(r rune) bool { return strings.ContainsRune(" `|", r) }), "--"+o.Flag.Name)
		if listed == slices.Contains(theirs, o.Flag.Name) {
			t.Errorf("docs/coming-from-nsq.md lists --%s: %v", o.Flag.Name, listed)
		}
	}
}

// TestEveryFlagOfNSQ starts lookupd with all flags of nsqlookupd at their
// defaults, but for the ports, and with all of its config file's keys.
func TestEveryFlagOfNSQ(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nsqlookupd.cfg")
	err := os.WriteFile(path, []byte(`
log_level = "info"
log_prefix = "[nsqlookupd] "
tcp_address = "127.0.0.1:0"
http_address = "127.0.0.1:0"
broadcast_address = "localhost"
inactive_producer_timeout = "300s"
tombstone_lifetime = 45000
verbose = false
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"flags": {[]string{
			"--log-level=info", "--log-format=text", "--log-prefix=[nsqlookupd] ", "--verbose=true", "--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0",
			"--broadcast-address=localhost", "--inactive-producer-timeout=5m0s", "--tombstone-lifetime=45s",
		}, "lookupd: warning: --verbose has no effect: say --log-level=debug\n[nsqlookupd] time="},
		"keys": {[]string{"--config=" + path, "--log-format=text"},
			"lookupd: warning: config " + path + ":9: verbose has no effect: say --log-level=debug\n[nsqlookupd] time="},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			stop()
			var out, errs bytes.Buffer
			status := itself.Run(ctx, c.args, program.Stdio{Out: &out, Err: &errs})
			if status != 0 || !strings.HasPrefix(errs.String(), c.want) {
				t.Errorf("status %d, said\n%s", status, &errs)
			}
		})
	}
}

// What --print-config prints is a config file that means the same, whatever is in it.
func TestPrintedIsRead(t *testing.T) {
	programtest.RoundTrip(t, itself,
		`--tcp-address=127.0.0.1:0`,
		`--broadcast-address=h`,
		`--inactive-producer-timeout=1ns`,
		`--tombstone-lifetime=0s`,
		`--peer-timeout=30.5s`,
		`--unix-socket-mode=0777`,
		`--log-prefix=[l] \`,
		`--max-connections=7`,
		`--https-address=`,
		`--audit-file=a b`,
	)
}
