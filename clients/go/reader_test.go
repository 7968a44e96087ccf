package millrace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// running is a Reader that runs until stop is called, or the test ends.
type running struct {
	*Reader
	cancel context.CancelFunc
	ended  chan struct{}
}

func (r *running) stop() {
	r.cancel()
	<-r.ended
}

func startReader(t *testing.T, n *pipeNet, c ReaderConfig) *running {
	t.Helper()
	c.Dial, c.Topic, c.Channel = n.dial, "t", "c"
	r, err := NewReader(c)
	noError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	run := &running{r, cancel, make(chan struct{})}
	go func() {
		defer close(run.ended)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(run.stop)
	return run
}

// recorder is a handler that keeps bodies and answers nil.
type recorder struct {
	mu     sync.Mutex
	bodies []string
}

func (r *recorder) Handle(_ context.Context, m *Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies = append(r.bodies, string(m.Body))
	return nil
}

func (r *recorder) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.bodies)
}

// pass lets d go by, and everything that happens in it.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func numbered(n int) (bodies []string) {
	for i := range n {
		bodies = append(bodies, fmt.Sprintf("m%05d", i))
	}
	return bodies
}

func TestReaderConsumesInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		bodies := numbered(5000)
		b.put("t", bodies...)
		var rec recorder
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: &rec})
		synctest.Wait()
		want(t, "handled", rec.got(), bodies)
		want(t, "finished", b.finishedBodies(), bodies)
		want(t, "stats", r.Stats(), Stats{Connections: 1, Received: 5000, Finished: 5000})
		want(t, "most in flight", b.maxOut, 200)
	})
}

func TestReaderMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", "hello")
		var seen *Message
		startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: HandlerFunc(func(_ context.Context, m *Message) error {
			seen = m
			return nil
		})})
		synctest.Wait()
		want(t, "ID", seen.ID, protocol.FormatID(1))
		want(t, "timestamp", seen.Timestamp.UnixNano(), int64(1))
		want(t, "attempts", seen.Attempts, uint16(1))
		want(t, "body", string(seen.Body), "hello")
		want(t, "address", seen.Address, "q:1")
		want(t, "room behind the body", cap(seen.Body), 5)
	})
}

func TestReaderRequeuesFailures(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", "x")
		var at []time.Duration
		began := time.Now()
		r := startReader(t, n, ReaderConfig{
			Addresses: []string{"q:1"}, RequeueDelay: time.Second, MaxRequeueDelay: 3 * time.Second, MaxAttempts: 5,
			Handler: HandlerFunc(func(context.Context, *Message) error {
				at = append(at, time.Since(began))
				return errors.New("no")
			}),
		})
		pass(time.Minute)
		want(t, "handled at", at, []time.Duration{0, 1 * time.Second, 3 * time.Second, 6 * time.Second, 9 * time.Second})
		want(t, "requeued", b.requeued, []string{"x 1000", "x 2000", "x 3000", "x 3000", "x 3000"})
		want(t, "given up", b.finishedBodies(), []string{"x"})
		want(t, "stats", r.Stats(), Stats{Connections: 1, Received: 6, Finished: 1, Requeued: 5, GivenUp: 1})
	})
}

func TestRequeueDelay(t *testing.T) {
	for _, c := range []struct {
		delay, limit time.Duration
		attempts     uint16
		want         time.Duration
	}{
		{0, 0, 3, 15 * time.Second},
		{0, 0, 65535, 5 * time.Minute},
		{-1, 0, 3, 0},
		{time.Second, -1, 3, 0},
		{1 << 62, 1 << 62, 65535, 1 << 62},
		{time.Hour, time.Minute, 1, time.Minute},
	} {
		r, err := NewReader(ReaderConfig{
			Topic: "t", Channel: "c", Addresses: []string{"q:1"}, Handler: &recorder{},
			RequeueDelay: c.delay, MaxRequeueDelay: c.limit,
		})
		noError(t, err)
		want(t, fmt.Sprint(c), r.requeueDelay(c.attempts), c.want)
	}
}

func TestReaderAnswersLaterAndOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", "fin", "req", "touch", "early")
		held := map[string]*Message{}
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: HandlerFunc(func(_ context.Context, m *Message) error {
			if m.Attempts > 1 {
				return nil
			}
			held[string(m.Body)] = m
			if string(m.Body) == "early" {
				m.Finish()
				return errors.New("after the answer")
			}
			return fmt.Errorf("not yet: %w", ErrAnswerLater)
		})})
		synctest.Wait()
		want(t, "finished at first", b.finishedBodies(), []string{"early"})
		want(t, "in flight", r.Stats().InFlight, 3)
		held["touch"].Touch()
		for range 2 {
			held["fin"].Finish()
			held["fin"].Requeue(0)
			held["req"].Requeue(2 * time.Second)
			held["req"].Finish()
			held["touch"].Finish()
			held["touch"].Touch()
		}
		pass(3 * time.Second)
		want(t, "finished", b.finishedBodies(), []string{"early", "fin", "touch", "req"})
		want(t, "requeued", b.requeued, []string{"req 2000"})
		touches := 0
		b.each(func(s *session) {
			for _, c := range s.commands {
				if strings.HasPrefix(c, "TOUCH") {
					touches++
				}
			}
		})
		want(t, "touches", touches, 1)
	})
}

