package audit_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
)

// rules are an access file that says text.
func rules(t *testing.T, text string) *access.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := access.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Who it was, and how that was shown: nobody is said to have shown what he has not.
func TestActor(t *testing.T) {
	token, lines, err := access.NewToken("ops")
	if err != nil {
		t.Fatal(err)
	}
	const certificate = "[[certificate]]\nname = \"robot\"\ncommon_name = \"robot.example\"\n"
	const manages = "[[rule]]\nrights = [\"manage\"]\nwho = "
	some := rules(t, lines+certificate+manages+`["ops", "robot"]`)
	anyone := rules(t, lines+certificate+manages+`["anyone"]`)
	for name, c := range map[string]struct {
		policy         access.Policy
		secret, behalf string
		certified      string
		want           audit.Actor
	}{
		"token":                         {some, token, "", "", audit.Actor{Who: "ops", How: "token", Via: audit.HTTP}},
		"certificate":                   {some, "", "", "robot.example", audit.Actor{Who: "robot", How: "certificate", Via: audit.HTTP}},
		"both":                          {some, token, "", "robot.example", audit.Actor{Who: "ops", How: "token", Via: audit.HTTP}},
		"certificate and a wrong token": {some, "wrong", "", "robot.example", audit.Actor{Who: "robot", How: "certificate", Via: audit.HTTP}},
		"unknown certificate":           {some, "", "", "other.example", audit.Actor{Who: "other.example", How: "certificate", Via: audit.HTTP}},
		"nobody":                        {some, "wrong", "root", "", audit.Actor{Via: audit.HTTP}},
		"for another":                   {some, token, "anna%20b", "", audit.Actor{Who: "anna b", How: "passed on", Through: "ops", Via: audit.Admin}},
		"for a name that is none":       {some, token, "%zz", "", audit.Actor{Who: "ops", How: "token", Via: audit.HTTP}},
		"anyone manages":                {anyone, "", "anna", "", audit.Actor{Who: "anna", How: "claimed", Via: audit.Admin}},
		"anyone manages, he is known":   {anyone, token, "anna", "", audit.Actor{Who: "anna", How: "passed on", Through: "ops", Via: audit.Admin}},
		"no policy":                     {nil, token, "anna", "", audit.Actor{Who: "anna", How: "claimed", Via: audit.Admin}},
		"no policy, a certificate":      {nil, "", "anna", "robot.example", audit.Actor{Who: "anna", How: "claimed", Through: "robot.example", Via: audit.Admin}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/topic/create?topic=t", nil)
			if c.secret != "" {
				r.Header.Set("Authorization", "Bearer "+c.secret)
			}
			r.Header.Set(audit.ForHeader, c.behalf)
			if c.certified != "" {
				shown := []*x509.Certificate{{Subject: pkix.Name{CommonName: c.certified}}}
				r.TLS = &tls.ConnectionState{PeerCertificates: shown, VerifiedChains: [][]*x509.Certificate{shown}}
			}
			c.want.From = r.RemoteAddr
			if got := audit.ActorOf(audit.ByRequest(r, c.policy)); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}
