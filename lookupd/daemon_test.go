package lookupd_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/lookupd"
	"github.com/millrace-mq/millrace/protocol"
)

// start runs a daemon on free ports until the test ends, which also checks
// that it then ended well and left no goroutine behind.
func start(t *testing.T) *lookupd.Daemon {
	t.Helper()
	s := lookupd.DefaultSettings()
	s.TCPAddress, s.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
	d, err := lookupd.Listen(s, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	run(t, d)
	return d
}

func run(t *testing.T, d *lookupd.Daemon) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
		// A goroutine that has said it is done may have an instruction to go.
		left := stacks()
		for deadline := time.Now().Add(30 * time.Second); left != "" && time.Now().Before(deadline); left = stacks() {
			time.Sleep(time.Millisecond)
		}
		if left != "" {
			t.Errorf("left behind:%s", left)
		}
	})
}

// stacks returns those of the goroutines that a daemon has started.
func stacks() string {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	var ours strings.Builder
	for g := range strings.SplitSeq(string(all), "\n\n") {
		if strings.Contains(g, "millrace/lookupd.(") || strings.Contains(g, "millrace/internal/httpapi.") {
			ours.WriteString("\n" + g)
		}
	}
	return ours.String()
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// peer is a daemon's end of a V1 connection.
type peer struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func newPeer(t *testing.T, conn net.Conn) *peer {
	t.Cleanup(func() { conn.Close() })
	return &peer{t, conn, bufio.NewReader(conn)}
}

// dial connects to d without a word.
func dial(t *testing.T, d *lookupd.Daemon) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", d.TCPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, conn)
}

// join connects to d as the daemon at host:4150, with HTTP on 4151.
func join(t *testing.T, d *lookupd.Daemon, host string) *peer {
	t.Helper()
	p := dial(t, d)
	p.identify(host)
	return p
}

func (p *peer) identify(host string) {
	p.t.Helper()
	p.send(protocol.MagicV1 + identify(identity(host)))
	p.reply()
}

func identity(host string) string {
	return fmt.Sprintf(`{"broadcast_address":%q,"hostname":"h","tcp_port":4150,"http_port":4151,"version":"1.3.0","topology_zone":"z"}`, host)
}

func identify(body string) string { return string(protocol.AppendIdentify(nil, []byte(body))) }

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p, s); err != nil {
		p.t.Fatalf("sending %.40q: %v", s, err)
	}
}

func (p *peer) reply() string {
	p.t.Helper()
	var size int32
	if err := binary.Read(p.in, binary.BigEndian, &size); err != nil {
		p.t.Fatalf("reading the size of a reply: %v", err)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(p.in, data); err != nil {
		p.t.Fatalf("reading a reply of %d bytes: %v", size, err)
	}
	return string(data)
}

// ask sends a command and expects a reply.
func (p *peer) ask(command, want string) {
	p.t.Helper()
	p.send(command)
	if got := p.reply(); got != want {
		p.t.Fatalf("%.80q is answered with %.200q, want %.200q", command, got, want)
	}
}

func (p *peer) say(line string) { p.t.Helper(); p.ask(line+"\n", "OK") }

// expectEOF checks that the daemon hung up in an orderly way.
func (p *peer) expectEOF() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.in); err != nil || len(rest) > 0 {
		p.t.Fatalf("the connection goes on with %q, %v", rest, err)
	}
}

// call makes a request and returns the status and the body.
func call(t *testing.T, client *http.Client, method, url string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// get asks d and returns the body of its answer.
func get(t *testing.T, d *lookupd.Daemon, path string) string {
	t.Helper()
	_, _, body := call(t, http.DefaultClient, "GET", "http://"+d.HTTPAddr().String()+path)
	return body
}

func post(t *testing.T, d *lookupd.Daemon, path string) {
	t.Helper()
	status, _, body := call(t, http.DefaultClient, "POST", "http://"+d.HTTPAddr().String()+path)
	if status != http.StatusOK {
		t.Fatalf("POST %s: %d %s", path, status, body)
	}
}

// hosts returns which daemons a lookup answer lists, space-separated.
func hosts(t *testing.T, answer string) string {
	t.Helper()
	var v struct {
		Producers []protocol.PeerInfo `json:"producers"`
	}
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	var b bytes.Buffer
	for _, p := range v.Producers {
		fmt.Fprintf(&b, " %s", p.BroadcastAddress)
	}
	return strings.TrimSpace(b.String())
}

func TestATakenPort(t *testing.T) {
	for _, which := range []string{"tcp", "http"} {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		s := lookupd.DefaultSettings()
		s.TCPAddress, s.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
		if which == "tcp" {
			s.TCPAddress = taken.Addr().String()
		} else {
			s.HTTPAddress = taken.Addr().String()
		}
		_, err = lookupd.Listen(s, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), which+"-address") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s taken: %v", which, err)
		}
	}
}

func TestAFailingListenerEndsRun(t *testing.T) {
	d := lookupd.New(lookupd.DefaultSettings(), broken{}, newPipe(), slog.New(slog.DiscardHandler))
	if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("Run ended with %v", err)
	}
}

type broken struct{}

func (broken) Accept() (net.Conn, error) { return nil, fmt.Errorf("out of order") }
func (broken) Close() error              { return nil }
func (broken) Addr() net.Addr            { return &net.UnixAddr{} }

func TestRunEndsWhileAllTalk(t *testing.T) {
	d := start(t)
	silent := dial(t, d)
	joined := join(t, d, "a")
	halfway := join(t, d, "b")
	halfway.send("REGISTER t")
	joined.say("REGISTER t c")
	_ = silent // start's cleanup runs before the connections are closed
}

func TestCloseGivesTheAddressesBack(t *testing.T) {
	s := lookupd.DefaultSettings()
	s.TCPAddress, s.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
	d, err := lookupd.Listen(s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, a := range []net.Addr{d.TCPAddr(), d.HTTPAddr()} {
		l, err := net.Listen("tcp", a.String())
		if err != nil {
			t.Errorf("%s is still taken: %v", a, err)
			continue
		}
		l.Close()
	}
}