// TestReaderKeepsBodies holds every message until the end, as a program does
// that answers after an fsync, while large and small ones share the connection.
func TestReaderKeepsBodies(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		var bodies []string
		for i := range 1500 {
			bodies = append(bodies, strings.Repeat(string(rune('a'+i%26)), 1+i*i%5000))
		}
		bodies[700] = strings.Repeat("long", 300<<10)
		b.put("t", bodies...)
		var held []*Message
		startReader(t, n, ReaderConfig{
			Addresses: []string{"q:1"}, MaxInFlight: 2000,
			Handler: HandlerFunc(func(_ context.Context, m *Message) error {
				held = append(held, m)
				return ErrAnswerLater
			}),
		})
		synctest.Wait()
		want(t, "held", len(held), len(bodies))
		for i, m := range held {
			if string(m.Body) != bodies[i] {
				t.Fatalf("body %d has changed", i)
			}
			m.Finish()
		}
		synctest.Wait()
		want(t, "finished", len(b.finishedBodies()), len(bodies))
	})
}

// TestReaderSlowHandler has a handler that takes an hour: heartbeats must be
// answered, and what the daemon takes back and sends again must not pile up.
func TestReaderSlowHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		b.msgTimeout = time.Second
		b.start(n.listen("q:1"))
		t.Cleanup(b.stop)
		b.put("t", numbered(1000)...)
		var rec recorder
		slow := true
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, MaxInFlight: 10, Handler: HandlerFunc(func(ctx context.Context, m *Message) error {
			if slow {
				slow = false
				time.Sleep(time.Hour + time.Second/2)
			}
			return rec.Handle(ctx, m)
		})})
		pass(59 * time.Minute)
		if waiting := waitingIn(r.queue); waiting > 20 {
			t.Errorf("%d messages are waiting", waiting)
		}
		if s := r.Stats(); s.InFlight > 20 || s.Expired < 30000 {
			t.Errorf("%+v", s)
		}
		pass(5 * time.Minute)
		want(t, "connections", n.dialled("q:1"), 1)
		distinct := map[string]bool{}
		for _, body := range b.finishedBodies() {
			distinct[body] = true
		}
		want(t, "finished in the end", len(distinct), 1000)
		want(t, "handled", len(rec.got()), 1001) // the hour's first twice
	})
}

// TestReaderSkipsWhatTheDaemonTookBack has a handler that manages four messages
// within the daemon's timeout: the rest of the read goes to another consumer, and
// handling it here would be handling it twice.
func TestReaderSkipsWhatTheDaemonTookBack(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		b.msgTimeout = time.Second
		b.start(n.listen("q:1"))
		t.Cleanup(b.stop)
		b.put("t", numbered(30)...)
		var rec recorder
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: HandlerFunc(func(ctx context.Context, m *Message) error {
			time.Sleep(300 * time.Millisecond)
			return rec.Handle(ctx, m)
		})})
		pass(time.Millisecond)
		b.each(func(s *session) { s.ready = 0 })
		pass(15 * time.Second)
		want(t, "handled", len(rec.got()), 4)
		want(t, "finished in time", len(b.finishedBodies()), 3)
		want(t, "stats", r.Stats(), Stats{Connections: 1, Received: 30, Finished: 4, Touched: 3, Expired: 26})
	})
}

func waitingIn(q *queue) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for p := range q.parcels.all() {
		n += p.unclaimed()
	}
	return n
}

func TestReaderHeartbeats(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		var rec recorder
		startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: &rec, Connection: Connection{HeartbeatInterval: 5 * time.Second}})
		pass(time.Hour)
		want(t, "connections after an hour's silence", n.dialled("q:1"), 1)

		b.each(func(s *session) { s.silent = true })
		pass(11 * time.Second)
		b.put("t", "x")
		pass(0)
		want(t, "connections after the daemon's death", n.dialled("q:1"), 2)
		want(t, "handled", rec.got(), []string{"x"})
	})
}

func TestReaderRespectsMaxRdy(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		b.maxRdy = 7
		b.start(n.listen("q:1"))
		t.Cleanup(b.stop)
		b.put("t", numbered(100)...)
		var rec recorder
		startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: &rec})
		synctest.Wait()
		want(t, "handled", len(rec.got()), 100)
		want(t, "most in flight", b.maxOut, 7)
	})
}

func TestReaderErrorFrames(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		var rec recorder
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: &rec})
		synctest.Wait()
		frame := func(text string) {
			b.each(func(s *session) { s.sendLocked(protocol.AppendFrame(nil, protocol.FrameError, text)) })
		}
		for _, harmless := range []string{"E_FIN_FAILED FIN x failed", "E_REQ_FAILED", "E_TOUCH_FAILED TOUCH x"} {
			frame(harmless)
		}
		b.put("t", "a")
		pass(time.Minute)
		want(t, "connections", n.dialled("q:1"), 1)
		frame("E_INVALID something")
		b.put("t", "b")
		pass(time.Second)
		want(t, "connections after a fatal error", n.dialled("q:1"), 2)
		want(t, "handled", rec.got(), []string{"a", "b"})
		want(t, "stats", r.Stats(), Stats{Connections: 1, Received: 2, Finished: 2})
	})
}

