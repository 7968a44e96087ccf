package e2e

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// secured is a daemon with a certificate, and whoever trusts that.
type secured struct {
	daemon
	https string
	ca    *authority
	files pair
}

// startSecured starts a qd with a certificate in name and waits until it
// listens, however it would answer.
func startSecured(t *testing.T, ca *authority, name string, flags ...string) (secured, *process) {
	t.Helper()
	s := secured{https: address(t), ca: ca, files: ca.issue(name)}
	s.daemon = newDaemon(t, append(flags, "--https-address="+s.https, "--tls-cert="+s.files.cert, "--tls-key="+s.files.key)...)
	p := start(t, nil, "qd", s.args()...)
	for _, a := range []string{s.tcp, s.http, s.https} {
		eventually(t, "qd to listen on "+a, func() bool {
			if !p.running() {
				t.Fatalf("qd ended with status %d instead of listening on %s", p.status(), a)
			}
			c, err := net.Dial("tcp", a)
			return err == nil && c.Close() == nil
		})
	}
	return s, p
}

// trusting is for a client that trusts the daemon's certificate and shows those
// named.
func (s secured) trusting(shown ...pair) *tls.Config {
	s.ca.t.Helper()
	c := &tls.Config{RootCAs: s.ca.Pool(), ServerName: "localhost"}
	for _, p := range shown {
		cert, err := tls.LoadX509KeyPair(p.cert, p.key)
		if err != nil {
			s.ca.t.Fatal(err)
		}
		c.Certificates = append(c.Certificates, cert)
	}
	return c
}

// dialTLS is dial, but the connection goes on in TLS. On 1.3 a daemon that
// refuses the client's certificate is heard only after the handshake.
func dialTLS(address string, config *tls.Config) (*wire, *tls.Conn, error) {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, nil, err
	}
	secure := tls.Client(c, config)
	w := newWire(secure)
	body, err := json.Marshal(protocol.IdentifyRequest{ClientID: "e2e", FeatureNegotiation: true, TLSv1: true})
	if err == nil {
		err = upgrade(newWire(c), body)
	}
	if err == nil {
		err = w.say(nil, protocol.OK)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("going on in TLS: %w", err), c.Close())
	}
	return w, secure, nil
}

// upgrade asks for TLS, before which the daemon says no more than its answer.
func upgrade(w *wire, identify []byte) error {
	if _, err := w.Write(protocol.AppendIdentify([]byte("  V2"), identify)); err != nil {
		return err
	}
	_, answer, err := w.frame()
	if err != nil {
		return err
	}
	var granted protocol.IdentifyResponse
	if err := json.Unmarshal(answer, &granted); err != nil || !granted.TLSv1 {
		return fmt.Errorf("the answer to IDENTIFY is %q", answer)
	}
	return nil
}

// curl runs curl and returns what it printed, the HTTP status last.
func curl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("skipped: curl is not there")
	}
	out, err := exec.Command("curl", append([]string{"-sS", "--max-time", "30", "-w", " %{http_code}"}, args...)...).CombinedOutput()
	return string(out), err
}

