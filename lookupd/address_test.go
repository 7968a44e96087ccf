package lookupd_test

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/lookupd"
)

// TestLyingAddresses has daemons that say they are where nobody can be reached.
func TestLyingAddresses(t *testing.T) {
	const (
		every     = "stands for every address"
		multicast = "is a multicast address"
		broadcast = "is the broadcast address"
		neither   = "is neither a host name nor an address"
		odd       = "has characters in it that no host has"
	)
	d := start(t)
	for address, want := range map[string]string{ // "": it is taken
		"0.0.0.0": every, "::": every, "[::]": every, "::%eth0": every, "0:0:0:0:0:0:0:0": every,
		"::ffff:0.0.0.0": every, "[::ffff:0:0]": every,
		"224.0.0.1": multicast, "239.255.255.255": multicast, "ff02::1": multicast, "[ff02::1%eth0]": multicast, "::ffff:224.0.0.1": multicast,
		"255.255.255.255": broadcast, "::ffff:255.255.255.255": broadcast,

		" ": odd, "a b": odd, "a\tb": odd, "a\nb": odd, "a\x00b": odd, "a\u00a0b": odd, "http://a": odd, "a/b": odd, `a\b`: odd,
		strings.Repeat("a.", 126) + "ab": "is longer than 253 bytes",

		"0": neither, "127.1": neither, "0x7f000001": neither, "256.1.1.1": neither, "1.2.3.4.5": neither, "10.0.0.1:4150": neither,
		"[::1]:4150": neither, "[10.0.0.1]": neither, "[a]": neither, "[": neither, "[::1": neither, "::1]": neither, "a..b": neither, ".": neither,
		".a": neither, "-a": neither, "a-": neither, "é": neither, "*": neither, "a%eth0": neither, strings.Repeat("a", 64): neither, "a,b": neither,

		"a": "", "A-1.example.": "", "a_b": "", "xn--9ca": "", "127.0.0.1": "", "localhost": "", "10.0.0.1": "", "::1": "", "[::1]": "",
		"fe80::1%eth0": "", "[fe80::1%eth0]": "", "::ffff:10.0.0.1": "", "012345678901": "", "1.example": "", "3com": "",
		strings.Repeat("a.", 126) + "a": "",
	} {
		p := dial(t, d)
		p.send("  V1" + identify(identity(strings.ReplaceAll(address, "\x00", `\u0000`))))
		got := p.reply()
		switch {
		case want == "" && !strings.HasPrefix(got, "{"):
			t.Errorf("%.40q: told %s", address, got)
		case want != "" && (!strings.HasPrefix(got, "E_BAD_BODY IDENTIFY broadcast_address ") || !strings.Contains(got, want) ||
			!strings.HasSuffix(got, ": give the daemon a --broadcast-address that its clients can connect to") || strings.ContainsAny(got, "\n\x00")):
			t.Errorf("%.40q: told %q, want %s", address, got, want)
		}
		if want != "" {
			p.expectEOF()
		}
		_ = p.Close()
	}
}

// from is a connection from another address than the test's.
type from struct {
	net.Conn
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

// TestLoopbackFromElsewhere wants one warning for each machine and address that
// it says, and none for what may well be right.
func TestLoopbackFromElsewhere(t *testing.T) {
	var log journal
	s := lookupd.DefaultSettings()
	inBubbleLogging(t, s, slog.New(slog.NewTextHandler(&log, nil)), func(b *bubble) {
		join := func(remote net.Addr, host string) {
			near, far := net.Pipe()
			b.tcp.conns <- from{far, remote}
			p := newPeer(b.t, near)
			p.identify(host)
		}
		tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 5000} }
		for range 3 {
			for _, host := range []string{"127.0.0.1", "::1", "localhost", "Localhost.", "10.0.0.2", "a"} {
				join(tcp("127.0.0.1"), host)
				join(tcp("::1"), host)
				join(&net.UnixAddr{Name: "/run/l.sock", Net: "unix"}, host)
				join(tcp("192.0.2.1"), host)
				join(tcp("192.0.2.2"), host)
			}
		}
		if n := log.count("give it a --broadcast-address"); n != 8 {
			t.Errorf("%d warnings, want 8", n)
		}
		for _, ip := range []string{"192.0.2.1", "192.0.2.2"} {
			if n := log.count(fmt.Sprintf("client=%s\n", ip)); n != 4 {
				t.Errorf("%d warnings of %s, want 4", n, ip)
			}
		}
	})
}

func TestOtherTextsAreBounded(t *testing.T) {
	d := start(t)
	for _, field := range []string{"hostname", "version", "topology_zone", "topology_region"} {
		for n, want := range map[int]string{255: "{", 256: "E_BAD_BODY IDENTIFY " + field + " is longer than 255 bytes"} {
			p := dial(t, d)
			p.send("  V1" + identify(fmt.Sprintf(`{"broadcast_address":"a","tcp_port":1,"http_port":2,"version":"1",%q:%q}`, field, strings.Repeat("x", n))))
			if got := p.reply(); !strings.HasPrefix(got, want) {
				t.Errorf("%s of %d bytes: told %s", field, n, got)
			}
		}
	}
}
