// Package delivery brings messages to HTTP endpoints: to one of several, or to all. It
// does not answer messages; it says how they are to be answered.
package delivery

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/to_http/endpoint"
	"github.com/millrace-mq/millrace/apps/to_http/pool"
	millrace "github.com/millrace-mq/millrace/clients/go"
)

// Endpoint is where requests are sent to; *endpoint.Endpoint is one.
type Endpoint interface {
	Name() string
	Send(ctx context.Context, header http.Header, body []byte) endpoint.Result
}

// Config says how messages are brought to endpoints.
type Config struct {
	Endpoints []Endpoint // at least one
	Mode      pool.Mode
	Format    Format
	Headers   bool           // tell each message's ID, topic, channel, attempts and time in headers
	Random    func() float64 // from 0 to 1, for pool.EpsilonGreedy; called by one goroutine at a time

	// OnRequest, if set, is told of each request, by the goroutine that made it.
	OnRequest func(endpoint string, took time.Duration, r endpoint.Result)

	Log *slog.Logger
}

// Delivery brings messages to endpoints. Any goroutine may use it.
type Delivery struct {
	Config
	progress progress

	mu   sync.Mutex // guards below; never held across a request
	pool *pool.Pool
}

// New returns a Delivery, which owns nothing that has to be closed.
func New(c Config) *Delivery {
	return &Delivery{Config: c, pool: pool.New(c.Mode, len(c.Endpoints), c.Random)}
}

// Source is where messages come from.
type Source struct {
	Topic, Channel string
	Stopping       <-chan struct{} // closed when no more requests are to be begun
}

func (s Source) stopping() bool {
	select {
	case <-s.Stopping:
		return true
	default:
		return false
	}
}

// ErrDown says that the endpoints which messages need fail, one request after the other.
var ErrDown = errors.New("endpoints that are needed take no messages at the moment")

// Verdict is what has become of a message: Taken is to be finished; Refused will not
// be taken by an endpoint, ever; Failed is to come again, RetryAfter from now at the
// earliest.
type Verdict = endpoint.Result

// Deliver brings messages to endpoints and returns a verdict for each, in their order. If
// trouble is not nil, what they need is down, and more messages would fare no better: the
// caller should wait before it takes any. A message that is refused is asked about again if
// it comes again; if it does not, Forget has to be called.
func (d *Delivery) Deliver(ctx context.Context, from Source, messages []*millrace.Message) (all []Verdict, trouble error) {
	all = make([]Verdict, len(messages))
	var whole []int
	for i, m := range messages {
		if err := d.Format.fits(m.Body); err != nil {
			all[i] = Verdict{Outcome: endpoint.Refused, Err: err}
			continue
		}
		whole = append(whole, i)
	}
	if len(whole) == 0 {
		return all, nil
	}
	b := batch{Delivery: d, ctx: ctx, from: from, messages: messages}
	if d.Mode == pool.All {
		trouble = b.toAll(whole, all)
	} else {
		trouble = b.toOne(whole, all)
	}
	return all, trouble
}

// batch is some messages on their way. They go by their place in messages.
type batch struct {
	*Delivery
	ctx      context.Context
	from     Source
	messages []*millrace.Message
}

// toOne brings messages to an endpoint each; what one has failed to take, the next is
// given. It notes verdicts in all.
func (b *batch) toOne(which []int, all []Verdict) (trouble error) {
	tried := make([]bool, len(b.Endpoints))
	for first := true; len(which) > 0 && (first || !b.from.stopping()); first = false {
		i, ok := b.next(tried)
		if !ok {
			break
		}
		tried[i] = true
		which = b.settle(which, b.send(i, which), all)
	}
	if len(which) == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	wait, down := b.pool.Wait(now), b.pool.AllBad(now)
	for _, k := range which {
		all[k].RetryAfter = wait
		if all[k].Err == nil {
			all[k].Err = errAllAsk
		}
	}
	if down {
		trouble = ErrDown
	}
	return trouble
}

// settle notes verdicts, and returns which messages have failed.
func (b *batch) settle(which []int, verdicts []Verdict, all []Verdict) (failed []int) {
	for n, k := range which {
		all[k] = verdicts[n]
		if verdicts[n].Outcome == endpoint.Failed {
			failed = append(failed, k)
		}
	}
	return failed
}

func (d *Delivery) next(tried []bool) (int, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pool.Next(time.Now(), func(i int) bool { return tried[i] })
}

// send sends messages to an endpoint, and returns a verdict for each. When several are
// refused because of what they are, each half is sent alone, so that one does not condemn
// the others.
func (b *batch) send(i int, which []int) []Verdict {
	r := b.request(i, which)
	if r.Outcome != endpoint.Refused || !r.About || len(which) == 1 {
		return slices.Repeat([]Verdict{r}, len(which))
	}
	if b.from.stopping() {
		return slices.Repeat([]Verdict{{Err: r.Err}}, len(which))
	}
	half := len(which) / 2
	verdicts := b.send(i, which[:half])
	last := verdicts[half-1]
	if last.Outcome != endpoint.Failed && !b.from.stopping() {
		return append(verdicts, b.send(i, which[half:])...)
	}
	if last.Outcome != endpoint.Failed { // it has an answer, the rest has none
		last = Verdict{Err: r.Err}
	}
	return append(verdicts, slices.Repeat([]Verdict{last}, len(which)-half)...)
}

// request makes one request.
func (b *batch) request(i int, which []int) Verdict {
	messages := make([]*millrace.Message, len(which))
	for n, k := range which {
		messages[n] = b.messages[k]
	}
	e, began := b.Endpoints[i], time.Now()
	r := e.Send(b.ctx, b.header(messages), b.Format.encode(b.from.Topic, messages))
	took := time.Since(began)
	b.note(i, began, took, r)
	if b.OnRequest != nil {
		b.OnRequest(e.Name(), took, r)
	}
	return r
}

// note has the pool learn from a request.
func (b *batch) note(i int, began time.Time, took time.Duration, r Verdict) {
	if b.ctx.Err() != nil && r.Outcome == endpoint.Failed {
		return // it is us who have given up
	}
	b.mu.Lock()
	var back bool
	var paused time.Duration
	if r.Outcome == endpoint.Failed {
		now := began.Add(took)
		paused = b.pool.Failed(i, began, now, r.RetryAfter)
		paused = max(paused, r.RetryAfter)
	} else {
		back = b.pool.Answered(i, took)
	}
	b.mu.Unlock()
	switch {
	case paused > 0:
		b.Log.Warn("an endpoint is left alone for a while", "endpoint", b.Endpoints[i].Name(), "retry_in", paused)
	case back:
		b.Log.Info("an endpoint answers again", "endpoint", b.Endpoints[i].Name())
	}
}

// header is what a request says of its messages.
func (b *batch) header(messages []*millrace.Message) http.Header {
	if !b.Headers {
		return nil
	}
	h := http.Header{}
	h.Set("X-Millrace-Topic", b.from.Topic)
	h.Set("X-Millrace-Channel", b.from.Channel)
	if b.Format != Raw {
		h.Set("X-Millrace-Messages", strconv.Itoa(len(messages)))
	}
	if len(messages) == 1 {
		m := messages[0]
		h.Set("X-Millrace-Message-Id", m.ID.String())
		h.Set("X-Millrace-Attempts", strconv.Itoa(int(m.Attempts)))
		h.Set("X-Millrace-Timestamp", strconv.FormatInt(m.Timestamp.UnixNano(), 10))
	}
	return h
}
