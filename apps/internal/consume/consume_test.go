package consume

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func parse(t *testing.T, args ...string) *Settings {
	t.Helper()
	s := &Settings{Channel: "c", MaxInFlight: 200}
	fs := flag.NewFlagSet("p", flag.ContinueOnError)
	s.Declare(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRefused(t *testing.T) {
	const ok = "--topic=t --lookupd-http-address=127.0.0.1:4161 "
	for name, c := range map[string]struct{ args, want string }{
		"nothing":            {"", "topic: at least one is needed, or a topic-pattern\nlookupd-http-address or qd-tcp-address: at least one is needed"},
		"both addresses":     {ok + "--qd-tcp-address=127.0.0.1:4150", "give only one of them"},
		"pattern without":    {"--topic-pattern=. --qd-tcp-address=127.0.0.1:4150", "topic-pattern: needs a lookupd-http-address"},
		"pattern":            {ok + "--topic-pattern=(", `topic-pattern "(": `},
		"topic name":         {ok + "--topic=a/b", `topic "a/b": not a valid name`},
		"channel name":       {ok + "--channel=a/b", `channel "a/b": not a valid name`},
		"max-in-flight":      {ok + "--max-in-flight=0", "max-in-flight 0"},
		"poll interval":      {ok + "--lookupd-poll-interval=0s", "lookupd-poll-interval 0s"},
		"refresh":            {ok + "--topic-refresh=-1s", "topic-refresh -1s"},
		"address of a qd":    {"--topic=t --qd-tcp-address=localhost", `qd-tcp-address "localhost": must be host:port`},
		"scheme of a lookup": {"--topic=t --lookupd-http-address=ftp://a", `lookupd-http-address "ftp://a"`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := errors.Join(parse(t, strings.Fields(c.args)...).Check()...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	if errs := parse(t, strings.Fields(ok)...).Check(); len(errs) > 0 {
		t.Error(errs)
	}
	if errs := parse(t, "--qd-tcp-address=127.0.0.1:4150").Check(); len(errs) != 1 {
		t.Errorf("one thing is missing, said %q", errs)
	}
}

// A pattern picks among topics that are named, as nsq_to_file's does.
func TestNamed(t *testing.T) {
	s := parse(t, "--topic=b,a,ab,a", "--lookupd-http-address=l:1", "--topic-pattern=^a", "--topic-pattern=x{1,2}")
	if errs := s.Check(); len(errs) > 0 {
		t.Fatal(errs)
	}
	if got := s.Named(); !slices.Equal(got, []string{"a", "ab"}) {
		t.Errorf("got %q", got)
	}
}

// house is a lookupd on a network of pipes, and streams that note that they run.
type house struct {
	mu      sync.Mutex // guards below
	topics  []string
	down    bool
	running []string
	opened  int
	fail    map[string]error // what a topic's stream fails with, at once
}

func (h *house) set(down bool, topics ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down, h.topics = down, topics
}

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down || r.URL.Path != "/topics" {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string][]string{"topics": h.topics})
}

func (h *house) open(topic string) (Stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opened++
	if topic == "refused" {
		return nil, errors.New("no")
	}
	return &noted{h, topic}, nil
}

type noted struct {
	*house
	topic string
}

func (n *noted) Run(ctx context.Context) error {
	n.mu.Lock()
	n.running = append(n.running, n.topic)
	slices.Sort(n.running)
	err := n.fail[n.topic]
	n.mu.Unlock()
	if err == nil {
		<-ctx.Done()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running = slices.DeleteFunc(n.running, func(t string) bool { return t == n.topic })
	return err
}

func (h *house) want(t *testing.T, topics ...string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.running, topics) {
		t.Errorf("streams of %q run, want %q", h.running, topics)
	}
}

// follow runs what a pattern finds under a fake clock, with a lookupd on pipes, which
// begin has told what it is to say first.
func follow(t *testing.T, begin func(h *house), test func(t *testing.T, h *house, stop func() error)) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{fail: make(map[string]error)}
		begin(h)
		l := newPipes()
		server := &http.Server{Handler: h}
		go server.Serve(l)
		s := parse(t, "--topic-pattern=^t", "--topic-pattern=refused", "--lookupd-http-address=lookupd:4161")
		if errs := s.Check(); len(errs) > 0 {
			t.Fatal(errs)
		}
		s.dial = l.dial
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, slog.New(slog.DiscardHandler), h.open) }()
		stopped := false
		stop := func() error {
			stopped = true
			cancel()
			return <-ended
		}
		test(t, h, stop)
		if !stopped {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		h.want(t)
		server.Close()
	})
}

