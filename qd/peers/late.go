package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/qd/broker"
)

// This file is about topics that were created while not every lookupd could say
// which channels other daemons have. Each lookupd is asked when it can be. Who has
// to be is kept by the topics (broker.Topic.Unheard).

const (
	// atOnce is how many such topics a lookupd is asked about at a time.
	atOnce = 4

	// settling is how long after it was linked a lookupd may not know everything: it
	// may have been started just now, and all daemons come back to it one by one. Ours
	// do within maxPause, nsqd does with its next PING.
	settling = maxPause + 5*time.Second
)

// learning are the topics about whose channels not every lookupd has been heard.
func (p *Peers) learning() []*broker.Topic {
	p.mu.Lock()
	b := p.broker
	p.mu.Unlock()
	if b == nil {
		return nil
	}
	return b.Learning()
}

// reckon has nobody wait for lookupds that were removed, and the others asked.
func (p *Peers) reckon() {
	topics := p.learning()
	if len(topics) == 0 {
		return
	}
	addresses := p.Addresses()
	for _, t := range topics {
		for _, u := range t.Unheard() {
			if !slices.Contains(addresses, u) {
				t.Heard(u)
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		signal(l.asks)
	}
}

// owed returns the topics that the lookupd has to be asked about.
func (l *link) owed() []*broker.Topic {
	return slices.DeleteFunc(l.learning(), func(t *broker.Topic) bool { return !l.owes(t) })
}

// owes reports whether the lookupd has to be asked about the topic.
func (l *link) owes(t *broker.Topic) bool { return slices.Contains(t.Unheard(), l.address) }

// catchUp asks the lookupd, which has just been linked, about the topics that it
// has not said anything about yet: at once, and when it has settled.
func (l *link) catchUp(ctx context.Context) {
	settled := time.NewTimer(settling)
	defer settled.Stop()
	asked, final := false, false
	pause, unable, created := minPause, false, 0
	for {
		topics := l.owed()
		if len(topics) == 0 || asked && !final {
			select {
			case <-ctx.Done():
				return
			case <-settled.C:
				final = true
			case <-l.asks:
			}
			continue
		}
		some, err := l.askAll(ctx, topics, final)
		created += some
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if final {
				l.Log.Info("lookupd has said which channels new topics have", "lookupd", l.address, "topics", len(topics), "channels", created)
				created = 0
			}
			asked, pause, unable = true, minPause, false
			continue
		case errors.Is(err, errUnable):
			if !unable {
				l.Log.Error("trying again", "lookupd", l.address, "error", err)
			}
			unable = true
		default:
			l.tardy(err)
			l.Log.Debug("lookupd still does not say which channels new topics have", "lookupd", l.address, "error", err)
		}
		// #nosec G404 -- when to try again, or whom: not a secret
		wait(ctx, pause/2+rand.N(pause/2))
		pause = min(2*pause, maxPause)
	}
}

// askAll asks about topics, and creates the channels that they lack. It ends at
// the first failure. final says that the answers are.
func (l *link) askAll(ctx context.Context, topics []*broker.Topic, final bool) (created int, failed error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var mu sync.Mutex // guards topics and created
	next := func() (t *broker.Topic) {
		mu.Lock()
		defer mu.Unlock()
		if len(topics) > 0 && ctx.Err() == nil {
			t, topics = topics[0], topics[1:]
		}
		return t
	}
	var wg sync.WaitGroup
	for range min(atOnce, len(topics)) {
		wg.Go(func() {
			for t := next(); t != nil; t = next() {
				n, err := l.askLate(ctx, t)
				if err != nil {
					stop(err)
					return
				}
				if final {
					t.Heard(l.address)
				}
				mu.Lock()
				created += n
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return created, context.Cause(ctx)
}

// errUnable is a failure that is our own: the disk's.
var errUnable = errors.New("cannot create channels that other daemons have")

// askLate asks about one topic. It fails if the lookupd does not answer, or with
// errUnable.
func (l *link) askLate(ctx context.Context, t *broker.Topic) (created int, err error) {
	if !l.owes(t) || l.faceless() { // it was deleted, the lookupd was removed, or cannot be asked
		return 0, nil
	}
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, l.RequestTimeout)
	defer cancel()
	names, err := l.ask(within, t.Name())
	if err != nil {
		return 0, err
	}
	if time.Since(began) <= patience {
		l.timely()
	}
	learned, err := t.Learn(names)
	if err != nil && !errors.Is(err, broker.ErrGone) {
		return 0, fmt.Errorf("%w: %w", errUnable, err)
	}
	return len(learned), nil
}

// faceless reports that the lookupd is linked and has nowhere to be asked at.
func (l *link) faceless() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status.Linked && l.face == ""
}
