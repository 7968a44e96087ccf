package qd_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/secure/securetest"
	"github.com/millrace-mq/millrace/qd"
)

// TestHTTPS asks both HTTP addresses, at each setting of tls-required.
func TestHTTPS(t *testing.T) {
	a, err := securetest.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	alice, err := a.Pair("alice")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		required, policy string
		certificate      bool // the client has one
		plain            int  // status of plain HTTP
		secure           bool // HTTPS answers
	}{
		{"false", "", false, 200, true},
		{"true", "", false, 403, true},
		{"tcp-https", "", false, 200, true},
		{"false", "require-verify", true, 403, true},
		{"false", "require-verify", false, 403, false},
		{"tcp-https", "require", true, 200, true},
	} {
		s := settings(t)
		s.HTTPSAddress, s.TLSRequired, s.TLSClientAuthPolicy = "127.0.0.1:0", c.required, c.policy
		if s.TLSCert, s.TLSKey, s.TLSRootCAFile, err = a.Write(t.TempDir(), "server"); err != nil {
			t.Fatal(err)
		}
		d, stop := start(t, s)
		config := &tls.Config{RootCAs: a.Pool()}
		if c.certificate {
			config.Certificates = []tls.Certificate{alice}
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		for _, path := range []string{"/ping", "/info"} {
			r, err := client.Get("http://" + d.HTTPAddr().String() + path)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r.Body)
			_ = r.Body.Close()
			want := fmt.Sprintf(`{"message": "TLS_REQUIRED", "https_port": %s}`, port(d.HTTPSAddr()))
			if r.StatusCode != c.plain || (string(body) == want) != (c.plain == 403) {
				t.Errorf("%+v: %s is %s %s", c, path, r.Status, body)
			}
			r, err = client.Get("https://" + d.HTTPSAddr().String() + path)
			if (err == nil) != c.secure || err == nil && r.StatusCode != 200 {
				t.Errorf("%+v: %s over TLS is %v, %v", c, path, r, err)
			}
			if err == nil {
				_ = r.Body.Close()
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

// TestTLSRefusals wants a start that cannot be to say which flag is wrong, and
// to leave nothing open.
func TestTLSRefusals(t *testing.T) {
	a, err := securetest.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func(s *qd.Settings)
		want  string
	}{
		"required without": {func(s *qd.Settings) { s.TLSCert, s.TLSKey, s.TLSRequired = "", "", "true" }, "tls-required"},
		"policy without":   {func(s *qd.Settings) { s.TLSCert, s.TLSKey, s.TLSClientAuthPolicy = "", "", "require" }, "tls-"},
		"half a pair":      {func(s *qd.Settings) { s.TLSKey = "" }, "tls-cert"},
		"no such file":     {func(s *qd.Settings) { s.TLSKey += "x" }, "tls-key"},
		"address":          {func(s *qd.Settings) { s.HTTPSAddress = "127.0.0.1:99999" }, "https-address"},
	} {
		s := settings(t)
		s.HTTPSAddress = "127.0.0.1:0"
		if s.TLSCert, s.TLSKey, s.TLSRootCAFile, err = a.Write(t.TempDir(), "server"); err != nil {
			t.Fatal(err)
		}
		c.spoil(&s)
		if _, err := qd.Listen(s, slog.New(slog.DiscardHandler), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}

	s := settings(t)
	s.HTTPSAddress = ""
	if s.TLSCert, s.TLSKey, s.TLSRootCAFile, err = a.Write(t.TempDir(), "server"); err != nil {
		t.Fatal(err)
	}
	d, stop := start(t, s)
	if d.HTTPSAddr() != nil {
		t.Errorf("without an address it listens on %s", d.HTTPSAddr())
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
