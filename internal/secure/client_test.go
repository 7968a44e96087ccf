package secure_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/secure"
)

// TestClient verifies servers by its roots, for the name that it wants, with files
// that change.
func TestClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, others := authority(t, "ours"), authority(t, "others")
		f := files(t, ours)
		f.ClientAuth = "require-verify"
		server, err := secure.Server(f, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		own := files(t, ours)
		client, err := secure.Client(secure.ClientFiles{Prefix: "lookupd-", Cert: own.Cert, Key: own.Key, RootCA: own.RootCA}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for name, ok := range map[string]bool{"server": true, "localhost": true, "127.0.0.1": true, "other": false} {
			if _, ours, theirs := shake(server, client(name)); (ours == nil && theirs == nil) != ok {
				t.Errorf("a server called %s: it says %v, the client %v", name, ours, theirs)
			}
		}
		write(t, own.RootCA, others.PEM)
		time.Sleep(time.Second) // of the fake clock: files are looked at once a second
		if _, _, theirs := shake(server, client("server")); theirs == nil {
			t.Error("the changed root is not looked at")
		}
		var log bytes.Buffer
		careless, err := secure.Client(secure.ClientFiles{Prefix: "lookupd-", Cert: own.Cert, Key: own.Key, SkipVerify: true}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if _, ours, theirs := shake(server, careless("other")); ours != nil || theirs != nil {
			t.Errorf("the server says %v, the client that believes anyone %v", ours, theirs)
		}
		if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "lookupd-tls-insecure-skip-verify") {
			t.Errorf("logged was %q", text)
		}
	})
}

// TestClientRefused wants each error to name the flag, with its prefix, and the file.
func TestClientRefused(t *testing.T) {
	a := authority(t, "ours")
	for name, c := range map[string]struct {
		spoil func(f *secure.ClientFiles)
		want  []string
	}{
		"no such root": {func(f *secure.ClientFiles) { f.RootCA += "x" }, []string{"lookupd-tls-root-ca-file", "ca.pemx", "no such file"}},
		"no root":      {func(f *secure.ClientFiles) { f.RootCA = f.Key }, []string{"lookupd-tls-root-ca-file", "key.pem", "PEM"}},
		"no such key":  {func(f *secure.ClientFiles) { f.Key += "x" }, []string{"lookupd-tls-key", "key.pemx"}},
		"a key for it": {func(f *secure.ClientFiles) { f.Cert = f.Key }, []string{"lookupd-tls-cert", "key.pem", "PEM"}},
		"another's key": {func(f *secure.ClientFiles) {
			_, key, _ := a.Issue("server", time.Time{})
			write(t, f.Key, key)
		}, []string{"lookupd-tls-key", "--lookupd-tls-cert", "key.pem", "cert.pem", "made for"}},
	} {
		s := files(t, a)
		f := secure.ClientFiles{Prefix: "lookupd-", Cert: s.Cert, Key: s.Key, RootCA: s.RootCA}
		c.spoil(&f)
		_, err := secure.Client(f, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%s: it is accepted", name)
			continue
		}
		for _, word := range c.want {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: no %q in: %v", name, word, err)
			}
		}
	}
}
