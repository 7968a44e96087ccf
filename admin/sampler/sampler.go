// Package sampler watches all daemons for everybody who looks: one goroutine decides when
// each is asked for its figures, and makes a snapshot of the answers, with rates, history
// and troubles. However many people look, a daemon is asked once a period.
package sampler

import (
	"cmp"
	"context"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/trouble"
)

// Settings say how often daemons are asked. What is zero takes its default.
type Settings struct {
	// Period is the time from the begin of one poll of all daemons to the next; 2 s. It is
	// longer while a poll costs more than a tenth of it.
	Period time.Duration
	// Forget is for how long a daemon that no lookupd lists any more is still shown; 10 min.
	Forget time.Duration
	// Topic and Channel, where they are not empty, are all that daemons are asked for: who
	// watches one channel need not have the figures of a hundred thousand.
	Topic, Channel string
}

// Sampler is what New returns. Its methods may be called by any number of goroutines.
type Sampler struct {
	settings Settings // immutable
	cluster  *cluster.Cluster
	store    *history.Store
	finder   *trouble.Finder // belongs to Run
	log      *slog.Logger
	figures  url.Values // of /stats; immutable
	names    *names
	turns    turns
	shelf    *shelf

	poked  chan struct{} // of one: somebody wants a poll soon
	latest atomic.Pointer[fleet.Snapshot]

	mu      sync.Mutex    // guards changed
	changed chan struct{} // closed when latest is replaced, and replaced itself
}

// New returns a Sampler that does nothing until Run.
func New(s Settings, c *cluster.Cluster, h *history.Store, f *trouble.Finder, log *slog.Logger) *Sampler {
	s.Period = cmp.Or(s.Period, 2*time.Second)
	s.Forget = cmp.Or(s.Forget, 10*time.Minute)
	sampler := &Sampler{
		settings: s, cluster: c, store: h, finder: f, log: log, names: newNames(), turns: newTurns(),
		poked: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	sampler.figures = figuresOf(s.Topic, s.Channel)
	sampler.shelf = newShelf(s.Period)
	sampler.latest.Store(&fleet.Snapshot{})
	return sampler
}

// Run watches until ctx ends, and returns nil when nothing that it started is left. It may
// be called once.
func (s *Sampler) Run(ctx context.Context) error {
	defer s.shelf.close()
	r := newRound(s)
	r.run(ctx)
	return nil
}

// Latest is the newest snapshot: never nil, and never changed. Its At is zero before the
// first poll.
func (s *Sampler) Latest() *fleet.Snapshot { return s.latest.Load() }

// Changed returns a channel that is closed when there is a newer snapshot than Latest had
// at the call. Who waits for one calls Changed before Latest, or may miss it.
func (s *Sampler) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Poke has the next poll begin soon: somebody has changed something and wants to see it.
func (s *Sampler) Poke() {
	select {
	case s.poked <- struct{}{}:
	default: // one poke is as good as two
	}
}

// publish makes snap the latest.
func (s *Sampler) publish(snap *fleet.Snapshot) {
	s.latest.Store(snap)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}
