package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/ledger"
)

// forgetful is how long before a kill something may have been done that the
// daemon does not know of after it: 200 ms by which it writes behind, and as
// much for the write, and for commands on their way to it, as a busy machine
// takes.
const forgetful = time.Second

// killing is a run: qd works under load, is killed at a random moment, is
// started again, and so on; then everything is drained and the books audited.
type killing struct {
	rounds int
	level  string
	seed   uint64
}

func TestKilledTenTimes(t *testing.T) {
	for _, level := range []string{"disk", "fsync"} {
		t.Run(level, func(t *testing.T) { killing{10, level, rand.Uint64()}.audited(t) })
	}
}

// A hundred kills and more, for as many minutes as SOAK says.
func TestSoakKilled(t *testing.T) {
	end := time.Now().Add(soaking(t))
	for n := 0; n == 0 || time.Now().Before(end); n++ {
		level := []string{"disk", "fsync"}[n%2]
		if !t.Run(level, func(t *testing.T) { killing{100, level, rand.Uint64()}.audited(t) }) {
			return
		}
	}
}

// The audit must be able to fail: at level memory a kill loses messages.
func TestKillAuditSeesLoss(t *testing.T) {
	v := killing{2, "memory", rand.Uint64()}.run(t)
	if v.Missing == 0 {
		t.Fatalf("nothing is missing although qd was killed at level memory: %v", v)
	}
}

// audited wants a run in which no promise was broken.
func (k killing) audited(t *testing.T) {
	v := k.run(t)
	t.Logf("%v; repeated after each kill: %v", v, v.Repeats)
	if n := v.Broken(); n > 0 {
		t.Errorf("%d promises were broken (%v); seed %d\n%s", n, v, k.seed, strings.Join(v.Faults, "\n"))
	}
	if v.Acknowledged < 100*k.rounds {
		t.Errorf("there was no load to speak of: %v", v)
	}
}

// crowd is everybody who uses the daemon.
type crowd struct {
	daemon   daemon
	books    *ledger.Ledger
	channels []*ledger.Channel
	kind     atomic.Bool // consumers behave from now on
	wg       sync.WaitGroup
}

func (k killing) run(t *testing.T) *ledger.Verdict {
	t.Logf("%d kills at level %s, seed %d", k.rounds, k.level, k.seed)
	random := rand.New(rand.NewPCG(k.seed, 0))
	c := &crowd{daemon: newDaemon(t, "--durability="+k.level), books: ledger.New()}
	qd := c.daemon.start(t)
	began := time.Now()
	producing, endProducing := context.WithCancel(t.Context())
	consuming, endConsuming := context.WithCancel(t.Context())
	defer c.wg.Wait()
	defer endConsuming()
	defer endProducing()
	var producers sync.WaitGroup
	for i := range 3 {
		c.populate(t, producing, consuming, &producers, fmt.Sprintf("topic-%d", i))
	}
	loaded := time.Duration(0)
	for range k.rounds {
		up := time.Now()
		pause(t.Context(), time.Duration(5+random.IntN(696))*time.Millisecond)
		at := time.Now()
		loaded += at.Sub(up)
		qd.signal(syscall.SIGKILL)
		<-qd.exited
		c.books.Killed(at)
		qd = c.daemon.start(t)
	}
	endProducing()
	producers.Wait()
	c.kind.Store(true)
	killed := time.Since(began)
	if k.level == "memory" {
		c.drained(t)
	} else {
		c.drainedForGood(t, qd)
	}
	endConsuming()
	c.wg.Wait()
	v := c.books.Audit(forgetful)
	t.Logf("%.0f messages acknowledged a second while qd was up; %v for the kills, %v for the rest",
		float64(v.Acknowledged)/loaded.Seconds(), killed.Round(time.Millisecond), (time.Since(began) - killed).Round(time.Millisecond))
	return v
}

// populate creates a topic with two channels, and those who use it.
func (c *crowd) populate(t *testing.T, producing, consuming context.Context, producers *sync.WaitGroup, topic string) {
	c.daemon.post(t, "/topic/create?topic="+topic, "")
	produce := func(batch int, deferred bool, publish func(*producer, context.Context) error) {
		p := &producer{daemon: c.daemon, topic: topic, lane: c.books.AddLane(topic, deferred), batch: batch}
		producers.Go(func() { keepTrying(producing, func(ctx context.Context) error { return publish(p, ctx) }) })
	}
	consume := func(channel *ledger.Channel, name string, m manner) {
		r := &consumer{daemon: c.daemon, topic: topic, channel: name, manner: m, reader: channel.Reader(), kind: c.kind.Load}
		c.wg.Go(func() { keepTrying(consuming, r.consume) })
	}
	for _, name := range []string{"calm", "rough"} {
		c.daemon.post(t, "/channel/create?topic="+topic+"&channel="+name, "")
		channel := c.books.AddChannel(topic, name, name == "calm")
		c.channels = append(c.channels, channel)
		if name == "calm" {
			consume(channel, name, manner{ready: 500})
			continue
		}
		consume(channel, name, manner{ready: 100, slow: true})
		consume(channel, name, manner{ready: 200, requeue: 97})
		consume(channel, name, manner{ready: 200, timeout: time.Second, withhold: 331, leave: 2000})
	}
	produce(10, false, func(p *producer, ctx context.Context) error { return p.pipeline(ctx, p.singles) })
	produce(16, false, func(p *producer, ctx context.Context) error { return p.pipeline(ctx, p.batches) })
	produce(1, true, func(p *producer, ctx context.Context) error { return p.pipeline(ctx, p.later) })
	produce(20, false, (*producer).overHTTP)
}

// drained waits until the channels hold nothing.
func (c *crowd) drained(t *testing.T) {
	t.Helper()
	for i := range 3 {
		topic := fmt.Sprintf("topic-%d", i)
		eventually(t, topic+" to be drained", func() bool { return c.daemon.drained(topic, "calm", "rough") })
	}
}

// drainedForGood is drained, and that it stays so: not even a restart brings
// anything back.
func (c *crowd) drainedForGood(t *testing.T, qd *process) {
	t.Helper()
	c.drained(t)
	finished := 0
	for _, channel := range c.channels {
		finished += channel.Finished()
	}
	qd.stop(syscall.SIGTERM)
	c.books.Killed(time.Now().Add(forgetful)) // nothing that was done may come again
	c.daemon.start(t)
	c.drained(t)
	for _, channel := range c.channels {
		finished -= channel.Finished()
	}
	if finished != 0 {
		t.Errorf("after everything was finished, and a restart, %d messages more were finished", -finished)
	}
}
