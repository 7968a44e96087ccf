package cluster

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/e2e/cluster/network"
	"github.com/millrace-mq/millrace/internal/e2e/ledger"
)

// Topics. That of orders is there from the beginning; newcomers is made while
// something is broken, and lonely while there is no lookupd.
const (
	orders    = "orders"
	newcomers = "newcomers"
	lonely    = "lonely"
)

// channelNames are the channels that topics have. The first is strict.
var channelNames = []string{"ship", "bill"}

// How clients are set: impatient, so that a round is short.
const (
	heartbeat      = time.Second // two of silence are death
	dialTimeout    = 2 * time.Second
	lookupInterval = time.Second
)

const (
	beat  = 10 * time.Millisecond // between the publishes of a writer
	batch = 5                     // messages of each, of those who publish batches
)

// writer publishes to a topic, a batch a beat, until ctx ends.
type writer struct {
	lane  *lane
	batch int
	*millrace.Writer
}

// newWriter returns a writer that publishes to those of the daemons that are there.
func (c *cluster) newWriter(topic string, batch int, daemons ...*node) *writer {
	var addresses []string
	for _, q := range daemons {
		addresses = append(addresses, tcp(q))
	}
	w, err := millrace.NewWriter(millrace.WriterConfig{
		Addresses: addresses,
		Connection: millrace.Connection{
			Dial: c.hosts[writers].DialContext, DialTimeout: dialTimeout, WriteTimeout: dialTimeout, HeartbeatInterval: heartbeat,
		},
	})
	c.must(err)
	return &writer{c.books.addLane(topic), batch, w}
}

// publish publishes a batch, and takes down what became of it.
func (w *writer) publish(ctx context.Context) error {
	first := w.lane.attempt(w.batch)
	bodies := make([][]byte, w.batch)
	for i := range bodies {
		bodies[i] = ledger.AppendBody(nil, ledger.Key{Lane: first.Lane, Seq: first.Seq + i}, time.Time{})
	}
	var err error
	if w.batch == 1 {
		err = w.Publish(ctx, w.lane.topic, bodies[0])
	} else {
		err = w.PublishMany(ctx, w.lane.topic, bodies)
	}
	switch _, unknown := errors.AsType[*millrace.UncertainError](err); {
	case err == nil:
		w.lane.end(first, w.batch, acknowledged)
	case !unknown:
		w.lane.end(first, w.batch, refused)
	}
	return err
}

func (w *writer) run(ctx context.Context) {
	defer w.Close()
	for next := time.Now(); ctx.Err() == nil; {
		if w.publish(ctx) != nil {
			pause(ctx, 5*beat)
		}
		// A writer that was held up does not make up for it.
		next = latest(next.Add(beat), time.Now())
		pause(ctx, time.Until(next))
	}
}

// reader consumes a channel on a host.
type reader struct {
	*millrace.Reader
	host    *network.Host
	channel *channel
	gate    sync.RWMutex // while it is locked nothing is handled
}

// newReader returns a reader that asks both lookupds for daemons.
func (c *cluster) newReader(host string, channel *channel, concurrency int) *reader {
	r := &reader{host: c.hosts[host], channel: channel}
	var lookups []string
	for _, l := range c.lookups {
		lookups = append(lookups, l.web)
	}
	var err error
	r.Reader, err = millrace.NewReader(millrace.ReaderConfig{
		Topic: channel.topic, Channel: channel.name, Lookupds: lookups, LookupInterval: lookupInterval,
		MaxInFlight: 300, Concurrency: concurrency, RequeueDelay: 50 * time.Millisecond,
		Handler: millrace.HandlerFunc(r.handle),
		Connection: millrace.Connection{
			Dial: r.dial, DialTimeout: dialTimeout, WriteTimeout: dialTimeout, HeartbeatInterval: heartbeat,
		},
	})
	c.must(err)
	return r
}

func (r *reader) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := r.host.DialContext(ctx, network, address)
	if err == nil {
		r.channel.connected(address)
	}
	return conn, err
}

var errAgain = errors.New("once more")

// handle finishes a message, but for some of a channel that is not strict, which
// are to come again.
func (r *reader) handle(_ context.Context, m *millrace.Message) error {
	k, ok := r.channel.receive(m.Address, m.Attempts, m.Body)
	r.gate.RLock()
	defer r.gate.RUnlock()
	switch {
	case !ok:
	case !r.channel.strict && m.Attempts == 1 && k.Seq%97 == 0:
		return errAgain
	default:
		r.channel.finish(k)
	}
	return nil
}

// consume begins to read a topic. Its strict channel has one reader, the other
// two, on different hosts.
func (c *cluster) consume(topic string) {
	strict := c.books.addChannel(topic, channelNames[0], true)
	shared := c.books.addChannel(topic, channelNames[1], false)
	c.readers = append(c.readers, c.newReader(reader1, strict, 1), c.newReader(reader1, shared, 2), c.newReader(reader2, shared, 2))
}

// produce begins to publish: one writer for each daemon, which waits for it when
// it is away, and two who publish to all of them.
func (c *cluster) produce() (stop func()) {
	var run []func(context.Context)
	for _, q := range c.daemons {
		run = append(run, c.newWriter(orders, batch, q).run)
	}
	run = append(run, c.newWriter(orders, 1, c.daemons...).run, c.newWriter(orders, 2*batch, c.daemons...).run)
	return c.together(run)
}

// read sets readers going.
func (c *cluster) read(readers []*reader) (stop func()) {
	var run []func(context.Context)
	for _, r := range readers {
		run = append(run, func(ctx context.Context) {
			if err := r.Run(ctx); err != nil {
				c.t.Error(err)
			}
		})
	}
	return c.together(run)
}

// together runs all of run until stop is called, which waits for them, or the
// test ends.
func (c *cluster) together(run []func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, f := range run {
		wg.Go(func() { f(ctx) })
	}
	stop = func() { cancel(); wg.Wait() }
	c.t.Cleanup(stop)
	return stop
}
