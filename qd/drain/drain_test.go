package drain_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/drain"
	"github.com/millrace-mq/millrace/qd/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a broker with a drain that is Run, on a fake clock.
type fixture struct {
	*drain.Drain
	t      *testing.T
	broker *broker.Broker
	topic  *broker.Topic
	log    strings.Builder // to be read when nobody is running
	cancel context.CancelFunc
	over   chan bool // what Run has returned
}

// play runs f within a bubble.
func play(t *testing.T, f func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, err := broker.Open(broker.Settings{
			DataPath: t.TempDir(), MemoryMessages: 1000, MemoryBytes: 1 << 30, FileBytes: 1 << 20, SyncEvery: 1000,
			SyncTimeout: time.Hour, MaxMsgTimeout: time.Hour, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ran := make(chan error)
		go func() { ran <- b.Run(ctx) }()
		x := &fixture{t: t, broker: b, over: make(chan bool, 1)}
		x.Drain = drain.New(b, slog.New(slog.NewTextHandler(&x.log, nil)))
		if x.topic, err = b.Topic(ctx, "t"); err != nil {
			t.Fatal(err)
		}
		if err := x.topic.CreateChannel("c"); err != nil {
			t.Fatal(err)
		}
		running, cancel := context.WithCancel(ctx)
		x.cancel = cancel
		go func() { x.over <- x.Run(running) }()
		f(x)
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (f *fixture) publish(n int) {
	f.t.Helper()
	for range n {
		if err := f.topic.Publish([][]byte{{1}}); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fixture) deferBy(delay time.Duration) {
	f.t.Helper()
	if err := f.topic.Defer([]byte{1}, delay); err != nil {
		f.t.Fatal(err)
	}
}

// finish consumes n messages.
func (f *fixture) finish(n int) {
	f.t.Helper()
	k, err := f.topic.Subscribe("c", nil, broker.Membership{Timeout: time.Minute})
	if err != nil {
		f.t.Fatal(err)
	}
	k.SetReady(1)
	for range n {
		var run queue.Run
		for ok := false; !ok; {
			if ok, err = k.Next(&run, 1); err != nil {
				f.t.Fatal(err)
			} else if !ok {
				<-k.Awake()
			}
		}
		frame := run.Frames
		if len(run.Again) > 0 {
			frame = run.Again[0].Append(nil)
		}
		m, err := protocol.ParseMessage(frame[8 : 4+binary.BigEndian.Uint32(frame)])
		if err != nil {
			f.t.Fatal(err)
		}
		id, _ := protocol.ParseID(m.ID[:])
		k.Finish([]uint64{id}, func(_ int, err error) { f.t.Error(err) })
		k.Release(&run)
	}
	if err := k.Close(); err != nil {
		f.t.Error(err)
	}
}

// within runs do and wants the drain to be over within a look of it, or to go on.
func (f *fixture) within(over bool, after time.Duration) {
	f.t.Helper()
	time.Sleep(after)
	synctest.Wait()
	select {
	case got := <-f.over:
		if !over || !got {
			f.t.Fatalf("Run has returned %v after %v", got, after)
		}
	default:
		if over {
			f.t.Fatalf("it goes on after %v: %+v", after, f.Progress())
		}
	}
}

// look is the longest time between two looks.
const look = 200 * time.Millisecond

func TestEndsAtOnceWhenEmpty(t *testing.T) {
	play(t, func(f *fixture) {
		f.within(false, time.Hour)
		f.Begin(time.Minute)
		f.within(true, 0)
	})
}

func TestEndsWhenFinished(t *testing.T) {
	play(t, func(f *fixture) {
		f.publish(3)
		f.Begin(drain.Forever)
		f.within(false, time.Hour)
		f.finish(2)
		f.within(false, time.Hour)
		f.finish(1)
		f.within(true, look)
	})
}

func TestEndsAtItsTime(t *testing.T) {
	play(t, func(f *fixture) {
		f.publish(1)
		f.Begin(5 * time.Second)
		f.within(false, 5*time.Second-1)
		f.within(true, 1)
		if !strings.Contains(f.log.String(), `msg="the time for the drain is up: what is left stays on disk" messages=1 topics=1 consumers=0`) {
			f.t.Errorf("the log says\n%s", f.log.String())
		}
		f.cancel()
	})
}

// TestDeferred: what is due in time is waited for, what is not is left.
func TestDeferred(t *testing.T) {
	for _, c := range []struct {
		delay time.Duration
		waits bool
	}{{5*time.Second - 1, true}, {6 * time.Second, false}} {
		play(t, func(f *fixture) {
			f.deferBy(c.delay)
			f.Begin(5 * time.Second)
			f.within(!c.waits, 0)
			if c.waits {
				f.finish(1)
				f.within(true, 1)
			}
		})
	}
	play(t, func(f *fixture) { // without an end, everything is due in time
		f.deferBy(time.Hour)
		f.Begin(drain.Forever)
		f.within(false, time.Hour-1)
		f.finish(1)
		f.within(true, look)
	})
	play(t, func(f *fixture) { // more time makes it worth waiting for
		f.deferBy(time.Minute)
		f.publish(1)
		f.Begin(5 * time.Second)
		f.Set(time.Hour)
		f.finish(1)
		f.within(false, 30*time.Second)
		f.finish(1)
		f.within(true, look)
	})
}

// TestMoved: Begin only shortens the time, Set makes it anything, and what has
// begun stays begun.
func TestMoved(t *testing.T) {
	play(t, func(f *fixture) {
		f.publish(1)
		if !f.Begin(time.Hour) || f.Begin(time.Hour) || f.Set(time.Hour) {
			t.Error("only the first Begin is the first")
		}
		since := f.Progress().Since
		f.within(false, time.Minute)
		f.Begin(drain.Forever)
		f.Begin(2 * time.Hour)
		if p := f.Progress(); p.Since != since || p.Deadline != since+int64(time.Hour) {
			t.Errorf("begun again: %+v, since %d", p, since)
		}
		f.Set(3 * time.Hour)
		if p := f.Progress(); p.Since != since || p.Deadline != since+int64(3*time.Hour+time.Minute) {
			t.Errorf("given more time: %+v, since %d", p, since)
		}
		f.Set(drain.Forever - 1)
		if p := f.Progress(); p.Deadline != 0 {
			t.Errorf("given all the time: %+v", p)
		}
		f.Begin(10 * time.Second)
		f.within(false, 10*time.Second-1)
		f.within(true, 1)
	})
	play(t, func(f *fixture) {
		f.publish(1)
		f.Begin(drain.Forever)
		f.Set(0)
		f.within(true, 0)
	})
}

// TestBegun is closed once, by whoever comes first; publishes are refused then.
func TestBegun(t *testing.T) {
	play(t, func(f *fixture) {
		f.publish(1)
		select {
		case <-f.Begun():
			t.Error("begun before Begin")
		default:
		}
		if p := f.Progress(); p.Since != 0 || p.Deadline != 0 || p.Messages() != 1 {
			t.Errorf("before it begins: %+v", p)
		}
		f.Set(time.Minute)
		f.Begin(time.Minute)
		<-f.Begun()
		if err := f.topic.Publish([][]byte{{1}}); err != broker.ErrDraining {
			t.Errorf("a publish: %v", err)
		}
		f.within(true, time.Minute)
	})
}

// TestCancelled: whoever stops the daemon stops the drain, begun or not.
func TestCancelled(t *testing.T) {
	for _, begin := range []bool{false, true} {
		play(t, func(f *fixture) {
			f.publish(1)
			if begin {
				f.Begin(drain.Forever)
				synctest.Wait() // Run has seen it
			}
			f.cancel()
			if <-f.over {
				t.Error("Run says that the drain is over")
			}
			const told = `msg="the drain is broken off by a stop: what is left stays on disk" messages=1`
			if got := f.log.String(); strings.Contains(got, told) != begin {
				t.Errorf("begun: %v; the log says\n%s", begin, got)
			}
		})
	}
}
