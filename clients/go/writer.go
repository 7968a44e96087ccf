package millrace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// closeTimeout is how long Close waits for answers to what was accepted.
const closeTimeout = 10 * time.Second

// Writer publishes messages. Its methods may be called from any goroutine;
// publishes of all of them share one connection, on which their order is kept.
//
// Bodies are copied before a method returns, and may be reused then. A message
// must hold at least one byte. The daemon's limits (1 MiB a message, 5 MiB a
// batch unless it was told otherwise) are not known here: it refuses what
// exceeds them.
type Writer struct {
	config WriterConfig
	dialer dialer
	slots  chan struct{} // a token for every asynchronous publish that is out

	// outcomes holds the channels that synchronous publishes wait on. One goes
	// back only after its outcome was received. (It is the Writer's own because
	// the channels of a synctest bubble cannot leave it.)
	outcomes sync.Pool

	life context.Context // ends when Close has flushed
	end  context.CancelFunc
	wg   sync.WaitGroup // dial attempts and connections

	mu      sync.Mutex // guards below; never held across I/O or a callback
	closed  bool
	current *writerConn
	live    map[*writerConn]struct{} // current, and those not yet done failing
	dialing *dialing
	next    int             // index of the address to try first
	drains  map[string]bool // addresses that were draining the last time: tried after all others
}

// dialing is one search for a daemon that answers, shared by all who need one.
type dialing struct {
	done chan struct{} // closed when conn and err are set
	conn *writerConn
	err  error
}

// NewWriter returns a Writer, which connects when something is published. It
// fails only if the configuration cannot be right.
func NewWriter(config WriterConfig) (*Writer, error) {
	if err := config.complete(); err != nil {
		return nil, fmt.Errorf("writer configuration: %w", err)
	}
	w := &Writer{
		config: config, dialer: config.dialer(),
		slots: make(chan struct{}, config.MaxInFlight), live: map[*writerConn]struct{}{}, drains: map[string]bool{},
	}
	w.outcomes.New = func() any { return make(chan error, 1) }
	w.life, w.end = context.WithCancel(context.Background())
	return w, nil
}

// Publish publishes one message and waits until the daemon has it. What was
// certainly not stored, because the connection broke or the daemon could not
// store it, is tried again, as often as there are addresses and on the next one
// each time, before the error is returned. A daemon that drains is left, and
// not come back to while another answers.
// When ctx ends early, a message already on its way is uncertain.
func (w *Writer) Publish(ctx context.Context, topic string, body []byte) error {
	if err := check(topic, body); err != nil {
		return err
	}
	return w.publish(ctx, func(b []byte) []byte { return protocol.AppendPub(b, topic, body) })
}

// PublishDeferred is Publish for a message that is to be delivered delay after
// it reaches the daemon, in whole milliseconds, rounded up. The daemon refuses
// delays over its limit, an hour by default.
func (w *Writer) PublishDeferred(ctx context.Context, topic string, delay time.Duration, body []byte) error {
	if err := check(topic, body); err != nil {
		return err
	}
	if delay < 0 {
		return fmt.Errorf("publishing to %s: delay %v is negative", topic, delay)
	}
	return w.publish(ctx, func(b []byte) []byte { return protocol.AppendDPub(b, topic, delay, body) })
}

// PublishMany is Publish for a batch, which is stored as a whole or not at all.
func (w *Writer) PublishMany(ctx context.Context, topic string, bodies [][]byte) error {
	if err := check(topic, bodies...); err != nil {
		return err
	}
	return w.publish(ctx, func(b []byte) []byte { return protocol.AppendMPub(b, topic, bodies) })
}

// PublishAsync publishes a batch without waiting for the daemon's answer: it
// returns once the batch is on its way, after waiting, if need be, for a
// connection and until fewer than MaxInFlight are unanswered. If it returns an
// error the batch was not sent and done is not called.
//
// done is called once with the outcome, in the order in which one connection's
// publishes were accepted. It runs on the connection's own goroutine and so must
// neither wait nor call a method of the Writer. Nothing is retried.
func (w *Writer) PublishAsync(ctx context.Context, topic string, bodies [][]byte, done func(error)) error {
	if err := check(topic, bodies...); err != nil {
		return err
	}
	select {
	case w.slots <- struct{}{}:
	case <-w.life.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	encode := func(b []byte) []byte { return protocol.AppendMPub(b, topic, bodies) }
	if len(bodies) == 1 {
		encode = func(b []byte) []byte { return protocol.AppendPub(b, topic, bodies[0]) }
	}
	_, err := w.send(ctx, encode, call{done: done, slot: w.slots})
	if err != nil {
		<-w.slots
	}
	return err
}

// Flush waits until every publish accepted before it was answered and its done
// has returned.
func (w *Writer) Flush(ctx context.Context) error {
	w.mu.Lock()
	var marks []*mark
	for c := range w.live {
		marks = append(marks, c.mark())
	}
	w.mu.Unlock()
	for _, m := range marks {
		select {
		case <-m.reached:
		case <-m.conn.ended:
		case <-ctx.Done():
			return fmt.Errorf("waiting for answers from %s: %w", m.conn.address, ctx.Err())
		}
	}
	return nil
}

// Close waits, ten seconds at most, for answers to what was accepted, and closes
// the connection. What is unanswered then fails as uncertain. Close returns when
// no goroutine of the Writer's is left; later calls of any method but Flush
// return ErrClosed.
func (w *Writer) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	w.closed = true
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(w.life, closeTimeout)
	defer cancel()
	err := w.Flush(ctx)
	w.end()
	w.wg.Wait()
	return err
}

