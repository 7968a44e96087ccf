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
// which channels other daemons have. Each lookupd is asked when it can be.

const (
	// atOnce is how many such topics a lookupd is asked about at a time, and
	// inARow after how many of them it is seen what there is to ask.
	atOnce = 4
	inARow = 256
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
		signal(l.owes)
	}
}

// owed returns topics that the lookupd has to be asked about, some of them if they
// are very many.
func (l *link) owed() (topics []*broker.Topic) {
	for _, t := range l.learning() {
		if slices.Contains(t.Unheard(), l.address) {
			if topics = append(topics, t); len(topics) == inARow {
				break
			}
		}
	}
	return topics
}

// catchUp asks the lookupd, while it is linked, about the topics that it has not
// said anything about yet.
func (l *link) catchUp(ctx context.Context) {
	pause, asked, created, unable := minPause, 0, 0, false
	for ctx.Err() == nil {
		topics := l.owed()
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
			pause, unable = minPause, false
			continue
		}
		if ctx.Err() != nil {
			return
		}
		asked, created = 0, 0
		if errors.Is(err, errUnable) {
			if !unable {
				l.Log.Error("trying again", "lookupd", l.address, "error", err)
			}
			unable = true
		} else {
			l.tardy(err)
			l.Log.Debug("lookupd still does not say which channels new topics have", "lookupd", l.address, "error", err)
		}
		wait(ctx, pause/2+rand.N(pause/2))
		pause = min(2*pause, maxPause)
	}
}

// askAll asks about topics, and creates the channels that they lack. It ends at
// the first failure.
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

// errUnable is a failure that is our own: the disk's.
var errUnable = errors.New("cannot create channels that other daemons have")

// askLate asks about one topic. It fails if the lookupd does not answer, or with
// errUnable.
func (l *link) askLate(ctx context.Context, t *broker.Topic) (created int, err error) {
	if l.faceless() {
		t.Heard(l.address)
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
	t.Heard(l.address)
	return len(learned), nil
}

// faceless reports that the lookupd is linked and has nowhere to be asked at.
func (l *link) faceless() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status.Linked && l.face == ""
}
