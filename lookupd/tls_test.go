package lookupd_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/secure/securetest"
	"github.com/millrace-mq/millrace/lookupd"
	"github.com/millrace-mq/millrace/protocol"
)

// gate is a policy that lets those in whose certificate has a name that is
// welcome; and so notes who has asked for what.
type gate struct {
	welcome string
	delay   time.Duration // it takes to say so; for tests under a fake clock alone

	mu    sync.Mutex
	asked []access.Who
	wrong []access.Action
}

func (g *gate) Allow(_ context.Context, who access.Who, action access.Action, _, _ string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	time.Sleep(g.delay)
	g.asked = append(g.asked, who)
	if action != access.Register {
		g.wrong = append(g.wrong, action)
	}
	if c := who.Certificate; g.welcome == "" || c != nil && c.Subject.CommonName == g.welcome {
		return nil
	}
	return errors.New("only " + g.welcome + "\nis welcome")
}

// secured are settings with a certificate, and the authority that has signed it.
func secured(t *testing.T) (lookupd.Settings, *securetest.Authority) {
	t.Helper()
	a, err := securetest.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	s := lookupd.DefaultSettings()
	s.TCPAddress, s.HTTPAddress, s.HTTPSAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	if s.TLSCert, s.TLSKey, s.TLSRootCAFile, err = a.Write(t.TempDir(), "lookupd"); err != nil {
		t.Fatal(err)
	}
	return s, a
}

func startWith(t *testing.T, s lookupd.Settings) *lookupd.Daemon {
	t.Helper()
	d, err := lookupd.Listen(s, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	run(t, d)
	return d
}

// overTLS connects to d's TCP face. The handshake may be refused later.
func overTLS(t *testing.T, d *lookupd.Daemon, config *tls.Config) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", d.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	config = config.Clone()
	config.ServerName = "localhost"
	return newPeer(t, tls.Client(conn, config))
}

// TestTLS speaks to both faces with and without TLS, on the TCP face's one port,
// at each setting.
func TestTLS(t *testing.T) {
	for _, c := range []struct {
		required, policy string
		certificate      bool // the peer has one
		plain, secure    bool // the TCP face takes it
		web              int  // status of plain HTTP
	}{
		{"false", "", false, true, true, 200},
		{"true", "", false, false, true, 403},
		{"tcp-https", "", false, false, true, 200},
		{"false", "require-verify", true, false, true, 403},
		{"false", "require-verify", false, false, false, 403},
		{"tcp-https", "require", true, false, true, 200},
		{"tcp-https", "require", false, false, false, 200},
	} {
		t.Run(c.required+" "+c.policy, func(t *testing.T) {
			s, authority := secured(t)
			s.TLSRequired, s.TLSClientAuthPolicy = c.required, c.policy
			d := startWith(t, s)
			config := &tls.Config{RootCAs: authority.Pool()}
			if c.certificate {
				pair, err := authority.Pair("billing")
				if err != nil {
					t.Fatal(err)
				}
				config.Certificates = []tls.Certificate{pair}
			}

			plain := dial(t, d)
			plain.send(protocol.MagicV1 + identify(identity("plain")))
			want := "{"
			if !c.plain {
				want = "E_INVALID this lookupd takes daemons over TLS alone: "
			}
			if got := plain.reply(); !strings.HasPrefix(got, want) {
				t.Fatalf("without TLS told %s", got)
			}
			if !c.plain {
				plain.expectEOF()
			}

			over := overTLS(t, d, config)
			if c.secure {
				over.identify("over")
				over.say("REGISTER t")
			} else {
				_, _ = io.WriteString(over, protocol.MagicV1+identify(identity("over")))
				if _, err := io.ReadAll(over); err == nil || !strings.Contains(err.Error(), "certificate required") {
					t.Errorf("without a certificate told %v", err)
				}
			}
			expectFaces(t, d, config, c.web, c.secure)
		})
	}
}

// expectFaces asks d over HTTP and HTTPS.
func expectFaces(t *testing.T, d *lookupd.Daemon, config *tls.Config, plain int, secure bool) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	status, _, body := call(t, client, "GET", "http://"+d.HTTPAddr().String()+"/info")
	_, httpsPort, _ := net.SplitHostPort(d.HTTPSAddr().String())
	if status != plain || (body == `{"message": "TLS_REQUIRED", "https_port": `+httpsPort+`}`) != (plain == 403) {
		t.Errorf("HTTP is answered %d %s", status, body)
	}
	resp, err := client.Get("https://" + d.HTTPSAddr().String() + "/lookup?topic=t")
	if (err == nil) != secure {
		t.Errorf("HTTPS is answered %v, %v", resp, err)
	}
	if err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("HTTPS is answered %s", resp.Status)
		}
	}
}

// TestCertificatesAreReadAnew replaces the files under a lookupd that runs. Who comes
// then gets the new ones on both faces, and who is there stays.
func TestCertificatesAreReadAnew(t *testing.T) {
	s, before := secured(t)
	d := startWith(t, s)
	stays := overTLS(t, d, &tls.Config{RootCAs: before.Pool()})
	stays.identify("a")

	renewed, err := securetest.NewAuthority("renewed")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := renewed.Write(filepath.Dir(s.TLSCert), "lookupd"); err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: renewed.Pool()}
	for _, face := range []net.Addr{d.TCPAddr(), d.HTTPSAddr()} {
		// Files are looked at once a second of the real clock, and nothing tells of it but
		// a handshake: one is tried again and again, with a moment in between.
		for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			conn, err := tls.Dial("tcp", face.String(), config)
			if err == nil {
				_ = conn.Close()
				break
			}
			if time.Since(began) > 30*time.Second {
				t.Fatalf("the new certificate is not used: %v", err)
			}
		}
	}
	stays.say("PING")
	overTLS(t, d, config).identify("b")
}

