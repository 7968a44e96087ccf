package packages

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// A daemon takes the settings that it is installed with, and those that the file proposes in
// comments.
func TestInstalledSettings(t *testing.T) {
	built := programs(t)
	proposed := regexp.MustCompile(`(?m)^# ([a-z_]+ = )`)
	for _, daemon := range []string{"qd", "lookupd", "admin"} {
		machine := t.TempDir()
		for _, dir := range []string{"lib/millrace", "lib/millrace-admin", "log/millrace", "log/millrace-lookupd"} {
			if err := os.MkdirAll(filepath.Join(machine, "var", dir), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		text := strings.ReplaceAll(read(t, root+"/deploy/etc/"+daemon+".toml"), `"/var/`, `"`+machine+"/var/")
		config := filepath.Join(machine, daemon+".toml")
		write(t, config, text)
		command(t, nil, filepath.Join(built, daemon), "--config="+config, "--check-config")
		// The files that these name are not there, so they are only read.
		write(t, config, proposed.ReplaceAllString(text, "$1"))
		command(t, nil, filepath.Join(built, daemon), "--config="+config, "--print-config")
	}
}

// After a rotation the audit log goes on in a new file, and nobody has told qd.
func TestAuditLogIsRotated(t *testing.T) {
	testenv.Need(t, "logrotate")
	folder := t.TempDir()
	logs := folder + "/var/log/millrace"
	if err := os.MkdirAll(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	sock, audit := filepath.Join(folder, "http"), logs+"/qd.jsonl"
	cmd := exec.Command(filepath.Join(programs(t), "qd"), "--tcp-address=127.0.0.1:0", "--http-address="+sock, "--data-path="+folder, "--audit-file="+audit, "--stop-timeout=0")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	qd := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", sock)
		},
	}}
	create := func(topic string) {
		t.Helper()
		until(t, "topic "+topic, func() bool {
			r, err := qd.Post("http://qd/topic/create?topic="+topic, "", nil)
			if err == nil {
				_ = r.Body.Close()
			}
			return err == nil && r.StatusCode == http.StatusOK
		})
	}
	has := func(file, topic string) {
		t.Helper()
		until(t, file+" with "+topic, func() bool {
			text, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(text), `"`+topic+`"`)
		})
	}
	create("before")
	has(audit, "before")
	// Here it is whoever runs the test that the file belongs to.
	rules := strings.ReplaceAll(read(t, root+"/deploy/logrotate.conf"), "/var/", folder+"/var/")
	config := filepath.Join(folder, "logrotate.conf")
	write(t, config, regexp.MustCompile(`(?m)^\tsu .*\n`).ReplaceAllString(rules, ""))
	command(t, nil, "logrotate", "--force", "--state="+filepath.Join(folder, "state"), config)
	create("after")
	has(audit, "after")
	has(audit+".1", "before")
	_ = cmd.Process.Signal(syscall.SIGINT) // what fails is told by Wait
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) { // another process: it has no event for us
		if time.Now().After(end) {
			t.Fatalf("there is no %s", what)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
