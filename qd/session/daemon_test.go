package session_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/session"
)

// limits are nsqd's defaults, without TLS and compression.
func limits() session.Settings {
	return session.Settings{
		MaxMsgSize: 1 << 20, MaxBodySize: 5 << 20,
		MsgTimeout: time.Minute, MaxMsgTimeout: 15 * time.Minute, MaxReqTimeout: time.Hour,
		MaxHeartbeatInterval: time.Minute, MaxRdyCount: 2500,
		OutputBufferTimeout: 250 * time.Millisecond, MinOutputBufferTimeout: 25 * time.Millisecond,
		MaxOutputBufferTimeout: 30 * time.Second, MaxOutputBufferSize: 64 << 10, MaxDeflateLevel: 6,
	}
}

// daemon is a broker and its V2 server.
type daemon struct {
	t      testing.TB
	broker *broker.Broker
	server *session.Server

	// Ends of the listener, of the sessions and of the broker, in the order in
	// which a stop goes through them.
	refuse, dismiss, halt context.CancelFunc
	accepting, running    sync.WaitGroup
	once                  sync.Once
}

// start serves l until the test ends or stop is called.
func start(t testing.TB, s session.Settings, l net.Listener) *daemon {
	t.Helper()
	return startLogged(t, s, l, slog.New(slog.DiscardHandler))
}

// startLogged is start with a log of the sessions.
func startLogged(t testing.TB, s session.Settings, l net.Listener, log *slog.Logger) *daemon {
	t.Helper()
	return startAt(t, s, l, log, broker.Memory)
}

// startAt is startLogged with topics at a level.
func startAt(t testing.TB, s session.Settings, l net.Listener, log *slog.Logger, level broker.Level) *daemon {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	b, err := broker.Open(broker.Settings{
		DataPath: t.TempDir(), MemoryMessages: 10_000_000, MemoryBytes: 1 << 30,
		FileBytes: 100 << 20, SyncEvery: 2500, SyncTimeout: 2 * time.Second,
		MaxMsgTimeout: s.MaxMsgTimeout, Durability: level, Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, broker: b, server: session.NewServer(s, b, log)}
	var accepts, sessions, runs context.Context
	accepts, d.refuse = context.WithCancel(context.Background())
	sessions, d.dismiss = context.WithCancel(context.Background())
	runs, d.halt = context.WithCancel(context.Background())
	d.running.Go(func() { _ = b.Run(runs) })
	d.accepting.Go(func() {
		if err := d.server.Accept(accepts, sessions, l); err != nil {
			t.Errorf("Accept: %v", err)
		}
	})
	t.Cleanup(d.stop)
	return d
}

// stop ends the daemon, and audits what it leaves.
func (d *daemon) stop() {
	d.once.Do(func() {
		d.audit()
		d.refuse()
		d.dismiss()
		d.accepting.Wait()
		if left := d.server.Clients(); len(left) > 0 {
			d.t.Errorf("%d sessions are left after the end", len(left))
		}
		if n := d.broker.InFlight(); n > 0 {
			d.t.Errorf("%d messages are in flight with nobody connected", n)
		}
		d.audit()
		d.halt()
		d.running.Wait()
		if err := d.broker.Close(); err != nil {
			d.t.Errorf("closing the broker: %v", err)
		}
	})
}

func (d *daemon) audit() {
	d.t.Helper()
	if err := d.books(); err != nil {
		d.t.Errorf("audit: %v", err)
	}
}

// books is nil if what went into every topic and channel is what came out of
// it and what is still there.
func (d *daemon) books() error {
	var errs []error
	for _, topic := range d.broker.Topics() {
		topic.View(func(core *queue.Topic) { errs = append(errs, core.Audit()) })
	}
	return errors.Join(errs...)
}

// loopback starts a daemon on a real socket, and checks at the end of the test
// that no goroutine is left.
func loopback(t testing.TB, s session.Settings) (d *daemon, addr string) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return start(t, s, l), l.Addr().String()
}

// depth is the number of messages in the topic and in all its channels.
func (d *daemon) depth(topic string) int {
	n := 0
	if t, err := d.broker.Find(topic); err == nil {
		t.View(func(core *queue.Topic) {
			n = core.Depth()
			for _, c := range core.Channels() {
				n += c.Depth() + c.InFlight() + c.Deferred()
			}
		})
	}
	return n
}

// heldBy is the number of messages that the consumer with the address holds.
func (d *daemon) heldBy(remote string) int {
	held := 0
	for _, t := range d.broker.Topics() {
		t.View(func(core *queue.Topic) {
			for _, c := range core.Channels() {
				c.Consumers(func(k *queue.Consumer, _, inFlight int, _, _, _ uint64) {
					owner := k.Owner.(*broker.Consumer).Owner.(interface{ Client() session.Client })
					if owner.Client().RemoteAddress == remote {
						held += inFlight
					}
				})
			}
		})
	}
	return held
}
