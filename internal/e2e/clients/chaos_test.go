package clients

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// chaos is three qd and two lookupd, which are killed at random, and both clients,
// which publish to them and consume from them.
type chaos struct {
	*testing.T
	seed     uint64
	qds      []*node
	lookupds []*node
	clients  []client
	round    int
	first    census // after the first round
}

const (
	chaosRound = 8 * time.Second // of the two in a short run
	soakRound  = time.Minute
	largest    = 4096 // bytes of a message, by the daemons
)

// Everything that a Writer has accepted arrives while daemons are killed and
// restarted; what it said is not stored never does; and when all are closed, nothing
// of them is left. The second round is compared with the first, which has loaded
// and cached what stays.
func TestChaos(t *testing.T) {
	c := newChaos(t)
	for range 2 {
		c.play(chaosRound)
	}
}

func TestSoakChaos(t *testing.T) {
	minutes, err := strconv.ParseFloat(os.Getenv("SOAK"), 64)
	if err != nil {
		t.Skip("SOAK is not set to a number of minutes")
	}
	c := newChaos(t)
	for end := time.Now().Add(time.Duration(minutes * float64(time.Minute))); time.Now().Before(end) || c.round < 2; {
		c.play(min(soakRound, time.Duration(minutes*float64(time.Minute))/2))
	}
}

func newChaos(t *testing.T) *chaos {
	c := &chaos{T: t, seed: seed(t), clients: []client{goClient{}, newAgent(t, false), newAgent(t, true)}}
	for i := range 2 {
		c.lookupds = append(c.lookupds, newLookupd(t, fmt.Sprintf("l%d", i+1)))
	}
	for i := range 3 {
		c.qds = append(c.qds, newQD(t, fmt.Sprintf("q%d", i+1), c.lookupds, fmt.Sprintf("--max-msg-size=%d", largest)))
	}
	return c
}

func (c *chaos) nodes() []*node { return slices.Concat(c.lookupds, c.qds) }

// seed is SEED, for the repetition of a run, or else a new one.
func seed(t *testing.T) uint64 {
	s := rand.Uint64()
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	t.Logf("SEED=%d", s)
	return s
}

// play is a round, with which all ends that was opened for it; then that is looked
// for.
func (c *chaos) play(length time.Duration) {
	c.round++
	startAll(c.T, c.nodes()...)
	before := c.census()
	c.Run(fmt.Sprintf("round %d", c.round), func(t *testing.T) {
		r := *c
		r.T = t
		r.use(length)
	})
	if c.Failed() {
		c.FailNow() // what is left behind is no wonder
	}
	c.settle(before)
	for _, n := range c.nodes() {
		n.kill()
	}
}

// use opens everything, uses it while daemons are killed, and closes it again.
func (c *chaos) use(length time.Duration) {
	topic := fmt.Sprintf("chaos-%d", c.round)
	b := new(books)
	readers, stopReading := c.consume(b, topic)
	writers, stop := c.produce(b, topic)
	kills := c.havoc(length)
	quiet := time.Now()
	stop()
	for of, w := range writers {
		if err := w.close(); err != nil {
			c.Errorf("closing the writer of %s: %v", of, err)
		}
	}
	closed := time.Now()
	c.drain(b, topic)
	drained := time.Now()
	for of, r := range readers {
		if err := r.close(); err != nil {
			c.Errorf("closing the reader of %s: %v", of, err)
		}
	}
	stopReading()
	summary, faults := b.audit()
	c.Logf("%d kills; %s; the last answer %v after the last kill, all of it read %v later, all readers closed %v later",
		kills, summary, closed.Sub(quiet).Round(time.Millisecond), drained.Sub(closed).Round(time.Millisecond), time.Since(drained).Round(time.Millisecond))
	if len(faults) > 0 {
		c.Errorf("%d promises were broken; SEED=%d has the same kills again\n%s", len(faults), c.seed, few(faults))
	}
}

// channelOf names the channel that a client reads in a way. Each has all messages,
// so each Writer's are read by Readers of every language.
func channelOf(of client, form string) string { return of.String() + "-" + form }

// consume opens a Reader of each form in each language, one half of which know the
// daemons from lookupds.
func (c *chaos) consume(b *books, topic string) (readers map[string]reader, stop func()) {
	readers = map[string]reader{}
	tcp, _ := addresses(c.qds)
	_, lookups := addresses(c.lookupds)
	done := make(chan struct{})
	var wg sync.WaitGroup
	var names []string
	for _, of := range c.clients {
		for _, form := range forms {
			names = append(names, channelOf(of, form))
		}
	}
	for _, q := range c.qds {
		q.createTopic(c.T, topic, names...)
	}
	for i, of := range c.clients {
		for j, form := range forms {
			s := readerSettings{Topic: topic, Channel: channelOf(of, form), Form: form, FailEvery: 97, Concurrency: 1 + j%2, MaxInFlight: 200}
			if (i+j)%2 == 0 {
				s.Lookupds = lookups
			} else {
				s.Addresses = tcp
			}
			r, a := of.reader(c.T, s), b.addChannel(s.Channel)
			readers[s.Channel] = r
			wg.Go(func() {
				for {
					select {
					case d := <-r.deliveries():
						a.receive(d)
					case <-done:
						return
					}
				}
			})
		}
	}
	return readers, func() {
		close(done)
		wg.Wait()
		for _, r := range readers { // what came last
			for len(r.deliveries()) > 0 {
				<-r.deliveries()
			}
		}
	}
}

