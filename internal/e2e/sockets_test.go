package e2e

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
)

// sockets is a daemon that is reached through files, and by network too.
type sockets struct {
	daemon
	tcpFile, httpFile string
}

// newSockets leaves the paths short: a socket's may not be long.
func newSockets(t *testing.T) sockets {
	t.Helper()
	dir, err := os.MkdirTemp("", "millrace")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := sockets{newDaemon(t), filepath.Join(dir, "tcp"), filepath.Join(dir, "http")}
	s.flags = []string{"--drain-timeout=0", "--tcp-address=" + s.tcpFile, "--http-address=" + s.httpFile}
	return s
}

// there tells which of the files exist.
func (s sockets) there(t *testing.T) (n int) {
	t.Helper()
	for _, name := range []string{s.tcpFile, s.httpFile} {
		switch info, err := os.Stat(name); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			t.Fatal(err)
		case info.Mode().Type() != fs.ModeSocket || info.Mode().Perm() != 0o660:
			t.Errorf("%s is %v, want a socket for its owner and group", name, info.Mode())
		default:
			n++
		}
	}
	return n
}

// What is published through one socket file comes through the other one, beside
// the network. A stop takes the files away; a kill leaves them, and the next qd
// replaces them.
func TestSocketFiles(t *testing.T) {
	s := newSockets(t)
	rounds := []struct {
		topic        string
		end          syscall.Signal
		status, left int // of the process; socket files
	}{
		{"first", syscall.SIGKILL, -1, 2},
		{"second", syscall.SIGTERM, 0, 0},
	}
	for _, r := range rounds {
		qd := s.start(t)
		if n := s.there(t); n != 2 {
			t.Errorf("%d socket files are there, want 2", n)
		}
		for _, where := range [][]string{{"--unix-socket", s.httpFile, "http://qd"}, {"http://" + s.http}} {
			args := append([]string{"-d", "through a file"}, where...)
			args[len(args)-1] += "/pub?topic=" + r.topic
			if got, err := curl(t, args...); err != nil || got != "OK 200" {
				t.Errorf("curl %q: %q, %v", args, got, err)
			}
		}
		c, err := net.Dial("unix", s.tcpFile)
		if err != nil {
			t.Fatal(err)
		}
		w := newWire(c)
		if _, err := w.Write([]byte("  V2")); err != nil {
			t.Fatal(err)
		}
		if err := w.subscribe(r.topic, "all", 1); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, data, err := w.frame()
			if err != nil {
				t.Fatal(err)
			}
			m, err := protocol.ParseMessage(data)
			if err != nil || string(m.Body) != "through a file" {
				t.Fatalf("%q came, %v", data, err)
			}
			if _, err := w.Write(protocol.AppendFin(nil, m.ID)); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the channel to be drained", func() bool { return s.drained(r.topic, "all") })
		_ = w.Close()

		qd.signal(r.end)
		if got := qd.status(); got != r.status {
			t.Errorf("qd ended with status %d after %v, want %d", got, r.end, r.status)
		}
		if n := s.there(t); n != r.left {
			t.Errorf("%d socket files are there after %v, want %d", n, r.end, r.left)
		}
	}
}

// A socket file that somebody answers at is not taken from them.
func TestSocketFileIsTaken(t *testing.T) {
	s := newSockets(t)
	qd := s.start(t)
	other := newDaemon(t, s.flags...)
	p := start(t, nil, "qd", other.args()...)
	if got := p.status(); got != 1 {
		t.Errorf("ended with status %d, want 1", got)
	}
	if said := p.stderr.String(); !strings.Contains(said, s.tcpFile) {
		t.Errorf("said %q, want it to name %s", said, s.tcpFile)
	}
	if got, err := curl(t, "--unix-socket", s.httpFile, "http://qd/ping"); err != nil || got != "OK 200" {
		t.Errorf("the first one answers %q, %v", got, err)
	}
	qd.stop(syscall.SIGTERM)
	if n := s.there(t); n != 0 {
		t.Errorf("%d socket files are left", n)
	}
}
