package peers

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/qd/broker"
)

// This file is about topics that were created while not every lookupd could say
// which channels other daemons have. Each lookupd is asked when it can be.

const (
	// atOnce is how many such topics a lookupd is asked about at a time, and
	// inARow after how many of them it is seen what there is to ask.
	atOnce = 4
	inARow = 256
)

// reckon brings up to date who has to be asked about which topics: all lookupds
// that there are when a topic is first seen, until they have answered or are
// removed.
func (p *Peers) reckon(topics []*broker.Topic) {
	for _, t := range p.note(topics) {
		t.Learned()
	}
}

// note is reckon's part under the lock. It returns the topics of which everything
// is known.
func (p *Peers) note(topics []*broker.Topic) (settled []*broker.Topic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	addresses := p.distinct()
	unsettled := make(map[*broker.Topic][]string, len(topics))
	for _, t := range topics {
		owed, known := p.owed[t]
		if !known {
			owed = slices.Clone(addresses)
		}
		owed = slices.DeleteFunc(owed, func(a string) bool { return !slices.Contains(addresses, a) })
		if len(owed) > 0 {
			unsettled[t] = owed
		} else {
			settled = append(settled, t)
		}
	}
	p.owed = unsettled
	if len(unsettled) > 0 {
		for _, l := range p.links {
			signal(l.owes)
		}
	}
	return settled
}

// owedTo returns topics that the lookupd has to be asked about, some of them if
// they are very many.
func (l *link) owedTo() (topics []*broker.Topic) {
	l.Peers.mu.Lock()
	defer l.Peers.mu.Unlock()
	for t, owed := range l.owed {
		if slices.Contains(owed, l.address) {
			if topics = append(topics, t); len(topics) == inARow {
				break
			}
		}
	}
	return topics
}

// settle notes that the lookupd has answered.
func (l *link) settle(t *broker.Topic) {
	l.Peers.mu.Lock()
	owed, known := l.owed[t]
	owed = slices.DeleteFunc(owed, func(a string) bool { return a == l.address })
	if last := known && len(owed) == 0; !last {
		if known {
			l.owed[t] = owed
		}
		l.Peers.mu.Unlock()
		return
	}
	delete(l.owed, t)
	l.Peers.mu.Unlock()
	t.Learned()
}

// catchUp asks the lookupd, while it is linked, about the topics that it has not
// said anything about yet.
func (l *link) catchUp(ctx context.Context) {
	pause, asked, created := minPause, 0, 0
	for ctx.Err() == nil {
		topics := l.owedTo()
		if len(topics) == 0 {
			if asked > 0 {
				l.Log.Info("lookupd has said which channels new topics have", "lookupd", l.address, "topics", asked, "created", created)
				asked, created = 0, 0
			}
			select {
			case <-ctx.Done():
			case <-l.owes:
			}
			continue
		}
		learned, err := l.askAll(ctx, topics)
		asked, created = asked+len(topics), created+learned
		if err == nil {
			pause = minPause
			continue
		}
		if ctx.Err() != nil {
			return
		}
		asked, created = 0, 0
		l.tardy(err)
		l.Log.Debug("lookupd still does not say which channels new topics have", "lookupd", l.address, "error", err)
		wait(ctx, pause/2+rand.N(pause/2))
		pause = min(2*pause, maxPause)
	}
}

// askAll asks about topics, and creates the channels that they lack. It ends at
// the first failure to answer.
func (l *link) askAll(ctx context.Context, topics []*broker.Topic) (created int, failed error) {
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
				mu.Lock()
				created += n
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return created, context.Cause(ctx)
}

// askLate asks about one topic. It fails if the lookupd does not answer.
func (l *link) askLate(ctx context.Context, t *broker.Topic) (created int, err error) {
	if l.faceless() {
		l.settle(t)
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
		l.Log.Error("cannot create channels that other daemons have", "topic", t.Name(), "channels", names, "error", err)
	}
	l.settle(t)
	return len(learned), nil
}

// faceless reports that the lookupd is linked and has nowhere to be asked at.
func (l *link) faceless() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status.Linked && l.face == ""
}