// produce opens two Writers in each language, one of them with lookupds, and
// publishes by each in every way until stop.
func (c *chaos) produce(b *books, topic string) (writers map[string]writer, stop func()) {
	writers = map[string]writer{}
	tcp, _ := addresses(c.qds)
	_, lookups := addresses(c.lookupds)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, of := range c.clients {
		for name, s := range map[string]writerSettings{
			"by addresses":              {Addresses: tcp},
			"by lookupds, repeating":    {Lookupds: lookups, RetryUncertain: true},
			"by addresses, little room": {Addresses: tcp, MaxInFlight: 20},
		} {
			w := of.writer(c.T, s)
			writers[of.String()+", "+name] = w
			for _, way := range ways {
				for range way.many {
					l := b.addLane(fmt.Sprintf("%s, %s, %s", of, name, way.name), s.RetryUncertain)
					wg.Go(func() {
						for ctx.Err() == nil {
							way.publish(w, topic, l)
							pause(ctx, way.beat)
						}
					})
				}
			}
		}
	}
	return writers, func() { cancel(); wg.Wait() }
}

// ways are those of publishing. Each is done again and again, with a beat between,
// by as many as there are.
var ways = []struct {
	name    string
	many    int
	beat    time.Duration
	publish func(w writer, topic string, l *lane)
}{
	{"single", 3, 40 * time.Millisecond, func(w writer, topic string, l *lane) {
		first, bodies := l.attempt(1)
		l.end(first, 1, w.publish(5*time.Second, topic, bodies[0]), false)
	}},
	{"impatient", 1, 40 * time.Millisecond, func(w writer, topic string, l *lane) {
		first, bodies := l.attempt(1)
		l.end(first, 1, w.publish(30*time.Millisecond, topic, bodies[0]), false)
	}},
	{"batch", 1, 200 * time.Millisecond, func(w writer, topic string, l *lane) {
		first, bodies := l.attempt(10)
		l.end(first, len(bodies), w.publish(5*time.Second, topic, bodies...), false)
	}},
	{"deferred", 1, 100 * time.Millisecond, func(w writer, topic string, l *lane) {
		first, bodies := l.attempt(1)
		l.end(first, 1, w.publishDeferred(5*time.Second, topic, 100*time.Millisecond, bodies[0]), false)
	}},
	{"async", 1, 300 * time.Millisecond, func(w writer, topic string, l *lane) {
		first, bodies := l.attempt(20)
		w.publishAsync(topic, bodies, func(i int, err error) { l.end(first+i, 1, err, false) })
	}},
	{"async batch", 1, 300 * time.Millisecond, func(w writer, topic string, l *lane) {
		first, bodies := l.attempt(15)
		w.publishManyAsync(topic, bodies, func(err error) { l.end(first, len(bodies), err, false) })
	}},
	{"too large", 1, 400 * time.Millisecond, tooLarge},
}

// tooLarge publishes messages that must be refused beside some that must not. Those
// that are too large are no bodies of the ledger's: were one to come, nobody would
// have published it.
func tooLarge(w writer, topic string, l *lane) {
	first, bodies := l.attempt(9)
	large := func(i int) bool { return i%4 == 3 }
	for i := range bodies {
		if large(i) {
			bodies[i] = append(bodies[i], strings.Repeat("X", largest)...)
		}
	}
	w.publishAsync(topic, bodies, func(i int, err error) { l.end(first+i, 1, err, large(i)) })
}

// havoc kills daemons, each by itself, and starts them again until the time is
// over; then all run. It returns how many kills there were.
func (c *chaos) havoc(length time.Duration) (kills int) {
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, n := range c.nodes() {
		random := rand.New(rand.NewPCG(c.seed, uint64(c.round*10+i)))
		between := func(least, most time.Duration) time.Duration {
			return least + time.Duration(random.Int64N(int64(most-least)))
		}
		wg.Go(func() {
			for {
				if pause(ctx, between(200*time.Millisecond, 4*time.Second)); ctx.Err() != nil {
					return
				}
				n.kill()
				pause(ctx, between(0, 1500*time.Millisecond))
				if err := n.start(); err != nil {
					c.Error(err)
					return
				}
				mu.Lock()
				kills++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	awaitAll(c.T, c.nodes()...)
	return kills
}

// drain waits until every channel has finished what was accepted, and the daemons
// have nothing left that could come, for as long as there is less and less. What is
// missing after that, the audit tells.
func (c *chaos) drain(b *books, topic string) {
	c.Helper()
	deadline := time.Now().Add(patience)
	for before := -1; ; time.Sleep(50 * time.Millisecond) { // by the real clock: other processes are asked
		left := c.left(b, topic)
		if left == 0 {
			return
		}
		if left != before {
			before, deadline = left, time.Now().Add(patience)
		}
		if time.Now().After(deadline) {
			c.Errorf("%d messages are left, and nothing was read for %v", left, patience)
			return
		}
	}
}

// left is how many messages, over all channels, have yet to be read. A daemon that
// does not say counts for one.
func (c *chaos) left(b *books, topic string) (messages int) {
	for _, a := range b.channels {
		messages += a.missing()
	}
	for _, q := range c.qds {
		n, ok := q.left(topic)
		if !ok {
			n = 1
		}
		messages += n
	}
	return messages
}
