package access_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/millrace-mq/millrace/internal/access"
)

// deny refuses everything.
type deny struct{ err error }

func (d deny) Allow(context.Context, access.Who, access.Action, string, string) error { return d.err }

func TestAsk(t *testing.T) {
	no := errors.New("ask the owner")
	all := []access.Action{access.Stats, access.Look, access.Publish, access.Subscribe, access.Manage, access.Register, access.Find, access.List}
	for _, action := range all {
		if err := access.Ask(t.Context(), nil, access.Who{}, action, "t", "c"); err != nil {
			t.Errorf("%s without a policy: %v", action, err)
		}
		if err := access.Ask(t.Context(), deny{no}, access.Who{}, action, "t", "c"); !errors.Is(err, no) {
			t.Errorf("%s: %v", action, err)
		}
		if err := access.Ask(t.Context(), deny{}, access.Who{}, action, "t", "c"); err != nil {
			t.Errorf("%s is allowed: %v", action, err)
		}
	}
	if err := access.Ask(t.Context(), deny{no}, access.Who{}, access.Free, "", ""); err != nil {
		t.Errorf("what is free: %v", err)
	}
	for _, none := range []access.Action{0, access.Free + 1} {
		if err := access.Ask(t.Context(), deny{}, access.Who{}, none, "", ""); err == nil {
			t.Errorf("%s is allowed", none)
		}
	}
}

// A certificate that nobody has verified names nobody.
func TestOf(t *testing.T) {
	cert := new(x509.Certificate)
	for _, c := range []struct {
		state *tls.ConnectionState
		want  access.Who
	}{
		{nil, access.Who{Remote: "192.0.2.1:5"}},
		{&tls.ConnectionState{}, access.Who{Remote: "192.0.2.1:5", TLS: true}},
		{&tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}, access.Who{Remote: "192.0.2.1:5", TLS: true}},
		{
			&tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}},
			access.Who{Remote: "192.0.2.1:5", TLS: true, Certificate: cert},
		},
	} {
		if got := access.Of("192.0.2.1:5", c.state); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

func TestReasonIsOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"no":                           "no",
		"a\r\nb\x00c":                  "a  b c",
		strings.Repeat("x", 500):       strings.Repeat("x", 500),
		strings.Repeat("x", 501):       strings.Repeat("x", 500) + "…",
		"x" + strings.Repeat("é", 500): "x" + strings.Repeat("é", 249) + "…",
	} {
		got := access.Reason(errors.New(text))
		if got != want || !utf8.ValidString(got) {
			t.Errorf("%.20q is told as %q", text, got)
		}
	}
}