// Which of TCP, HTTP and HTTPS may be used without and with TLS.
func TestTLSRequired(t *testing.T) {
	ca := newAuthority(t)
	tests := []struct {
		required       string
		plainTCP, http bool
	}{
		{"false", true, true},
		{"tcp-https", false, true},
		{"true", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.required, func(t *testing.T) {
			t.Parallel()
			s, p := startSecured(t, ca, "qd", "--tls-required="+tt.required)
			plain, err := dial(s.tcp, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer plain.Close()
			err = plain.say(protocol.AppendPub(nil, "orders", []byte("plain")), protocol.OK)
			if allowed := err == nil; allowed != tt.plainTCP {
				t.Errorf("publishing without TLS: %v", err)
			} else if !allowed && !strings.Contains(err.Error(), "E_INVALID cannot PUB in current state (TLS required)") {
				t.Errorf("publishing without TLS: %v", err)
			}
			w, _, err := dialTLS(s.tcp, s.trusting())
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if err := w.say(protocol.AppendPub(nil, "orders", []byte("secret")), protocol.OK); err != nil {
				t.Errorf("publishing over TLS: %v", err)
			}

			_, port, _ := net.SplitHostPort(s.https)
			want := "OK 200"
			if !tt.http {
				want = `{"message": "TLS_REQUIRED", "https_port": ` + port + `} 403`
			}
			if got, err := curl(t, "-d", "plain", "http://"+s.http+"/pub?topic=orders"); err != nil || got != want {
				t.Errorf("plain HTTP is answered %q, %v, want %q", got, err, want)
			}
			trusted := []string{"-d", "secret", "--cacert", ca.file, "https://localhost:" + port + "/pub?topic=orders"}
			if got, err := curl(t, trusted...); err != nil || got != "OK 200" {
				t.Errorf("HTTPS is answered %q, %v", got, err)
			}
			if got, err := curl(t, "https://localhost:"+port+"/ping"); err == nil {
				t.Errorf("curl trusts a certificate that nobody vouches for: %q", got)
			}
			p.stop(os.Interrupt)
		})
	}
}

// Whose certificates let a client in.
func TestClientCertificates(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	known, foreign := ca.issue("client"), stranger.issue("client")
	tests := []struct {
		policy               string
		none, foreign, known bool // who may come in
	}{
		{"", true, true, true},
		{"require", false, true, true},
		{"require-verify", false, false, true},
	}
	for _, tt := range tests {
		t.Run("policy "+tt.policy, func(t *testing.T) {
			t.Parallel()
			s, p := startSecured(t, ca, "qd", "--tls-root-ca-file="+ca.file, "--tls-client-auth-policy="+tt.policy)
			for _, c := range []struct {
				who   string
				shown []pair
				may   bool
			}{
				{"nobody", nil, tt.none},
				{"a stranger", []pair{foreign}, tt.foreign},
				{"one who is known", []pair{known}, tt.known},
			} {
				w, _, err := dialTLS(s.tcp, s.trusting(c.shown...))
				if err == nil {
					err = errors.Join(w.say(protocol.AppendPub(nil, "orders", []byte("a")), protocol.OK), w.Close())
				}
				if (err == nil) != c.may {
					t.Errorf("%s over TCP: %v", c.who, err)
				}
				if err := s.ping(c.shown...); (err == nil) != c.may {
					t.Errorf("%s over HTTPS: %v", c.who, err)
				}
			}
			p.stop(os.Interrupt)
		})
	}
}

// ping asks over HTTPS, on a connection of its own.
func (s secured) ping(shown ...pair) error {
	web := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: s.trusting(shown...)}}
	r, err := web.Get("https://" + s.https + "/ping")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && string(text) != "OK" {
		err = fmt.Errorf("/ping is answered %q", text)
	}
	return err
}

// A certificate that is replaced on disk is shown to whoever connects from then
// on; who is connected stays. Files that are no certificate change nothing.
func TestCertificateIsReplaced(t *testing.T) {
	s, p := startSecured(t, newAuthority(t), "before")
	shown := func(address string, dial func(string) (*tls.Conn, error)) string {
		c, err := dial(address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	overTCP := func(address string) (*tls.Conn, error) {
		_, c, err := dialTLS(address, s.trusting())
		return c, err
	}
	overHTTPS := func(address string) (*tls.Conn, error) { return tls.Dial("tcp", address, s.trusting()) }
	everywhere := func(name string) bool {
		return shown(s.tcp, overTCP) == name && shown(s.https, overHTTPS) == name
	}
	old, _, err := dialTLS(s.tcp, s.trusting())
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if !everywhere("before") {
		t.Fatal("the certificate is not the one that was given")
	}

	s.ca.reissue(s.files, "after")
	eventually(t, "the new certificate to be shown", func() bool { return everywhere("after") })
	if err := old.say(protocol.AppendPub(nil, "orders", []byte("a")), protocol.OK); err != nil {
		t.Errorf("who was connected: %v", err)
	}

	if err := os.WriteFile(s.files.cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "qd to complain", func() bool {
		if !everywhere("after") {
			t.Fatal("a broken file has changed the certificate")
		}
		return strings.Contains(p.stderr.String(), s.files.cert)
	})
	s.ca.reissue(s.files, "at last")
	eventually(t, "the third certificate to be shown", func() bool { return everywhere("at last") })
	p.stop(os.Interrupt)
}
