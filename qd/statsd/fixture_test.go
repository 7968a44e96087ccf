package statsd_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/qd/stats"
	"github.com/millrace-mq/millrace/qd/statsd"
)

// server is a statsd that can be away, and what it has got.
type server struct {
	mu      sync.Mutex // guards what follows
	got     []packet
	dials   []string
	nowhere error // of dialing
	deaf    error // of writing
	stuck   bool  // dialing takes for ever
}

type packet struct {
	at   time.Duration // since the daemon's start
	text string
}

func (s *server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	s.dials = append(s.dials, network+" "+address)
	stuck, err := s.stuck, s.nowhere
	s.mu.Unlock()
	if stuck {
		<-ctx.Done()
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return &socket{server: s}, nil
}

// socket is a UDP socket. What it does not have panics when it is called.
type socket struct {
	net.Conn
	server *server
}

func (c *socket) Write(b []byte) (int, error) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if c.server.deaf != nil {
		return 0, c.server.deaf
	}
	c.server.got = append(c.server.got, packet{time.Since(epoch), string(b)})
	return len(b), nil
}

func (c *socket) Close() error { return nil }

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where synctest begins

// take returns the lines that have come since the last take.
func (s *server) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var text strings.Builder
	for _, p := range s.got {
		text.WriteString(p.text)
	}
	s.got = nil
	return strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
}

// rig is a pusher whose figures the test sets.
type rig struct {
	*server
	statsd.Config
	figures stats.Daemon // under the server's mu
	log     bytes.Buffer
	stop    func()
}

// set changes what the pusher finds.
func (r *rig) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *rig) gather() stats.Daemon {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.figures
	all.Topics = slices.Clone(all.Topics)
	for i := range all.Topics {
		all.Topics[i].Channels = slices.Clone(all.Topics[i].Channels)
	}
	return all
}

// start runs one in the test's bubble.
func start(t *testing.T, adjust func(*statsd.Config)) *rig {
	t.Helper()
	r := &rig{server: &server{}}
	r.Config = statsd.Config{
		Address: "statsd.example:8125", Interval: time.Minute, Prefix: "nsq.a_4151.", PacketSize: 508, MemStats: true,
		Gather: r.gather, Dial: r.dial,
		Log: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})),
	}
	if adjust != nil {
		adjust(&r.Config)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- statsd.Run(ctx, r.Config) }()
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return r
}

// fifty is many topics.
func (r *rig) fifty() {
	for i := range uint64(50) {
		r.figures.Topics = append(r.figures.Topics, topic(i, fmt.Sprintf("topic%d", i), i))
	}
}

// pass lets time go by, and then all that is due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func topic(number uint64, name string, messages uint64, channels ...stats.Channel) stats.Topic {
	return stats.Topic{Name: name, Number: number, MessageCount: messages, MessageBytes: 10 * messages, Depth: 3, BackendDepth: 2, Channels: channels}
}

func channel(serial uint64, name string, messages uint64) stats.Channel {
	return stats.Channel{
		Name: name, Serial: serial, MessageCount: messages, Depth: 5, BackendDepth: 4, InFlightCount: 6, DeferredCount: 7,
		RequeueCount: 8, TimeoutCount: 9, ClientCount: 2, DeadCount: 1,
	}
}
