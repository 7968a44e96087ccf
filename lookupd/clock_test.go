package lookupd_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/lookupd"
)

// pipe is a listener in memory, so that a daemon runs under a fake clock.
type pipe struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipe() *pipe { return &pipe{make(chan net.Conn), make(chan struct{})} }

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		if c == nil { // as asked by a test: the machine has no room
			return nil, os.NewSyscallError("accept", syscall.EMFILE)
		}
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipe) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipe) dial() net.Conn {
	near, far := net.Pipe()
	p.conns <- far
	return near
}

// bubble is a daemon whose time passes only when the test sleeps. The bubble
// itself fails the test if a goroutine is left at its end.
type bubble struct {
	t        *testing.T
	tcp, web *pipe
	client   *http.Client
}

func inBubble(t *testing.T, s lookupd.Settings, test func(b *bubble)) {
	inBubbleLogging(t, s, nil, test)
}

func inBubbleLogging(t *testing.T, s lookupd.Settings, log *slog.Logger, test func(b *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, tcp: newPipe(), web: newPipe()}
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return b.web.dial(), nil
		}}
		b.client = &http.Client{Transport: transport}
		if log == nil {
			log = testLog(t)
		}
		run(t, lookupd.New(s, b.tcp, b.web, log))
		defer transport.CloseIdleConnections()
		test(b)
	})
}

func (b *bubble) join(host string) *peer {
	p := newPeer(b.t, b.tcp.dial())
	p.identify(host)
	return p
}

func (b *bubble) hosts(path string) string {
	b.t.Helper()
	_, _, body := call(b.t, b.client, "GET", "http://lookupd"+path)
	return hosts(b.t, body)
}

func (b *bubble) expectHosts(path, want string) {
	b.t.Helper()
	if got := b.hosts(path); got != want {
		b.t.Errorf("%s lists %q, want %q", path, got, want)
	}
}

// expectDaemons looks at the gauge of daemons that do not say how they are.
func (b *bubble) expectDaemons(unsaid, inactive int) {
	b.t.Helper()
	_, _, body := call(b.t, b.client, "GET", "http://lookupd/metrics")
	for state, n := range map[string]int{"unsaid": unsaid, "inactive": inactive} {
		if want := fmt.Sprintf("millrace_lookupd_daemons{state=%q} %d\n", state, n); !strings.Contains(body, want) {
			b.t.Errorf("/metrics has no %s", want)
		}
	}
}

func TestSilentConnectionsAreClosed(t *testing.T) {
	s := lookupd.DefaultSettings()
	inBubble(t, s, func(b *bubble) {
		silent, pinging := b.join("silent"), b.join("pinging")
		pinging.say("REGISTER t")
		silent.say("REGISTER t")

		const interval = 15 * time.Second
		for range s.PeerTimeout/interval - 1 {
			time.Sleep(interval)
			pinging.say("PING")
			b.expectHosts("/lookup?topic=t", "silent pinging")
		}
		time.Sleep(interval)
		synctest.Wait()
		b.expectHosts("/lookup?topic=t", "pinging")
		b.expectHosts("/nodes", "pinging")
		silent.expectEOF()
		pinging.say("PING")
	})
}

func TestInactiveDaemonsAreLeftOut(t *testing.T) {
	s := lookupd.DefaultSettings()
	s.InactiveProducerTimeout = 20 * time.Second
	inBubble(t, s, func(b *bubble) {
		p := b.join("a")
		p.say("REGISTER t")
		for _, path := range []string{"/lookup?topic=t", "/nodes"} {
			time.Sleep(s.InactiveProducerTimeout)
			b.expectHosts(path, "a")
			b.expectDaemons(1, 0)
			time.Sleep(time.Nanosecond)
			b.expectHosts(path, "")
			b.expectDaemons(0, 1)
			p.say("PING")
			b.expectHosts(path, "a")
		}
	})
}

func TestALineOnTheDripIsClosed(t *testing.T) {
	inBubble(t, lookupd.DefaultSettings(), func(b *bubble) {
		p := b.join("drip")
		timeout := lookupd.DefaultSettings().PeerTimeout
		began := time.Now()
		for {
			if _, err := io.WriteString(p, "x"); err != nil {
				break
			}
			time.Sleep(10 * time.Second)
		}
		if took := time.Since(began); took < timeout || took > timeout+20*time.Second {
			t.Errorf("closed after %s", took)
		}
		b.expectHosts("/nodes", "")
	})
}

func TestTombstonesEndWithTime(t *testing.T) {
	inBubble(t, lookupd.DefaultSettings(), func(b *bubble) {
		p := b.join("a")
		p.say("REGISTER t")
		lifetime := lookupd.DefaultSettings().TombstoneLifetime
		call(b.t, b.client, "POST", "http://lookupd/topic/tombstone?topic=t&node=a:4151")
		time.Sleep(lifetime - time.Nanosecond)
		b.expectHosts("/lookup?topic=t", "")
		time.Sleep(time.Nanosecond)
		b.expectHosts("/lookup?topic=t", "a")
	})
}

func TestAFullMachineIsWaitedFor(t *testing.T) {
	inBubble(t, lookupd.DefaultSettings(), func(b *bubble) {
		for range 100 {
			b.tcp.conns <- nil
		}
		b.join("a")
		b.expectHosts("/nodes", "a")
	})
}

// TestStrangersMakeRoomOnAFullMachine has files run out while some connections say
// nothing. Those who have said who they are stay.
func TestStrangersMakeRoomOnAFullMachine(t *testing.T) {
	inBubble(t, lookupd.DefaultSettings(), func(b *bubble) {
		daemon := b.join("a")
		first, second, third := newPeer(b.t, b.tcp.dial()), newPeer(b.t, b.tcp.dial()), newPeer(b.t, b.tcp.dial())
		began := time.Now()
		b.tcp.conns <- nil
		b.tcp.conns <- nil
		first.expectEOF()
		second.expectEOF()
		third.identify("b")
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
		b.tcp.conns <- nil
		daemon.say("PING")
		b.expectHosts("/nodes", "a b")
	})
}

func TestRunWaitsForItsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tcp := newPipe()
		d := lookupd.New(lookupd.DefaultSettings(), tcp, newPipe(), testLog(t))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()

		near, far := net.Pipe()
		defer near.Close()
		slow := &slowToClose{Conn: far}
		tcp.conns <- slow
		synctest.Wait()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if !slow.closed.Load() {
			t.Error("Run returned with a connection open")
		}
	})
}

type slowToClose struct {
	net.Conn
	closed atomic.Bool
}

func (c *slowToClose) Close() error {
	err := c.Conn.Close()
	time.Sleep(time.Minute)
	c.closed.Store(true)
	return err
}
