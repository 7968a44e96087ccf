package millrace

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Writer publishes messages. Its methods may be called from any goroutine, and
// bodies may be reused when they return: they are copied.
//
// Messages that are published singly share commands with others of their topic,
// are spread over several daemons, and are tried again until they are stored or
// their context ends; see WriterConfig. Messages of one goroutine to one topic
// keep their order as long as there is one daemon and nothing fails.
//
// A publish ends with nil, which says that a daemon has the messages (or the
// spool, if there is one), or with a *RefusedError, an *UnavailableError or an
// *UncertainError, or with ErrClosed, which says as the first two do that nothing
// was stored.
type Writer struct {
	config  WriterConfig
	dialer  dialer
	lookups *lookups // discover's

	// They are the Writer's own because what has a channel of a synctest bubble
	// cannot leave it.
	waiters, batches sync.Pool

	life context.Context // ends when Close has given up waiting for answers
	end  context.CancelFunc
	wg   sync.WaitGroup // everything but tell and keepSpool, which end after it

	gone     chan struct{} // closed when Close is through
	closeErr error         // set before that

	clock      *time.Timer   // rings at alarm
	wake       chan struct{} // holds a token when the clock is to be read before
	outcomes   chan struct{} // holds a token when there is something to tell
	toSpool    chan struct{} // holds a token when the spool has work
	tellers    sync.WaitGroup
	spoolsAway sync.WaitGroup

	mu      sync.Mutex // guards below; never held across I/O, a send that waits, or a callback
	started bool
	closed  bool // nothing more is accepted
	ending  bool // nothing is tried any more
	alarm   time.Time
	room    room
	stats   WriterStats
	after   afterwards

	// Batches that still gather, oldest first, and by topic; and those that are
	// closed and wait for a connection, in order.
	open    batchList
	byTopic map[string]*pubBatch
	ready   batchList
	seq     uint64

	generations []*generation // oldest first; the last one grows
	told        []outcome     // decided, and not yet told
	noMore      bool          // nothing will be added to told

	pool  pool
	spool spooling
}

// WriterStats is what a Writer has done so far, and has to do. The counters are
// of messages that were accepted, unless they say otherwise.
type WriterStats struct {
	Connections   int // daemons that it is connected to
	InFlight      int // messages accepted and not answered
	InFlightBytes int // of their bodies
	Spooled       int // records in the spool, each of one message or a batch

	Published   uint64 // stored by a daemon, or put into the spool
	Refused     uint64
	Unavailable uint64
	Uncertain   uint64
	Retried     uint64 // each time that one was to be sent again
	Batches     uint64 // commands that daemons answered OK
}

// failed is how many messages had an error for their outcome.
func (s *WriterStats) failed() uint64 { return s.Refused + s.Unavailable + s.Uncertain }

// NewWriter returns a Writer, which connects when something is published, or at
// once if there is something in its spool. It must be closed. NewWriter fails
// only if the configuration cannot be right.
func NewWriter(config WriterConfig) (*Writer, error) {
	err := config.complete()
	lookups, errLookups := newLookups(config.Lookupds, &config.Connection, whoTakes)
	if err := errors.Join(err, errLookups); err != nil {
		return nil, fmt.Errorf("writer configuration: %w", err)
	}
	w := &Writer{
		config: config, dialer: config.dialer(), lookups: lookups, byTopic: map[string]*pubBatch{},
		room:        room{most: load{config.MaxInFlight, config.MaxInFlightBytes}},
		generations: []*generation{{reached: make(chan struct{})}},
		gone:        make(chan struct{}),
		wake:        make(chan struct{}, 1), outcomes: make(chan struct{}, 1), toSpool: make(chan struct{}, 1),
	}
	w.waiters.New = func() any { return &waiter{outcome: make(chan error, 1)} }
	w.batches.New = func() any { return new(pubBatch) }
	w.life, w.end = context.WithCancel(context.Background())
	w.pool.know(config.Addresses)
	if config.Spool != nil {
		w.spool.records = config.Spool.Len()
		w.spool.active = w.spool.records > 0
	}
	w.mu.Lock()
	defer w.unlock()
	if w.spool.active {
		w.startLocked()
	}
	return w, nil
}

// Publish publishes one message and waits until it is stored. It returns when
// ctx ends, whatever the message's state; one that was not sent by then is not
// sent any more.
func (w *Writer) Publish(ctx context.Context, topic string, body []byte) error {
	wait := w.waiters.Get().(*waiter)
	err := w.publish(topic, body, entry{ctx: ctx, wait: wait})
	return w.await(ctx, wait, err)
}

// PublishAsync is Publish without the waiting: it returns once the message is
// accepted, for which it waits while there is no room in MaxInFlight and
// MaxInFlightBytes, until ctx ends at the latest. If it returns an error, the
// message was not accepted, and done is not called.
//
// done, unless it is nil, is called once with the outcome. All are called by one
// goroutine of the Writer's, in the order in which outcomes come. One that
// blocks delays other callbacks, and PublishAsync and its like when there is no
// room any more, and nothing else. It may publish, but asynchronously only with a context
// that ends or from another goroutine: there may be no room until it returns.
// It must not call Close or Flush, which wait for it. A panic in it is logged as an
// error, and the next one is called.
//
// The end of ctx ends the waiting for a daemon, and the trying again. A message that
// is on its way to a daemon then has its answer waited for.
func (w *Writer) PublishAsync(ctx context.Context, topic string, body []byte, done func(error)) error {
	return w.publish(topic, body, entry{ctx: ctx, done: done})
}