func TestReaderBrokenStreams(t *testing.T) {
	message := string(protocol.AppendMessage(nil, 1, 1, 99, []byte("whole")))
	for name, c := range map[string]struct {
		bytes string
		then  []string // handled before the connection is made anew
	}{
		"cut inside a frame":   {message + message[:20], []string{"whole"}},
		"cut inside a size":    {message + message[:3], []string{"whole"}},
		"negative size":        {"\xff\xff\xff\xff\x00\x00\x00\x02", nil},
		"size too small":       {"\x00\x00\x00\x03\x00\x00\x00\x02", nil},
		"huge size":            {"\x7f\xff\xff\xff\x00\x00\x00\x02", nil},
		"message without ID":   {"\x00\x00\x00\x08\x00\x00\x00\x02abcd", nil},
		"unknown frame":        {"\x00\x00\x00\x04\x00\x00\x00\x07", nil},
		"unasked response":     {"\x00\x00\x00\x06\x00\x00\x00\x00OK", nil},
		"goodbye without CLS":  {string(protocol.AppendFrame(nil, protocol.FrameResponse, "CLOSE_WAIT")), nil},
		"fatal with no reason": {string(protocol.AppendFrame(nil, protocol.FrameError, "")), nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *pipeNet) {
				b := startBroker(t, n.listen("q:1"))
				broken := false
				b.intercept = func(s *session, l protocol.Line, _ []byte) bool {
					if l.Verb == protocol.Rdy && !broken {
						broken = true
						s.mu.Lock()
						defer s.mu.Unlock()
						s.sendLocked([]byte(c.bytes))
						s.ended = strings.HasPrefix(name, "cut")
						return true
					}
					return false
				}
				b.put("t", "after")
				var rec recorder
				startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: &rec})
				time.Sleep(time.Second)
				// The worker may or may not get hold of a message before the
				// reader notices that its line is dead.
				got := rec.got()
				if len(got) > 1 {
					want(t, "handled first", got[:len(got)-1], c.then)
				}
				want(t, "handled", got[len(got)-1], "after")
				want(t, "connections", n.dialled("q:1"), 2)
			})
		})
	}
}

func TestReaderDaemonBackLater(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := newBroker(t)
		var rec recorder
		startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: &rec})
		for i := range 3 {
			pass(10 * time.Minute)
			b.put("t", fmt.Sprint(i))
			b.start(n.listen("q:1"))
			pass(13 * time.Second)
			want(t, "handled", len(rec.got()), i+1)
			b.stop()
		}
		if tries := n.dialled("q:1"); tries > 300 {
			t.Errorf("%d attempts in half an hour", tries)
		}
	})
}

// TestReaderForgetsWhatADeadDaemonSent checks that messages of a connection that
// is gone are not handled: the daemon sends them again.
func TestReaderForgetsWhatADeadDaemonSent(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", numbered(50)...)
		var rec recorder
		startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: HandlerFunc(func(ctx context.Context, m *Message) error {
			if len(rec.got()) == 0 {
				b.each(func(s *session) { _ = s.nc.Close() })
				time.Sleep(time.Second)
			}
			return rec.Handle(ctx, m)
		})})
		pass(5 * time.Second)
		want(t, "handled", len(rec.got()), 51) // the first one twice
		want(t, "finished", len(b.finishedBodies()), 50)
	})
}

func TestReaderConcurrency(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", numbered(100)...) // one read, spread over all handlers
		began := time.Now()
		var rec recorder
		startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Concurrency: 10, Handler: HandlerFunc(func(ctx context.Context, m *Message) error {
			time.Sleep(time.Second)
			return rec.Handle(ctx, m)
		})})
		for len(rec.got()) < 100 {
			time.Sleep(100 * time.Millisecond)
		}
		want(t, "took", time.Since(began).Round(time.Second), 10*time.Second)
	})
}

// TestReaderAnswersPromptly checks that a FIN does not wait for the handler of
// the next message, and that the FINs of one read nevertheless go together.
func TestReaderAnswersPromptly(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		b := startBroker(t, n.listen("q:1"))
		b.put("t", numbered(100)...)
		handled := 0
		startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: HandlerFunc(func(context.Context, *Message) error {
			if handled++; handled == 51 {
				time.Sleep(time.Hour)
			}
			return nil
		})})
		pass(soonDelay)
		want(t, "finished after a millisecond", len(b.finishedBodies()), 50)
	})
}

func TestReaderRunsOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, n *pipeNet) {
		r := startReader(t, n, ReaderConfig{Addresses: []string{"q:1"}, Handler: &recorder{}})
		r.stop()
		want(t, "second run fails", r.Run(t.Context()) != nil, true)
	})
}
