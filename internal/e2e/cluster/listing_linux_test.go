package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

type lookupAnswer struct {
	Channels  []string   `json:"channels"`
	Producers []producer `json:"producers"`
}

// producer is a daemon as a lookupd shows it.
type producer struct {
	Address        string   `json:"broadcast_address"`
	State          string   `json:"state"`
	Paused         bool     `json:"paused"`
	PausedChannels []string `json:"paused_channels"`
}

// count returns how often a daemon is in a list.
func (a lookupAnswer) count(q *node) (n int) {
	for _, p := range a.Producers {
		if p.Address == q.host.Address() {
			n++
		}
	}
	return n
}

// listings are the promises about what a lookupd says of each daemon: that it is
// in a list, and hardly ever twice, as it would be with a connection that is dead
// beside the one that took its place.
func (c *cluster) listings(l *node, kind, verb string) (checks []check[lookupAnswer]) {
	for _, q := range c.daemons {
		since := func() time.Time { return c.world.since(q.name(), l.name(), pair(q.name(), l.name())) }
		of := l.name() + " " + verb + " " + q.name()
		checks = append(checks,
			check[lookupAnswer]{
				&promise{kind: kind, of: of, within: listedWithin, since: since},
				func(a lookupAnswer, _, _ time.Time) bool { return a.count(q) == 1 },
			},
			check[lookupAnswer]{
				&promise{kind: kind, of: of + " once at most", within: onceWithin, since: since},
				func(a lookupAnswer, _, _ time.Time) bool { return a.count(q) <= 1 },
			})
	}
	return checks
}

// facts is what is said of topics: a line for each topic, each of its channels,
// and each daemon that has it, in order.
type facts []string

func (f *facts) say(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// in returns the facts in order, each once.
func (f facts) in() string {
	slices.Sort(f)
	return strings.Join(slices.Compact(f), "\n")
}

// accounts are the facts as the daemons themselves have them, and as each lookupd
// says they are.
type accounts struct {
	daemons string
	lookups map[string]string
}

// agreement is the promise that lookupds say of topics what is true, and so the
// same.
func (c *cluster) agreement() []check[accounts] {
	var names []string
	for _, l := range c.lookups {
		names = append(names, l.name())
		for _, q := range c.daemons {
			names = append(names, q.name(), pair(l.name(), q.name()))
		}
	}
	return []check[accounts]{{
		&promise{
			kind: "lookupds say what the daemons have", of: "they do", within: listedWithin,
			since: func() time.Time { return c.world.since(names...) },
		},
		func(a accounts, _, _ time.Time) bool {
			return len(a.lookups) > 0 && !slices.ContainsFunc(slices.Collect(maps.Values(a.lookups)), func(said string) bool { return said != a.daemons })
		},
	}}
}

// askAll asks all daemons, at the same time: topics come and go.
func (c *cluster) askAll(ctx context.Context) (accounts, error) {
	a := accounts{lookups: map[string]string{}}
	var mu sync.Mutex // guards what follows, and a
	var have facts
	var failed error
	var wg sync.WaitGroup
	for _, l := range c.lookups {
		wg.Go(func() {
			said, err := saidBy(ctx, l)
			mu.Lock()
			defer mu.Unlock()
			a.lookups[l.name()], failed = said.in(), errors.Join(failed, err)
		})
	}
	for _, q := range c.daemons {
		wg.Go(func() {
			had, err := c.hadBy(ctx, q)
			mu.Lock()
			defer mu.Unlock()
			have, failed = append(have, had...), errors.Join(failed, err)
		})
	}
	if wg.Wait(); failed != nil {
		return accounts{}, failed
	}
	a.daemons = have.in()
	return a, nil
}

// saidBy returns what a lookupd says of all topics.
func saidBy(ctx context.Context, l *node) (said facts, err error) {
	var all struct{ Topics []string }
	if err := l.ask(ctx, http.MethodGet, "/topics", nil, &all); err != nil {
		return nil, err
	}
	for _, t := range all.Topics {
		answer, err := get[lookupAnswer](l, "/lookup?topic="+url.QueryEscape(t))(ctx)
		if err != nil {
			return nil, err
		}
		said.say("%s", t)
		for _, ch := range answer.Channels {
			said.say("%s/%s", t, ch)
		}
		for _, p := range answer.Producers {
			said.say("%s on %s%s", t, p.Address, isPaused(p.Paused))
			for _, ch := range p.PausedChannels {
				said.say("%s/%s on %s%s", t, ch, p.Address, isPaused(true))
			}
		}
	}
	return said, nil
}

// hadBy returns what a qd has that lookupds are to say.
func (c *cluster) hadBy(ctx context.Context, q *node) (had facts, err error) {
	var answer struct {
		Topics []struct {
			Name     string `json:"topic_name"`
			Paused   bool
			Channels []struct {
				Name   string `json:"channel_name"`
				Paused bool
			}
		}
	}
	if err := q.ask(ctx, http.MethodGet, "/stats?format=json&include_clients=false", nil, &answer); err != nil {
		return nil, err
	}
	at := q.host.Address()
	for _, t := range answer.Topics {
		had.say("%s", t.Name)
		buried := c.isBuried(t.Name, q)
		if !buried {
			had.say("%s on %s%s", t.Name, at, isPaused(t.Paused))
		}
		for _, ch := range t.Channels {
			had.say("%s/%s", t.Name, ch.Name)
			if ch.Paused && !buried {
				had.say("%s/%s on %s%s", t.Name, ch.Name, at, isPaused(true))
			}
		}
	}
	return had, nil
}

// burial is a topic on a daemon that has a tombstone.
type burial struct {
	topic string
	q     *node
}

func (c *cluster) isBuried(topic string, q *node) bool {
	_, is := c.buried.Load(burial{topic, q})
	return is
}

func isPaused(is bool) string {
	if is {
		return ", paused"
	}
	return ""
}
