package main

import (
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/internal/program"
)

// asProgram has the test's binary be the program itself: terminals belong to processes.
const asProgram = "MILLRACE_TEST_STAT"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// called runs the program in this process.
func called(ctx context.Context, args ...string) (status int, out, errs string) {
	var o, e strings.Builder
	status = itself.Run(ctx, args, program.Stdio{In: strings.NewReader(""), Out: &o, Err: &e})
	return status, o.String(), e.String()
}

// All that is wrong is said at once.
func TestRefusals(t *testing.T) {
	for args, want := range map[string]string{
		"": "stat: lookupd-http-address or qd-http-address: at least one is needed, such as --lookupd-http-address=127.0.0.1:4161\n",
		"--qd-http-address=a:1 --nsqlookupd-http-address=b:1":                          "stat: lookupd-http-address and qd-http-address: give only one of them\n",
		"--qd-http-address=http://a:1 --interval=1ms --count=-1 --topic=? --channel=!": "stat: qd-http-address \"http://a:1\": must be host:port, without http://\nstat: topic \"?\": not a valid name\nstat: channel \"!\": not a valid name\nstat: interval 1ms: must be at least 100ms\nstat: count -1: must not be negative\n",
		"--qd-http-address=a:1 --json --plain":                                         "stat: json and plain: give only one of them\n",
		"--qd-http-address=a:1 --sort=luck --count=x":                                  "stat: sort \"luck\": must be trouble, depth, in, out, requeues, timeouts, clients or name\nstat: count \"x\": must be a whole number\n",
		"--qd-http-address=a:1 --http-client-tls-key=k --http-client-request-timeout=0": "stat: http-client-request-timeout 0s: must be positive\n" +
			"stat: http-client-tls-cert and http-client-tls-key: give both, or none\n",
	} {
		status, out, errs := called(t.Context(), strings.Fields(args)...)
		if status != 1 || out != "" || errs != want {
			t.Errorf("%s: status %d, %q, said\n%s, want\n%s", args, status, out, errs, want)
		}
	}
}

// Every flag stands in a section but those that most programs have.
func TestSections(t *testing.T) {
	fs := flag.NewFlagSet("stat", flag.ContinueOnError)
	setup(fs, program.Stdio{})
	listed := map[string]bool{"config": true, "log-level": true, "log-format": true}
	for _, s := range itself.Sections {
		for _, name := range s.Flags {
			listed[name] = true
		}
	}
	for _, o := range program.Options(fs) {
		if !listed[o.Flag.Name] {
			t.Errorf("--%s is in no section", o.Flag.Name)
		}
	}
}

// A daemon that asks for a token is shown the first line of the file.
func TestToken(t *testing.T) {
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer open sesame" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"version":"1.3.0","health":"OK","start_time":1,"topics":[],"producers":[]}`))
	}))
	defer daemon.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--qd-http-address=" + strings.TrimPrefix(daemon.URL, "http://"), "--interval=100ms", "--count=1", "--plain"}
	if status, _, _ := called(t.Context(), args...); status != 1 {
		t.Error("without the token stat ends with status 0")
	}
	status, out, errs := called(t.Context(), append(args, "--http-client-token-file="+file)...)
	if status != 0 || !strings.Contains(out, "1/1") {
		t.Errorf("with the token stat ends with status %d after\n%s%s", status, out, errs)
	}
}
