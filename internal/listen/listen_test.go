package listen_test

import (
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/listen"
)

func TestCheck(t *testing.T) {
	for address, want := range map[string]string{ // "": it is right
		"":                             "",
		"127.0.0.1:4150":               "",
		":4150":                        "",
		"[::1]:4150":                   "",
		"[fe80::1%eth0]:4150":          "",
		"/run/qd.sock":                 "",
		"/run/qd:1.sock":               "",
		"run/a:b":                      "",
		"nowhere":                      "", // as in NSQ, a file
		"127.0.0.1:1, /run/q.sock":     "",
		"4150":                         `"4150": must be host:port`,
		"localhost":                    `"localhost": must be host:port`,
		"10.0.0.1":                     `"10.0.0.1": must be host:port`,
		"::1":                          `"::1": must be host:port, IPv6 as [::1]:4150`,
		"::1:4150":                     `"::1:4150": must be host:port, IPv6 as`,
		"h:1:2":                        `"h:1:2": must be host:port`,
		"[::1]":                        `"[::1]": must be host:port`,
		"h:99999":                      `"h:99999": the port must be`,
		"h:1,h:x":                      `"h:x": the port must be`,
		"/" + strings.Repeat("p", 107): "longer than 107 bytes",
	} {
		err := listen.Check(address)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestHost(t *testing.T) {
	for list, want := range map[string]string{
		"": "", "/a": "", "127.0.0.1:1": "127.0.0.1", "/a,[::1]:1": "::1", "[fe80::1%eth0]:1": "fe80::1%eth0",
		"0.0.0.0:1": "", "[::]:1": "", ":1": "", "q.example:1,10.0.0.1:1": "q.example",
	} {
		if got := listen.Host(list); got != want {
			t.Errorf("%s: %q", list, got)
		}
	}
}

func TestFlag(t *testing.T) {
	for args, want := range map[string]string{
		"": "d:1", "-a=": "", "-a=b:1": "b:1", "-a=b:1 -a /c": "b:1,/c", "-a b:1,/c": "b:1,/c", "-a= -a /c": "/c",
	} {
		list := "d:1"
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		fs.Var(listen.Flag(&list), "a", "")
		if err := fs.Parse(strings.Fields(args)); err != nil || list != want {
			t.Errorf("%s: %q, %v", args, list, err)
		}
	}
}

func TestMode(t *testing.T) {
	m := listen.Mode(listen.DefaultMode)
	if m.String() != "0660" || m.Set("600") != nil || m.String() != "0600" {
		t.Errorf("mode %s", m.String())
	}
	for _, bad := range []string{"", "rw", "1000", "8"} {
		if m.Set(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestBoth has a network address and a socket file at once.
func TestBoth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ls, err := listen.Open("127.0.0.1:0,"+path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if ls.Port() <= 0 || ls.Addr().Network() != "tcp" || !strings.HasSuffix(ls.String(), ","+path) {
		t.Errorf("it listens on %s, port %d", ls, ls.Port())
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	for i, l := range ls {
		answered := make(chan string, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				answered <- err.Error()
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "hello")
			answered <- c.RemoteAddr().String()
		}()
		c, err := listen.Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if string(b) != "hello" || err != nil {
			t.Errorf("read %q, %v", b, err)
		}
		if remote := <-answered; remote != []string{c.LocalAddr().String(), path}[i] {
			t.Errorf("remote address %q", remote)
		}
		_ = c.Close()
	}
	if err := ls.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket file is still there")
	}
}

// TestLeftBehind has files where a socket is to be. Only a socket that nobody
// answers at is replaced.
func TestLeftBehind(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as a process that was killed
	_ = l.Close()
	ls, err := listen.Open(stale, listen.DefaultMode)
	if err != nil {
		t.Fatalf("after a dead process: %v", err)
	}
	defer ls.Close()
	if ls.Port() != -1 {
		t.Errorf("port %d", ls.Port())
	}
	if again, err := listen.Open(stale, listen.DefaultMode); err == nil {
		_ = again.Close()
		t.Error("a socket in use is taken away")
	}
	if c, err := net.Dial("unix", stale); err != nil {
		t.Errorf("the first one is not reached any more: %v", err)
	} else {
		_ = c.Close()
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := listen.Open(file, listen.DefaultMode); err == nil {
		_ = got.Close()
		t.Error("a file that is no socket is taken away")
	} else if !strings.Contains(err.Error(), "no socket") {
		t.Errorf("of a file in the way is said: %v", err)
	}
	if text, err := os.ReadFile(file); string(text) != "mine" {
		t.Errorf("the file says %q, %v", text, err)
	}
}

// TestAllOrNone wants nothing left open if one address cannot be had.
func TestAllOrNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if ls, err := listen.Open(path+",/nowhere/s", listen.DefaultMode); err == nil {
		_ = ls.Close()
		t.Fatal("there is no /nowhere")
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the first socket file is still there")
	}
}