// PublishMany is Publish for a batch, which is stored as a whole or not at all,
// or its error is an *UncertainError. (An nsqd may store the first messages of a
// batch and fail at the next; this is uncertain, too.)
func (w *Writer) PublishMany(ctx context.Context, topic string, bodies [][]byte) error {
	wait := w.waiters.Get().(*waiter)
	err := w.publishMany(topic, bodies, entry{ctx: ctx, wait: wait})
	return w.await(ctx, wait, err)
}

// PublishManyAsync is to PublishMany as PublishAsync is to Publish.
func (w *Writer) PublishManyAsync(ctx context.Context, topic string, bodies [][]byte, done func(error)) error {
	return w.publishMany(topic, bodies, entry{ctx: ctx, done: done})
}

// PublishDeferred is Publish for a message that is to be delivered delay after
// it is accepted, in whole milliseconds, rounded up. Daemons refuse delays over
// their limit, an hour by default.
func (w *Writer) PublishDeferred(ctx context.Context, topic string, delay time.Duration, body []byte) error {
	wait := w.waiters.Get().(*waiter)
	err := w.publishDeferred(topic, delay, body, entry{ctx: ctx, wait: wait})
	return w.await(ctx, wait, err)
}

// PublishDeferredAsync is to PublishDeferred as PublishAsync is to Publish.
func (w *Writer) PublishDeferredAsync(ctx context.Context, topic string, delay time.Duration, body []byte, done func(error)) error {
	return w.publishDeferred(topic, delay, body, entry{ctx: ctx, done: done})
}

// Stats returns what was done so far.
func (w *Writer) Stats() WriterStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Connections = len(w.pool.lanes)
	s.InFlight, s.InFlightBytes = w.room.inFlight.messages, w.room.inFlight.bytes
	s.Spooled = w.spool.records
	return s
}

// Flush waits until every publish accepted before it has its outcome and its
// done has returned. Batches that still gather are sent. What went to the spool
// has its outcome; Flush does not wait until a daemon has it.
func (w *Writer) Flush(ctx context.Context) error {
	w.mu.Lock()
	w.closeAllLocked()
	w.pumpLocked()
	g := w.generations[len(w.generations)-1]
	if g.left > 0 || len(w.generations) > 1 {
		w.generations = append(w.generations, &generation{reached: make(chan struct{})})
	} else {
		g = nil
	}
	w.unlock()
	if g == nil {
		return nil
	}
	select {
	case <-g.reached:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flushing: waiting for the outcome of publishes: %w", ctx.Err())
	}
}

// Close accepts nothing more, waits, CloseTimeout at most, until everything
// accepted before has its outcome, and closes the connections and the spool.
// What has none then goes to the spool, if it was not sent, or gets its error
// told: nothing is forgotten. What is in the spool stays there for the next
// Writer, but for what is on its way to a daemon and answered in time. Close returns when no goroutine of the Writer's is left, and so waits
// for a done that has not returned. Later calls return what the first one did;
// publishes return ErrClosed. Close's error says that something was not stored
// because its time was up, or that the spool could not be closed.
func (w *Writer) Close() error {
	w.mu.Lock()
	first := !w.closed
	w.closed = true
	w.room.refuse(ErrClosed)
	w.replayNoMoreLocked()
	w.unlock()
	if first {
		w.closeErr = w.shut()
		close(w.gone)
	}
	<-w.gone
	return w.closeErr
}

func (w *Writer) shut() error {
	ctx, cancel := context.WithTimeout(w.life, w.config.CloseTimeout)
	defer cancel()
	late := w.Flush(ctx)
	w.awaitReplay(ctx)
	w.mu.Lock()
	before := w.stats.failed()
	w.ending = true
	w.abandonLocked()
	w.unlock()
	w.end()
	w.wg.Wait()
	var closeErr error
	if w.config.Spool != nil {
		w.spoolNoMore()
		w.spoolsAway.Wait()
		if closeErr = w.config.Spool.Close(); closeErr != nil {
			closeErr = fmt.Errorf("closing the spool: %w", closeErr)
		}
	}
	w.mu.Lock()
	w.noMore = true
	failed := w.stats.failed() - before
	w.unlock()
	token(w.outcomes)
	w.tellers.Wait()
	if late == nil || failed == 0 { // all went to the spool, or a done took its time
		return closeErr
	}
	return errors.Join(fmt.Errorf("%d messages are not stored, or may not be: %w", failed, late), closeErr)
}

// startLocked sets the Writer's goroutines going, once.
func (w *Writer) startLocked() {
	if w.started {
		return
	}
	w.started = true
	w.clock = time.NewTimer(time.Hour)
	w.tellers.Go(w.tell)
	if w.config.Spool != nil {
		w.spoolsAway.Go(w.keepSpool)
	}
	w.wg.Go(w.watchClock)
	w.wg.Go(w.discover)
	w.fillLocked(time.Now())
}

// check returns why a publish is refused before anything is sent.
func check(topic string, bodies ...[]byte) error {
	var err error
	switch {
	case !protocol.ValidName(topic):
		err = fmt.Errorf("%q is not a valid topic name", topic)
	case len(bodies) == 0:
		err = errors.New("no message is given")
	}
	size := int64(4)
	for i, b := range bodies {
		size += 4 + int64(len(b))
		if len(b) == 0 && err == nil { // the daemon would close the connection over it
			err = fmt.Errorf("message %d is empty", i)
		}
	}
	if size > math.MaxInt32 && err == nil { // what exceeds the size's field would be read as commands
		err = fmt.Errorf("%d bytes are more than a command can have, %d", size, math.MaxInt32)
	}
	if err != nil {
		return &RefusedError{Topic: topic, Err: err}
	}
	return nil
}

// token leaves a token in a channel that has room for one, if there is none.
func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