func check(topic string, bodies ...[]byte) error {
	if !protocol.ValidName(topic) {
		return fmt.Errorf("publishing: %q is not a valid topic name", topic)
	}
	if len(bodies) == 0 {
		return fmt.Errorf("publishing to %s: no message given", topic)
	}
	for i, b := range bodies {
		if len(b) == 0 {
			// The daemon would close the connection over it.
			return fmt.Errorf("publishing to %s: message %d is empty", topic, i)
		}
	}
	return nil
}

func (w *Writer) publish(ctx context.Context, encode func([]byte) []byte) error {
	for further := len(w.config.Addresses); ; further-- {
		outcome := w.outcomes.Get().(chan error)
		c, err := w.send(ctx, encode, call{outcome: outcome})
		if err != nil {
			return err
		}
		select {
		case err = <-outcome:
			w.outcomes.Put(outcome)
		case <-ctx.Done():
			return &UncertainError{c.address, ctx.Err()}
		}
		if further == 0 || !certainlyNotStored(err) {
			return err
		}
	}
}

// certainlyNotStored reports whether another daemon may be asked instead.
// E_MPUB_FAILED is not among the reasons, unless the daemon drains: nsqd may have
// queued some of the batch.
func certainlyNotStored(err error) bool {
	if _, ok := errors.AsType[*notStoredError](err); ok {
		return true
	}
	e, ok := errors.AsType[*protocol.Error](err)
	return ok && (e.Code == protocol.EPubFailed || e.Code == protocol.EDPubFailed || e.Draining())
}

// send has a command written on the current connection, or on a new one. The
// call is told its outcome later, unless send returns an error.
func (w *Writer) send(ctx context.Context, encode func([]byte) []byte, call call) (*writerConn, error) {
	for {
		c, err := w.connection(ctx)
		if err != nil {
			return nil, err
		}
		if ok, err := c.publish(ctx, encode, call); ok || err != nil {
			return c, err
		}
		w.leave(c, nil)
	}
}

// connection returns the current connection. If there is none it waits for a
// search, which it begins unless one is under way.
func (w *Writer) connection(ctx context.Context) (*writerConn, error) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil, ErrClosed
	}
	if c := w.current; c != nil {
		w.mu.Unlock()
		return c, nil
	}
	d := w.dialing
	if d == nil {
		d = &dialing{done: make(chan struct{})}
		w.dialing = d
		w.wg.Go(func() { w.search(d) })
	}
	w.mu.Unlock()
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// search tries each address once and, when one answers, serves the connection
// until it fails.
func (w *Writer) search(d *dialing) {
	var errs []error
	for _, at := range w.order() {
		c, err := w.dialer.connect(w.life, w.config.Addresses[at])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		w.serve(d, c, at)
		return
	}
	d.err = errors.Join(errs...)
	if w.life.Err() != nil {
		d.err = ErrClosed
	}
	w.mu.Lock()
	w.dialing = nil
	w.mu.Unlock()
	close(d.done)
}

// order returns the indexes of the addresses as they are to be tried: from next
// on, and those of daemons that were draining last. They may have been started
// again since.
func (w *Writer) order() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	var first, last []int
	for i := range w.config.Addresses {
		at := (w.next + i) % len(w.config.Addresses)
		if w.drains[w.config.Addresses[at]] {
			last = append(last, at)
		} else {
			first = append(first, at)
		}
	}
	return append(first, last...)
}

func (w *Writer) serve(d *dialing, nc *conn, at int) {
	nc.drains = true
	c := &writerConn{conn: nc, ended: make(chan struct{})}
	d.conn = c
	w.mu.Lock()
	w.dialing, w.current, w.next = nil, c, at
	delete(w.drains, c.address) // if it still does, it will say so
	w.live[c] = struct{}{}
	w.mu.Unlock()
	close(d.done)
	stop := context.AfterFunc(w.life, func() { c.fail(ErrClosed) })
	defer stop()
	w.config.Log.Debug("connected", "qd", c.address)
	err := c.run(func(why error) { w.leave(c, why) })
	w.mu.Lock()
	delete(w.live, c)
	w.mu.Unlock()
	if w.life.Err() == nil {
		w.config.Log.Warn("connection lost", "qd", c.address, "error", err)
	}
}

// leave has later publishes use another connection, and another address first.
// why is the reason, as far as it is known.
func (w *Writer) leave(c *writerConn, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e, ok := errors.AsType[*protocol.Error](why); ok && e.Draining() {
		w.drains[c.address] = true
	}
	if w.current == c {
		w.current = nil
		w.next = (w.next + 1) % len(w.config.Addresses)
	}
}
