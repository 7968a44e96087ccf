package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/secure/securetest"
)

// authority signs certificates for a test.
type authority struct {
	*securetest.Authority
	t    *testing.T
	file string // its own certificate
}

// pair is the files of a certificate and its key.
type pair struct{ cert, key string }

func newAuthority(t *testing.T) *authority {
	t.Helper()
	signer, err := securetest.NewAuthority("the test's authority")
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{signer, t, filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(a.file, signer.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue writes a certificate in name, good for servers on this machine and for
// clients alike, to new files.
func (a *authority) issue(name string) pair {
	a.t.Helper()
	dir := a.t.TempDir()
	p := pair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	a.reissue(p, name)
	return p
}

// reissue puts another certificate in the place of p's, the way that tools which
// renew certificates do: each file is written beside and renamed.
func (a *authority) reissue(p pair, name string) {
	a.t.Helper()
	cert, key, err := a.Issue(name, time.Time{})
	if err != nil {
		a.t.Fatal(err)
	}
	for file, text := range map[string][]byte{p.cert: cert, p.key: key} {
		if err := os.WriteFile(file+".new", text, 0o600); err != nil {
			a.t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			a.t.Fatal(err)
		}
	}
}
