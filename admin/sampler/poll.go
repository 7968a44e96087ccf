package sampler

import (
	"bufio"
	"context"
	"io"
	"net/url"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/fleet"
)

// figuresOf is what of /stats is polled: nothing that grows with the number of clients.
func figuresOf(topic, channel string) url.Values {
	q := url.Values{"format": {"json"}, "include_clients": {"false"}, "include_mem": {"false"}}
	if topic != "" {
		q.Set("topic", topic)
	}
	if channel != "" {
		q.Set("channel", channel)
	}
	return q
}

// pollNode asks a daemon for its figures. introduce asks who it is, too, which lookupds
// tell of those that they list.
func (s *Sampler) pollNode(ctx context.Context, n *node, before *stats, introduce bool) *answer {
	a := &answer{node: n}
	var topics []fleet.NodeTopic
	if before != nil {
		topics = before.topics
	}
	a.err = s.cluster.Stream(ctx, n.address, "/stats", s.figures, func(body io.Reader) (err error) {
		a.at = time.Now() // it has read its counters a moment ago
		t := &turn{turns: s.turns}
		t.take()
		defer func() {
			t.give()
			a.cost = t.cost
		}()
		if a.stats, err = readStats(bufio.NewReaderSize(&yielding{body, t}, 64<<10), n.address, s.names, topics); err == nil {
			a.restarted = a.stats.meter(n.meter, a.at)
		}
		return err
	})
	if a.err != nil {
		return a
	}
	if introduce {
		a.who = s.introduce(ctx, n.address)
	}
	if a.stats.state == "draining" {
		a.drain = s.drain(ctx, n.address)
	}
	return a
}

// introduce asks a daemon who it is; nil if it does not say.
func (s *Sampler) introduce(ctx context.Context, address string) *cluster.Producer {
	who := new(cluster.Producer)
	if s.cluster.Get(ctx, address, "/info", nil, who) != nil {
		return nil
	}
	return who
}

// drain asks a daemon how far its drain is; nil if it does not say.
func (s *Sampler) drain(ctx context.Context, address string) *fleet.Drain {
	var p struct {
		Since, Deadline     int64
		Messages, Consumers int64
		InFlight            int64 `json:"in_flight"`
	}
	if s.cluster.Get(ctx, address, "/drain", nil, &p) != nil {
		return nil
	}
	return &fleet.Drain{
		Since: since1970(p.Since), Deadline: since1970(p.Deadline),
		Messages: p.Messages, InFlight: p.InFlight, Consumers: int(p.Consumers),
	}
}

// since1970 is a time of so many nanoseconds; zero if it is not told.
func since1970(ns int64) time.Time {
	if ns <= 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// pollLookupd asks a lookupd whom it lists; with tombstones, if they are wanted, which of
// many daemons are megabytes.
func (s *Sampler) pollLookupd(ctx context.Context, l *lookupd, version string, tombstones bool) *listing {
	a := &listing{lookupd: l, version: version}
	if a.list, a.note, a.err = s.cluster.Producers(ctx, l.address, tombstones); a.err != nil {
		return a
	}
	// nsqlookupd tells topics in any case.
	if tombstones || slices.ContainsFunc(a.list, func(p cluster.Producer) bool { return p.Topics != nil }) {
		a.hidden = make(map[string][]string)
	}
	for i := range a.list {
		p := &a.list[i]
		if hidden := p.Hidden(); len(hidden) > 0 {
			a.hidden[p.Address] = hidden
		}
		p.Topics, p.Tombstones = nil, nil
	}
	if version == "" {
		var info struct{ Version string }
		if s.cluster.Get(ctx, l.address, "/info", nil, &info) == nil {
			a.version = info.Version
		}
	}
	return a
}