// pipes is a listener whose connections are pipes.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{accept: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.accept <- theirs
	return ours, nil
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestPattern(t *testing.T) {
	t.Run("at once, and what comes later", func(t *testing.T) {
		follow(t, func(h *house) { h.set(false, "t1", "other", "not a name?") }, func(t *testing.T, h *house, _ func() error) {
			synctest.Wait()
			h.want(t, "t1")
			h.set(false, "t1", "t2")
			time.Sleep(10 * time.Second)
			synctest.Wait()
			h.want(t, "t1", "t2")
		})
	})
	t.Run("soon, when the lookupd comes", func(t *testing.T) {
		follow(t, func(h *house) { h.set(true) }, func(t *testing.T, h *house, _ func() error) {
			time.Sleep(5 * time.Second)
			h.set(false, "t1")
			time.Sleep(time.Second)
			synctest.Wait()
			h.want(t, "t1")
		})
	})
	t.Run("gone for good", func(t *testing.T) {
		follow(t, func(h *house) { h.set(false, "t1", "t2") }, func(t *testing.T, h *house, _ func() error) {
			synctest.Wait()
			h.set(false, "t2")
			time.Sleep(100 * time.Second)
			h.set(true) // who cannot be asked might know it
			time.Sleep(time.Hour)
			h.set(false, "t2")
			time.Sleep(100 * time.Second)
			synctest.Wait()
			h.want(t, "t1", "t2")
			time.Sleep(time.Minute)
			synctest.Wait()
			h.want(t, "t2")
			h.set(false, "t1", "t2")
			time.Sleep(10 * time.Second)
			synctest.Wait()
			h.want(t, "t1", "t2")
		})
	})
	t.Run("one that is refused", func(t *testing.T) {
		follow(t, func(h *house) { h.set(false, "t1", "refused") }, func(t *testing.T, h *house, _ func() error) {
			time.Sleep(time.Minute)
			synctest.Wait()
			h.want(t, "t1")
			if h.opened != 2 {
				t.Errorf("open was called %d times", h.opened)
			}
		})
	})
	t.Run("one that fails ends all", func(t *testing.T) {
		broken := errors.New("broken")
		follow(t, func(h *house) {
			h.fail["t2"] = broken
			h.set(false, "t1", "t2")
		}, func(t *testing.T, h *house, stop func() error) {
			synctest.Wait()
			h.want(t)
			if err := stop(); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "topic t2: ") {
				t.Errorf("got %v", err)
			}
		})
	})
}

// Topics that are named need no lookupd to answer.
func TestNamedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{}
		s := parse(t, "--topic=b,a", "--lookupd-http-address=127.0.0.1:1")
		if errs := s.Check(); len(errs) > 0 {
			t.Fatal(errs)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, slog.New(slog.DiscardHandler), h.open) }()
		synctest.Wait()
		h.want(t, "a", "b")
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		h.want(t)
	})
}

func TestNoneOfThoseNamed(t *testing.T) {
	s := parse(t, "--topic=b", "--topic-pattern=a", "--lookupd-http-address=127.0.0.1:1")
	if errs := s.Check(); len(errs) > 0 {
		t.Fatal(errs)
	}
	if err := s.Run(t.Context(), slog.New(slog.DiscardHandler), (&house{}).open); !errors.Is(err, errNoTopic) {
		t.Errorf("got %v", err)
	}
}

// Many topics ask lookupds seldomer than few, but never seldomer than each minute because of that.
func TestLookupInterval(t *testing.T) {
	tests := []struct {
		flag string
		nth  int
		want time.Duration
	}{
		{"2s", 1, 2 * time.Second},
		{"2s", 20, 2 * time.Second},
		{"2s", 300, 30 * time.Second},
		{"2s", 100_000, time.Minute},
		{"5m", 100_000, 5 * time.Minute},
	}
	for _, tt := range tests {
		s := parse(t, "--topic=t", "--lookupd-http-address=127.0.0.1:4161", "--lookupd-poll-interval="+tt.flag)
		if got := s.LookupInterval(tt.nth); got != tt.want {
			t.Errorf("topic %d with %s is asked for every %v, want %v", tt.nth, tt.flag, got, tt.want)
		}
	}
}
