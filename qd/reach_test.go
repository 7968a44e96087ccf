package qd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/secure/securetest"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd"
)

func port(a net.Addr) string {
	_, p, _ := net.SplitHostPort(a.String())
	return p
}

// TestSocketFiles has a daemon that listens at network addresses and at socket
// files for both protocols, and publishes through one and consumes through the
// other.
func TestSocketFiles(t *testing.T) {
	s := settings(t)
	tcp, web := filepath.Join(s.DataPath, "tcp.sock"), filepath.Join(s.DataPath, "http.sock")
	s.TCPAddress += "," + tcp
	s.HTTPAddress = web + "," + s.HTTPAddress
	d, stop := start(t, s)

	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", web)
	}}}
	ask := func(method, path, body string) string {
		t.Helper()
		q, _ := http.NewRequest(method, "http://qd"+path, strings.NewReader(body))
		r, err := client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		answer, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	if got := ask("POST", "/pub?topic=t", "through a file"); got != "OK" {
		t.Errorf("publishing is answered %q", got)
	}
	conn, err := net.Dial("unix", tcp)
	if err != nil {
		t.Fatal(err)
	}
	c := consume(t, conn)
	m := c.message()
	if string(m.Body) != "through a file" {
		t.Errorf("got %q", m.Body)
	}
	if got := ask("GET", "/stats?format=json", ""); !strings.Contains(got, `"remote_address":"`+tcp+`"`) {
		t.Errorf("the consumer's address is not told in %s", got)
	}
	if got := ask("GET", "/stats", ""); !strings.Contains(got, ":"+tcp+" ") {
		t.Errorf("the consumer's address is not told in %s", got)
	}
	if got := ask("GET", "/info", ""); !strings.Contains(got, `"tcp_port":`+port(d.TCPAddr())) {
		t.Errorf("the network's port is not told in %s", got)
	}
	c.say(protocol.AppendFin(nil, m.ID))
	again := subscribe(t, d) // by the network
	c.say(append(protocol.AppendRdy(nil, 0), "PUB t\n\x00\x00\x00\x01x"...))
	if m := again.message(); string(m.Body) != "x" {
		t.Errorf("got %q", m.Body)
	} else {
		again.say(protocol.AppendFin(nil, m.ID))
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, path := range []string{tcp, web} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is left behind", path)
		}
	}
}

// TestSocketFilesAlone has no port to tell.
func TestSocketFilesAlone(t *testing.T) {
	s := settings(t)
	s.TCPAddress, s.HTTPAddress = s.DataPath+"/tcp.sock", s.DataPath+"/http.sock"
	d, stop := start(t, s)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	conn, err := net.Dial("unix", d.HTTPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /info HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(answer), `"http_port":-1,"tcp_port":-1`) {
		t.Errorf("%v: %s", err, answer)
	}
}

func TestHTTPDisabled(t *testing.T) {
	s := settings(t)
	s.HTTPAddress = ""
	d, stop := start(t, s)
	if d.HTTPAddr() != nil {
		t.Errorf("it listens on %s", d.HTTPAddr())
	}
	if err := subscribe(t, d).conn.Close(); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestWhatIsOpenIsTold opens daemons to the network. The log tells each face on
// which anybody may do something, and no other.
func TestWhatIsOpenIsTold(t *testing.T) {
	authority, err := securetest.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, root, err := authority.Write(t.TempDir(), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*qd.Settings)
		open   string
	}{
		"loopback": {func(s *qd.Settings) {}, ""},
		"plain":    {func(s *qd.Settings) { s.TCPAddress, s.HTTPAddress = "0.0.0.0:0", "[::]:0" }, "tcp-address http-address"},
		"auth":     {func(s *qd.Settings) { s.TCPAddress, s.AuthHTTPAddresses = "0.0.0.0:0", []string{"127.0.0.1:1"} }, ""},
		"policy": {func(s *qd.Settings) {
			s.TCPAddress, s.HTTPAddress, s.HTTPSAddress = "0.0.0.0:0", "0.0.0.0:0", "0.0.0.0:0"
			s.TLSCert, s.TLSKey, s.Policy = cert, key, lookers{}
		}, "tcp-address"}, // the policy is HTTP's
		"TLS": {func(s *qd.Settings) {
			s.TCPAddress, s.HTTPAddress, s.HTTPSAddress = "0.0.0.0:0", "0.0.0.0:0", "0.0.0.0:0"
			s.TLSCert, s.TLSKey, s.TLSRequired = cert, key, "true"
		}, "tcp-address https-address"},
		"certificates": {func(s *qd.Settings) {
			s.TCPAddress, s.HTTPAddress, s.HTTPSAddress = "0.0.0.0:0", "0.0.0.0:0", "0.0.0.0:0"
			s.TLSCert, s.TLSKey, s.TLSRootCAFile, s.TLSClientAuthPolicy = cert, key, root, "require-verify"
		}, ""},
		"certificates but for HTTP": {func(s *qd.Settings) {
			s.TCPAddress, s.HTTPAddress, s.HTTPSAddress = "0.0.0.0:0", "0.0.0.0:0", "0.0.0.0:0"
			s.TLSCert, s.TLSKey, s.TLSRootCAFile, s.TLSClientAuthPolicy, s.TLSRequired = cert, key, root, "require-verify", "tcp-https"
		}, "http-address"},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings(t)
			c.change(&s)
			var log bytes.Buffer
			d, err := qd.Listen(s, slog.New(slog.NewJSONHandler(&log, nil)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := serve(t, d)(); err != nil {
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
