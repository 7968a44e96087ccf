// Package limits is what a daemon lets one client, one address and one topic have of
// what is there for all, as its TCP and HTTP faces ask before they do something. What
// decides is internal/limit; here are the clock, the locks and the words.
//
// A client is, for what it publishes and creates, whoever it has proved to be, on however
// many connections; and who has proved nothing is his address.
package limits

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/limit"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
)

// Settings are how much there may be of everything; 0 is any number.
type Settings struct {
	// Connections of TCP clients, in all and from one address; and as many over HTTP and
	// HTTPS, which are counted apart, so that a daemon full of the one can be looked at
	// and told what to do by the other.
	Connections, ConnectionsPerAddress int
	// Topic is how fast may be published to each topic, and Client how fast each client
	// may publish, to all topics together.
	Topic, Client limit.Rates
	// Topics and Channels are how many there may be that one client has created since the
	// daemon has started.
	Topics, Channels int
}

// publishing reports whether publishes are limited.
func (s *Settings) publishing() bool { return s.Topic.Limited() || s.Client.Limited() }

const (
	// patience is how long a publish is held back before it is carried out. Who would have
	// to wait for longer is told so: he can send it elsewhere, or slow down, and neither
	// knows which when he only hears nothing.
	patience = 100 * time.Millisecond
	// mostAccounts is how many topics, and how many clients, are told apart that have
	// published within the last second, or owe something.
	mostAccounts = 100_000
)

// Limits are a daemon's. They are safe for concurrent use.
type Limits struct {
	TCP, HTTP *limit.Connections

	settings atomic.Pointer[Settings]
	broker   *broker.Broker
	log      *httpapi.Sparing
	began    time.Time

	topics   *limit.Quota[topic]
	channels *limit.Quota[channel]

	mu        sync.Mutex // guards what follows
	byTopic   *limit.Table
	byClient  *limit.Table
	refusals  map[string]uint64 // by what was too much
	publishes uint64            // that were held back
}

// New returns the limits of a daemon with the topics of b.
func New(s Settings, b *broker.Broker, log *slog.Logger) *Limits {
	l := &Limits{
		TCP: limit.NewConnections(s.Connections, s.ConnectionsPerAddress), HTTP: limit.NewConnections(s.Connections, s.ConnectionsPerAddress),
		broker: b, log: httpapi.NewSparing(log), began: time.Now(), refusals: make(map[string]uint64),
	}
	for _, kind := range kinds {
		l.refusals[kind] = 0
	}
	l.topics, l.channels = limit.NewQuota(l.topicExists), limit.NewQuota(l.channelExists)
	l.Set(s)
	return l
}

// Set changes the limits. Connections that there are stay, and nobody owes anything for what
// was published before.
func (l *Limits) Set(s Settings) {
	l.TCP.Set(s.Connections, s.ConnectionsPerAddress)
	l.HTTP.Set(s.Connections, s.ConnectionsPerAddress)
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.settings.Load(); old == nil || old.Topic != s.Topic || old.Client != s.Client {
		l.byTopic, l.byClient = limit.NewTable(mostAccounts), limit.NewTable(mostAccounts)
	}
	l.settings.Store(&s)
}

// Settings returns what was set.
func (l *Limits) Settings() Settings { return *l.settings.Load() }

// Client is what somebody is called by: the name that he has proved to have or, if he has
// none, where he comes from. Nobody can have a name that is another's address.
func Client(name string, from limit.Remote) string {
	if name != "" {
		return strconv.Quote(name)
	}
	return from.String()
}

// Publishing reports whether publishes are to be Admitted. It costs next to nothing.
func (l *Limits) Publishing() bool { return l.settings.Load().publishing() }

// LoadOf is what a publish of bodies takes.
func LoadOf(bodies [][]byte) limit.Load {
	load := limit.Load{Messages: int64(len(bodies))}
	for _, b := range bodies {
		load.Bytes += int64(len(b))
	}
	return load
}

// RateError refuses a publish that would be more than a topic takes, or a client may
// publish. Nothing was stored.
type RateError struct {
	kind  string
	name  string
	rate  limit.Rate
	Again time.Duration // from then on it may be taken
}

// Error ends as protocol.Error.RetryAfter reads it.
func (e *RateError) Error() string {
	who, unit := "topic %s takes", "messages"
	if e.kind == clientBytes || e.kind == clientMessages {
		who = "client %s may publish"
	}
	if e.kind == topicBytes || e.kind == clientBytes {
		unit = "bytes"
	}
	return fmt.Sprintf("%s: "+who+" %d %s a second; again in %v", protocol.RateLimited, e.name, e.rate, unit, e.Again)
}

// Admit takes what a publish takes. If it is too early for that by little, it waits, or
// until ctx ends; else it takes nothing and returns a *RateError.
func (l *Limits) Admit(ctx context.Context, topic, client string, load limit.Load) error {
	if l.broker.Refusal() != nil {
		return nil // which says more, and at once
	}
	wait, err := l.take(topic, client, load)
	if err != nil {
		l.log.Warn("publishes are refused: too many", "topic", topic, "client", client, "error", err)
		return err
	}
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return nil
}

func (l *Limits) take(topic, client string, load limit.Load) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.settings.Load()
	now := int64(time.Since(l.began) + limit.Burst)
	var of, by *limit.Debts
	var refused RateError
	look := func(d *limit.Debts, name string, r limit.Rates, bytes, messages string) {
		wait, forBytes := d.Wait(now)
		switch {
		case wait <= refused.Again:
		case forBytes:
			refused = RateError{bytes, name, r.Bytes, wait}
		default:
			refused = RateError{messages, name, r.Messages, wait}
		}
	}
	if s.Topic.Limited() {
		of = l.byTopic.Of(now, topic)
		look(of, topic, s.Topic, topicBytes, topicMessages)
	}
	if s.Client.Limited() {
		by = l.byClient.Of(now, client)
		look(by, client, s.Client, clientBytes, clientMessages)
	}
	if refused.Again > patience {
		refused.Again = (refused.Again + time.Millisecond - 1).Truncate(time.Millisecond)
		l.refusals[refused.kind]++
		return 0, &refused
	}
	if of != nil {
		of.Take(now, s.Topic, load)
	}
	if by != nil {
		by.Take(now, s.Client, load)
	}
	if refused.Again > 0 {
		l.publishes++
	}
	return refused.Again, nil
}