// TestTLSWithoutCertificate has a peer that speaks TLS to a lookupd without.
func TestTLSWithoutCertificate(t *testing.T) {
	d := start(t)
	if d.HTTPSAddr() != nil {
		t.Errorf("it listens on %s", d.HTTPSAddr())
	}
	p := overTLS(t, d, &tls.Config{InsecureSkipVerify: true})
	if err := p.Conn.(*tls.Conn).Handshake(); err == nil {
		t.Error("it speaks TLS")
	}
}

// TestPolicy wants it asked once for a daemon, with the name in its certificate
// if that was verified, and told to it if it is refused.
func TestPolicy(t *testing.T) {
	s, authority := secured(t)
	policy := &gate{welcome: "billing"}
	s.Policy, s.TLSClientAuthPolicy, s.TLSRequired = policy, "require-verify", "tcp-https"
	d := startWith(t, s)
	const no = "E_UNAUTHORIZED only billing is welcome"
	for name, want := range map[string]string{"billing": "{", "mallory": no} {
		pair, err := authority.Pair(name)
		if err != nil {
			t.Fatal(err)
		}
		p := overTLS(t, d, &tls.Config{RootCAs: authority.Pool(), Certificates: []tls.Certificate{pair}})
		p.send(protocol.MagicV1 + identify(identity(name)))
		if got := p.reply(); !strings.HasPrefix(got, want) {
			t.Errorf("%s is told %s", name, got)
		}
		if want == no {
			p.expectEOF()
		} else {
			p.say("REGISTER t c")
			p.say("PING")
			p.say("UNREGISTER t c")
		}
	}
	policy.mu.Lock()
	defer policy.mu.Unlock()
	if len(policy.asked) != 2 || len(policy.wrong) > 0 {
		t.Errorf("asked of %+v, for %v too", policy.asked, policy.wrong)
	}
	for _, who := range policy.asked {
		name := ""
		if who.Certificate != nil {
			name = who.Certificate.Subject.CommonName
		}
		if !who.TLS || name != "billing" && name != "mallory" || !strings.HasPrefix(who.Remote, "127.0.0.1:") {
			t.Errorf("asked of %+v", who)
		}
	}
}

// TestPolicyWithoutTLS knows of a peer only where it comes from.
func TestPolicyWithoutTLS(t *testing.T) {
	s := lookupd.DefaultSettings()
	s.TCPAddress, s.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
	policy := new(gate)
	s.Policy = policy
	d := startWith(t, s)
	p := join(t, d, "a")
	policy.mu.Lock()
	defer policy.mu.Unlock()
	if want := (access.Who{Remote: p.LocalAddr().String()}); len(policy.asked) != 1 || policy.asked[0] != want {
		t.Errorf("asked of %+v", policy.asked)
	}
}

// TestWhatIsOpenIsTold opens daemons to the network. The log tells each face on
// which anybody may do something, and no other.
func TestWhatIsOpenIsTold(t *testing.T) {
	everywhere := func(s *lookupd.Settings) {
		s.TCPAddress, s.HTTPAddress, s.HTTPSAddress = "0.0.0.0:0", "[::]:0", "0.0.0.0:0"
	}
	for name, c := range map[string]struct {
		change func(s *lookupd.Settings)
		open   string
	}{
		"loopback": {func(*lookupd.Settings) {}, ""},
		"plain":    {func(s *lookupd.Settings) { everywhere(s); s.TLSCert, s.TLSKey = "", "" }, "tcp-address http-address"},
		"TLS":      {func(s *lookupd.Settings) { everywhere(s); s.TLSRequired = "true" }, "tcp-address https-address"},
		"verified": {func(s *lookupd.Settings) { everywhere(s); s.TLSClientAuthPolicy = "require-verify" }, ""},
		"verified but for HTTP": {func(s *lookupd.Settings) {
			everywhere(s)
			s.TLSClientAuthPolicy, s.TLSRequired = "require-verify", "tcp-https"
		}, "http-address"},
		"policy": {func(s *lookupd.Settings) { everywhere(s); s.Policy = new(gate) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := secured(t)
			c.change(&s)
			var log bytes.Buffer
			d, err := lookupd.Listen(s, slog.New(slog.NewJSONHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			stop()
			if err := d.Run(ctx); err != nil {
				t.Fatal(err)
			}
			var open []string
			for line := range strings.Lines(log.String()) {
				var entry struct{ Msg, Flag string }
				if err := json.Unmarshal([]byte(line), &entry); err != nil {
					t.Fatal(err)
				}
				if entry.Msg == "open to the network" {
					open = append(open, entry.Flag)
				}
			}
			if got := strings.Join(open, " "); got != c.open {
				t.Errorf("told to be open: %q, want %q\n%s", got, c.open, &log)
			}
		})
	}
}

// TestTLSRefusals wants a start that cannot be to say which flag is wrong, and to
// leave nothing open.
func TestTLSRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(s *lookupd.Settings)
		want  string
	}{
		"no such file": {func(s *lookupd.Settings) { s.TLSKey += "x" }, "tls-key"},
		"half a pair":  {func(s *lookupd.Settings) { s.TLSKey = "" }, "tls-cert"},
		"address":      {func(s *lookupd.Settings) { s.HTTPSAddress = "127.0.0.1:99999" }, "https-address"},
		"taken":        {func(s *lookupd.Settings) {}, "https-address: "},
	} {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s, _ := secured(t)
		s.HTTPSAddress = taken.Addr().String()
		c.spoil(&s)
		if _, err := lookupd.Listen(s, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
	}
}
