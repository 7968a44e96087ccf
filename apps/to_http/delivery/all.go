package delivery

import (
	"container/list"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/to_http/endpoint"
	"github.com/millrace-mq/millrace/apps/to_http/pool"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/protocol"
)

var errAllAsk = errors.New("all endpoints have asked to be left alone for a while")

// toAll brings messages to all endpoints that do not have them yet, and notes verdicts
// in all. A message is taken when every endpoint has taken it.
func (b *batch) toAll(which []int, all []Verdict) (trouble error) {
	states := make([]*state, len(which))
	for n, k := range which {
		states[n] = b.progress.take(b.key(b.messages[k]), len(b.Endpoints))
	}
	down := make([]bool, len(b.Endpoints))
	var wg sync.WaitGroup
	for i := range b.Endpoints {
		wg.Go(func() { down[i] = b.toThis(i, which, states) })
	}
	wg.Wait()
	for n, k := range which {
		all[k] = states[n].verdict()
		if all[k].Outcome == endpoint.Refused {
			states[n].askAgain()
		}
		if all[k].Outcome != endpoint.Taken {
			b.progress.keep(b.key(b.messages[k]), states[n])
		}
	}
	if slices.Contains(down, true) {
		return ErrDown
	}
	return nil
}

// toThis brings messages to one endpoint, unless it has them, and notes what it said. It
// reports whether the endpoint is down.
func (b *batch) toThis(i int, which []int, states []*state) (down bool) {
	var missing, at []int
	for n, k := range which {
		if states[n].by[i].Outcome == endpoint.Failed {
			missing, at = append(missing, k), append(at, n)
		}
	}
	if len(missing) == 0 {
		return false
	}
	b.mu.Lock()
	asked := b.pool.Asked(i, time.Now())
	b.mu.Unlock()
	if asked > 0 {
		err := errors.New(b.Endpoints[i].Name() + ": has asked to be left alone for a while")
		for _, n := range at {
			states[n].by[i] = Verdict{Err: err, RetryAfter: asked}
		}
		return true
	}
	for n, r := range b.send(i, missing) {
		states[at[n]].by[i] = r
		if r.Outcome == endpoint.Failed {
			down = true
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return down && b.pool.Bad(i, time.Now())
}

// Forget is told of a message that will not come again although it was not taken. Who has it
// is then of no interest any more.
func (d *Delivery) Forget(topic string, m *millrace.Message) {
	if d.Mode == pool.All {
		d.progress.take(key{topic, m.Address, m.ID}, 0)
	}
}

func (b *batch) key(m *millrace.Message) key { return key{b.from.Topic, m.Address, m.ID} }

// key is a message.
type key struct {
	topic, address string
	id             protocol.MessageID
}

// state is what each endpoint has said of a message.
type state struct {
	by []Verdict // Failed if it has not been asked

	// Owned by progress.
	place *list.Element
}

// verdict is what becomes of the message. It comes again while an endpoint is to be asked
// again; one that has refused it is not.
func (s *state) verdict() (v Verdict) {
	v.Outcome = endpoint.Taken
	for _, r := range s.by {
		switch {
		case r.Outcome == endpoint.Failed && v.Outcome != endpoint.Failed:
			v = r
		case r.Outcome == endpoint.Failed:
			v.RetryAfter = max(v.RetryAfter, r.RetryAfter)
		case r.Outcome == endpoint.Refused && v.Outcome == endpoint.Taken:
			v = r
		}
	}
	return v
}

// askAgain has those that have refused the message asked again, should it come again.
func (s *state) askAgain() {
	for i, r := range s.by {
		if r.Outcome == endpoint.Refused {
			s.by[i] = Verdict{}
		}
	}
}

// maxRemembered bounds the messages that some endpoints have taken and others not.
// One that is forgotten is sent to all of them again.
const maxRemembered = 100_000

// progress remembers who has what, for as long as the program runs. The zero progress
// remembers nothing.
type progress struct {
	mu     sync.Mutex // guards below
	states map[key]*state
	oldest list.List // of keys
}

// take returns, and forgets, what is known of a message.
func (p *progress) take(k key, endpoints int) *state {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.states[k]
	if !ok {
		return &state{by: make([]Verdict, endpoints)}
	}
	p.forget(s)
	return s
}

// keep remembers a message that is to come again.
func (p *progress) keep(k key, s *state) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.states == nil {
		p.states = make(map[key]*state)
	}
	if old, ok := p.states[k]; ok {
		p.forget(old) // it was delivered twice at once, after its time was out
	}
	s.place = p.oldest.PushBack(k)
	p.states[k] = s
	if len(p.states) > maxRemembered {
		p.forget(p.states[p.oldest.Front().Value.(key)])
	}
}

func (p *progress) forget(s *state) {
	delete(p.states, p.oldest.Remove(s.place).(key))
}
