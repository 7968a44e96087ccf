package main

import (
	"log/slog"
	"sync"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/protocol"
)

// places are where the channels of one topic's daemons begin: where the user said, and
// when a connection was lost, with which an ephemeral channel goes, behind what was shown.
type places struct {
	topic string
	first string    // where the user said; "" is now
	began time.Time // when the program did
	log   *slog.Logger

	mu sync.Mutex // guards below; never held across a call
	of map[string]*reached
}

// reached is how far a daemon's messages were shown.
type reached struct {
	asked   bool
	cannot  bool // it keeps nothing that could be shown again
	last    time.Time
	atLast  map[protocol.MessageID]bool // those of that time, which may be several
	resumed bool                        // messages of that time may come again
}

func newPlaces(topic, first string, began time.Time, log *slog.Logger) *places {
	return &places{topic: topic, first: first, began: began, log: log, of: make(map[string]*reached)}
}

// next is millrace.ReaderConfig.StartAt.
func (p *places) next(address string, refused error) string {
	place, cannot := p.place(address, refused)
	if cannot {
		p.log.Warn("earlier messages are not shown: the daemon cannot begin there; it keeps them if the topic has a log (durability disk or fsync) and a retention_age",
			"topic", p.topic, "node", address, "error", refused)
	}
	return place
}

func (p *places) place(address string, refused error) (place string, cannot bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.daemon(address)
	if refused != nil && !r.cannot {
		r.cannot, cannot = true, true
	}
	first := !r.asked
	r.asked = true
	switch {
	case r.cannot:
		return "", cannot
	case !r.last.IsZero():
		r.resumed = true
		return r.last.Format(time.RFC3339Nano), false
	case first || p.first != "":
		return p.first, false
	}
	return p.began.Format(time.RFC3339Nano), false
}

func (p *places) daemon(address string) *reached {
	r := p.of[address]
	if r == nil {
		r = new(reached)
		p.of[address] = r
	}
	return r
}

// again reports whether m was shown before a connection was lost.
func (p *places) again(m *millrace.Message) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.daemon(m.Address)
	return r.resumed && m.Timestamp.Equal(r.last) && r.atLast[m.ID]
}

// note tells that batch was shown.
func (p *places) note(batch []*millrace.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range batch {
		r := p.daemon(m.Address)
		switch {
		case m.Timestamp.Before(r.last): // one that was deferred
			continue
		case m.Timestamp.After(r.last):
			r.last, r.resumed = m.Timestamp, false
			r.atLast = make(map[protocol.MessageID]bool, 1)
		}
		r.atLast[m.ID] = true
	}
}
