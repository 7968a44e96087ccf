package qd_test

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/secure/securetest"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd"
)

// TestAuth lets a client with a certificate AUTH, over TLS, and checks what the
// auth server, one whose own certificate the root CA has signed, learns of it.
func TestAuth(t *testing.T) {
	ca, err := securetest.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	worker, err := ca.Pair("worker")
	if err != nil {
		t.Fatal(err)
	}
	server, asked := authServer(t, ca)
	s := settings(t)
	s.TLSCert, s.TLSKey, s.TLSRootCAFile, err = ca.Write(t.TempDir(), "qd")
	if err != nil {
		t.Fatal(err)
	}
	s.HTTPSAddress = ""
	s.TLSClientAuthPolicy = "require-verify"
	s.AuthHTTPAddresses = []string{server}
	d, stop := start(t, s)
	conn, err := net.Dial("tcp", d.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &consumer{t, conn}
	c.say(protocol.AppendIdentify([]byte(protocol.MagicV2), []byte(`{"feature_negotiation":true,"tls_v1":true}`)))
	if _, data := c.frame(); !strings.Contains(string(data), `"tls_v1":true`) || !strings.Contains(string(data), `"auth_required":true`) {
		t.Fatalf("IDENTIFY: %s", data)
	}
	c.conn = tls.Client(conn, &tls.Config{RootCAs: ca.Pool(), ServerName: "qd", Certificates: []tls.Certificate{worker}})
	if _, data := c.frame(); string(data) != protocol.OK {
		t.Fatalf("TLS: %s", data)
	}
	c.say([]byte("AUTH\n\x00\x00\x00\x03key"))
	if _, data := c.frame(); string(data) != `{"identity":"w","identity_url":"","permission_count":1}` {
		t.Errorf("AUTH: %s", data)
	}
	if got, want := <-asked, "/auth?common_name=worker&remote_ip=127.0.0.1&secret=key&tls=true"; got != want {
		t.Errorf("the server was asked %s, want %s", got, want)
	}
	c.say(protocol.AppendSub(nil, "t", "c"))
	if _, data := c.frame(); string(data) != protocol.OK {
		t.Errorf("SUB: %s", data)
	}
	c.say(protocol.AppendPub(nil, "t", []byte("x")))
	if _, data := c.frame(); string(data) != `E_UNAUTHORIZED AUTH failed for PUB on "t" ""` {
		t.Errorf("PUB: %s", data)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// authServer returns the URL of an auth server with a certificate of ca's, and
// what it is asked.
func authServer(t *testing.T, ca *securetest.Authority) (address string, asked <-chan string) {
	t.Helper()
	pair, err := ca.Pair("auth")
	if err != nil {
		t.Fatal(err)
	}
	questions := make(chan string, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		questions <- r.URL.String()
		_, _ = io.WriteString(w, `{"ttl":60,"identity":"w","authorizations":[{"topic":"^t$","channels":["^c$"],"permissions":["subscribe"]}]}`)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL + "/auth", questions
}

// TestAuthSettings wants what is wrong with auth servers' settings said at the
// start, with the flag's name.
func TestAuthSettings(t *testing.T) {
	for want, change := range map[string]func(*qd.Settings){
		"auth-http-address: ":       func(s *qd.Settings) { s.AuthHTTPAddresses = []string{"ftp://a"} },
		"tls-root-ca-file ":         func(s *qd.Settings) { s.TLSRootCAFile = s.DataPath + "/none" },
		"auth-http-request-method ": func(s *qd.Settings) { s.AuthHTTPRequestMethod = "put" },
	} {
		s := settings(t)
		s.AuthHTTPAddresses = []string{"127.0.0.1:1"}
		change(&s)
		if _, err := qd.Listen(s, slog.New(slog.DiscardHandler), nil); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s%v", want, err)
		}
	}
}
