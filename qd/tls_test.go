package qd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/secure/securetest"
	"github.com/millrace-mq/millrace/protocol"
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
		{"false", "verify-if-given", true, 200, true},
		{"false", "verify-if-given", false, 200, true},
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

// lookers is a policy that lets everybody look, and do nothing else.
type lookers struct{}

func (lookers) Allow(_ context.Context, _ access.Who, action access.Action, _, _ string) error {
	if action != access.Stats && action != access.Find && action != access.List {
		return errors.New("you may only look")
	}
	return nil
}

// TestPolicy wants it asked by both HTTP addresses, and not by TCP.
func TestPolicy(t *testing.T) {
	a, err := securetest.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	s := settings(t)
	s.HTTPSAddress, s.Policy = "127.0.0.1:0", lookers{}
	if s.TLSCert, s.TLSKey, s.TLSRootCAFile, err = a.Write(t.TempDir(), "server"); err != nil {
		t.Fatal(err)
	}
	d, stop := start(t, s)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.Pool()}, DisableKeepAlives: true}}
	for _, face := range []string{"http://" + d.HTTPAddr().String(), "https://" + d.HTTPSAddr().String()} {
		for _, c := range []struct {
			method, path, want string
		}{
			{"GET", "/ping", "200 OK"},
			{"GET", "/info", "200 {"},
			{"POST", "/pub?topic=t", `403 {"message":"FORBIDDEN: you may only look"}`},
			{"POST", "/topic/create?topic=t", `403 {"message":"FORBIDDEN: you may only look"}`},
		} {
			q, err := http.NewRequest(c.method, face+c.path, strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			r, err := client.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if got := fmt.Sprintf("%d %s", r.StatusCode, body); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s %s%s is answered %s, want %s", c.method, face, c.path, got, c.want)
			}
		}
	}
	consumer := subscribe(t, d)
	consumer.say(append(protocol.AppendRdy(nil, 0), "PUB t\n\x00\x00\x00\x01x"...))
	if kind, answer := consumer.frame(); kind != protocol.FrameResponse || string(answer) != protocol.OK {
		t.Errorf("over TCP, PUB is answered %s %s", kind, answer)
	}
	if err := consumer.conn.Close(); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
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
