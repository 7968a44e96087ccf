package cluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// What GUARANTEES.md states.
const (
	listedWithin    = 25 * time.Second
	connectedWithin = 30 * time.Second
	offeredWithin   = 5 * time.Second // after a drain's beginning a daemon is offered to publishers no longer than that
)

// onceWithin is how long a daemon may be in a list twice: an old connection that
// is dead may still have something to say.
const onceWithin = 2 * time.Second

// flowsWithin is how long it takes, after that, for a message that is published
// to a daemon to be in the hands of a reader.
const flowsWithin = connectedWithin + 10*time.Second

// pollEvery is how often each daemon is asked.
const pollEvery = 200 * time.Millisecond

// check is a promise, and how to tell from a daemon's answer whether it holds.
type check[T any] struct {
	*promise
	held func(answer T, asked, since time.Time) bool
}

// watch checks the promises until the test ends, or stopWatching is called.
func (c *cluster) watch() {
	polls := []func(context.Context){poll(c, c.askAll, c.agreement())}
	for _, l := range c.lookups {
		polls = append(polls,
			poll(c, get[lookupAnswer](l, "/lookup?topic="+orders), c.listings(l, "a lookupd lists a daemon", "lists")),
			poll(c, get[lookupAnswer](l, "/producers/available"), c.listings(l, "a lookupd offers a daemon to publishers", "offers")))
	}
	for _, q := range c.daemons {
		polls = append(polls, poll(c, get[statsAnswer](q, "/stats?format=json&topic="+orders), c.connections(q)))
	}
	c.stopWatching = c.together(polls)
}

// get returns what asks a daemon.
func get[T any](n *node, path string) func(context.Context) (T, error) {
	return func(ctx context.Context) (answer T, err error) {
		return answer, n.ask(ctx, http.MethodGet, path, nil, &answer)
	}
}

// poll returns what asks again and again, and judges promises by the answer. One
// that does not come is an empty one.
func poll[T any](c *cluster, ask func(context.Context) (T, error), checks []check[T]) func(context.Context) {
	for _, ch := range checks {
		c.promises = append(c.promises, ch.promise)
	}
	return func(ctx context.Context) {
		for pause(ctx, pollEvery) {
			asked := time.Now()
			before := make([]time.Time, len(checks))
			for i, ch := range checks {
				before[i] = ch.since()
			}
			answer, err := ask(ctx)
			if ctx.Err() != nil {
				return
			}
			now := time.Now()
			for i, ch := range checks {
				broken, lapsed := ch.judge(asked, before[i], now, ch.held(answer, asked, before[i]))
				if broken > 0 {
					c.t.Errorf("%s: %s not for %v, more than %v: %v, %.2000s", ch.kind, ch.of, broken.Round(time.Millisecond), ch.within, err, fmt.Sprintf("%+v", answer))
				}
				if lapsed {
					c.t.Logf("%s: %s no longer, %v after the last fault: %v, %.2000s", ch.kind, ch.of, asked.Sub(before[i]).Round(time.Millisecond), err, fmt.Sprintf("%+v", answer))
				}
			}
		}
	}
}

type statsAnswer struct {
	Topics []struct {
		Channels []struct {
			Name    string `json:"channel_name"`
			Clients []struct {
				RemoteAddress string `json:"remote_address"`
			} `json:"clients"`
		} `json:"channels"`
	} `json:"topics"`
}

// has reports whether a client on the host consumes the channel.
func (s statsAnswer) has(channel, host string) bool {
	for _, t := range s.Topics {
		for _, ch := range t.Channels {
			for _, client := range ch.Clients {
				address, _, err := net.SplitHostPort(strings.TrimPrefix(client.RemoteAddress, "tcp://"))
				if err == nil && address == host && ch.Name == channel {
					return true
				}
			}
		}
	}
	return false
}

// connections are the promises that each reader is connected to a daemon, and
// that what is published there arrives.
func (c *cluster) connections(q *node) (checks []check[statsAnswer]) {
	for _, r := range c.readers {
		if r.channel.topic != orders {
			continue
		}
		of := r.channel.name + " on " + r.host.Name() + " from " + q.name()
		checks = append(checks, check[statsAnswer]{
			&promise{kind: "a reader is connected with a daemon", of: of, within: connectedWithin, since: func() time.Time { return c.canFind(r, q) }},
			func(answer statsAnswer, _, _ time.Time) bool { return answer.has(r.channel.name, r.host.Address()) },
		})
		if !r.channel.strict {
			continue
		}
		flows := func() time.Time {
			written := c.world.since(q.name(), pair(q.name(), writers))
			if found := c.canFind(r, q); !found.IsZero() && !written.IsZero() {
				return latest(found, written)
			}
			return time.Time{}
		}
		checks = append(checks, check[statsAnswer]{
			&promise{kind: "messages arrive", of: of, within: flowsWithin, since: flows},
			func(_ statsAnswer, asked, since time.Time) bool {
				last := r.channel.arrived(tcp(q)).last
				return last.After(since) && asked.Sub(last) < 5*time.Second
			},
		})
	}
	return checks
}

// canFind returns since when a reader can find and reach a daemon: nothing is
// between the two, and there is a lookupd with nothing between it and either.
func (c *cluster) canFind(r *reader, q *node) time.Time {
	direct := c.world.since(q.name(), pair(q.name(), r.host.Name()))
	if direct.IsZero() {
		return direct
	}
	var listed time.Time
	for _, l := range c.lookups {
		at := c.world.since(l.name(), pair(l.name(), q.name()), pair(l.name(), r.host.Name()))
		if !at.IsZero() && (listed.IsZero() || at.Before(listed)) {
			listed = at
		}
	}
	if listed.IsZero() {
		return listed
	}
	return latest(direct, listed)
}
