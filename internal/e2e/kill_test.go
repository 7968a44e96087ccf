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

// A hundred kills at each level, and more for as many minutes as SOAK says.
func TestSoakKilled(t *testing.T) {
	end := time.Now().Add(soaking(t))
	for n := 0; n < 2 || time.Now().Before(end); n++ {
		level := []string{"disk", "fsync"}[n%2]
		if !t.Run(level, func(t *testing.T) { killing{100, level, rand.Uint64()}.audited(t) }) {
			return
		}
	}
}

// The audit must be able to fail: at level memory a kill loses messages.
func TestKillAuditSeesLoss(t *testing.T) {
	v := killing{5, "memory", rand.Uint64()}.run(t)
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
	daemon    daemon
	books     *ledger.Ledger
	producers []func(context.Context)
	consumers []func(context.Context)
	kind      atomic.Bool // consumers behave from now on
}

// topics is how many topics there are.
const topics = 3

func (k killing) run(t *testing.T) *ledger.Verdict {
	t.Logf("%d kills at level %s, seed %d", k.rounds, k.level, k.seed)
	c := &crowd{daemon: newDaemon(t, "--durability="+k.level), books: ledger.New()}
	qd := c.daemon.start(t)
	for i := range topics {
		c.populate(t, fmt.Sprintf("topic-%d", i), i == 0)
	}
	stopProducers := inBackground(t, c.producers)
	stopConsumers := inBackground(t, c.consumers)
	began := time.Now()
	qd, loaded := k.killAgain(t, c, qd)
	stopProducers()
	killed := time.Now()
	c.kind.Store(true)
	c.drained(t)
	// Not even a restart brings anything back.
	qd.stop(syscall.SIGTERM)
	c.books.Stopped()
	c.daemon.start(t)
	c.drained(t)
	stopConsumers()
	v := c.books.Audit(forgetful)
	t.Logf("%.0f messages acknowledged a second while qd was up; %v for the kills, %v for the rest", float64(v.Acknowledged)/loaded.Seconds(),
		killed.Sub(began).Round(time.Millisecond), time.Since(killed).Round(time.Millisecond))
	return v
}

// killAgain kills and starts qd, 5 to 700 ms after it was ready. Each fifth life
// is longer than that: else nothing could be older than the books allow what is
// forgotten to be, nor would messages time out. loaded is how long qd was up.
func (k killing) killAgain(t *testing.T, c *crowd, qd *process) (last *process, loaded time.Duration) {
	random := rand.New(rand.NewPCG(k.seed, 0))
	for n := range k.rounds {
		up := time.Now()
		life := time.Duration(5+random.IntN(696)) * time.Millisecond
		if n%5 == 4 {
			life += 2 * forgetful
		}
		pause(t.Context(), life)
		at := time.Now()
		loaded += at.Sub(up)
		qd.signal(syscall.SIGKILL)
		<-qd.exited
		c.books.Killed(at)
		qd = c.daemon.start(t)
	}
	return qd, loaded
}

// inBackground runs all of run, until stop is called, which waits for them, or
// the test ends.
func inBackground(t *testing.T, run []func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, f := range run {
		wg.Go(func() { f(ctx) })
	}
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

// populate creates a topic with two channels, and adds those who will use it. If
// one channel lags, its consumers are too slow for what is published, so that it
// has a backlog, in the log alone, at each kill.
func (c *crowd) populate(t *testing.T, topic string, lags bool) {
	c.daemon.post(t, "/topic/create?topic="+topic, "")
	consume := func(channel *ledger.Channel, name string, m manner) {
		r := &consumer{daemon: c.daemon, topic: topic, channel: name, manner: m, reader: channel.Reader(), kind: c.kind.Load}
		c.consumers = append(c.consumers, func(ctx context.Context) { keepTrying(ctx, r.consume) })
	}
	for _, name := range []string{"calm", "rough"} {
		c.daemon.post(t, "/channel/create?topic="+topic+"&channel="+name, "")
	}
	consume(c.books.AddChannel(topic, "calm", true), "calm", manner{ready: 500})
	rough := c.books.AddChannel(topic, "rough", false)
	if lags {
		consume(rough, "rough", manner{ready: 100, slow: 20 * time.Millisecond, timeout: time.Second, withhold: 331})
		consume(rough, "rough", manner{ready: 100, slow: 20 * time.Millisecond, requeue: 31})
	} else {
		consume(rough, "rough", manner{ready: 100, slow: 3 * time.Millisecond})
		consume(rough, "rough", manner{ready: 200, requeue: 97})
		consume(rough, "rough", manner{ready: 200, timeout: time.Second, withhold: 331, leave: 2000})
	}

	produce := func(batch int, deferred bool, publish func(*producer, context.Context) error) {
		p := &producer{daemon: c.daemon, topic: topic, lane: c.books.AddLane(topic, deferred), batch: batch}
		c.producers = append(c.producers, func(ctx context.Context) {
			keepTrying(ctx, func(ctx context.Context) error { return publish(p, ctx) })
		})
	}
	produce(10, false, func(p *producer, ctx context.Context) error { return p.pipeline(ctx, p.singles) })
	produce(16, false, func(p *producer, ctx context.Context) error { return p.pipeline(ctx, p.batches) })
	produce(1, true, func(p *producer, ctx context.Context) error { return p.pipeline(ctx, p.later) })
	produce(20, false, (*producer).overHTTP)
}

// drained waits until the channels hold nothing.
func (c *crowd) drained(t *testing.T) {
	t.Helper()
	for i := range topics {
		topic := fmt.Sprintf("topic-%d", i)
		eventually(t, topic+" to be drained", func() bool { return c.daemon.drained(topic, "calm", "rough") })
	}
}
