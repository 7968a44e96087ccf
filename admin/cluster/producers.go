package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// Producer is a queue daemon as a lookupd lists it.
type Producer struct {
	Address          string `json:"-"` // host:port of its HTTP API
	RemoteAddress    string `json:"remote_address"`
	Hostname         string `json:"hostname"`
	BroadcastAddress string `json:"broadcast_address"`
	TCPPort          int    `json:"tcp_port"`
	HTTPPort         int    `json:"http_port"`
	Version          string `json:"version"`
	Zone             string `json:"topology_zone"`
	Region           string `json:"topology_region"`
	State            string `json:"state"` // draining, failing; empty on nsqlookupd

	Topics     []string `json:"topics"`     // if they were asked for; by nsqlookupd, in any case
	Tombstones []bool   `json:"tombstones"` // in parallel: which are hidden there
}

// Hidden are the topics that a tombstone hides on the daemon.
func (p *Producer) Hidden() (topics []string) {
	for i, t := range p.Topics {
		if i < len(p.Tombstones) && p.Tombstones[i] {
			topics = append(topics, t)
		}
	}
	return topics
}

// maxProducers is how many daemons a lookupd may list.
const maxProducers = 10_000

// Producers asks a lookupd which daemons it lists, by address, each once; with their
// topics and tombstones, which of many daemons take megabytes, or as far as it does not
// know how to leave them out. Those whose address is none are left out: note says how many.
func (c *Cluster) Producers(ctx context.Context, lookupd string, topics bool) (all []Producer, note string, err error) {
	q := url.Values{}
	if !topics {
		q.Set("topics", "false")
	}
	return c.list(ctx, lookupd, "/nodes", q)
}

// Holders asks a lookupd which daemons have a topic, but for those where a tombstone hides
// it; the rest is as with Producers. A *Refusal with the code TOPIC_NOT_FOUND is in the
// error if the lookupd does not know the topic.
func (c *Cluster) Holders(ctx context.Context, lookupd, topic string) (all []Producer, note string, err error) {
	return c.list(ctx, lookupd, "/lookup", url.Values{"topic": {topic}})
}

// list asks a lookupd for a list of daemons.
func (c *Cluster) list(ctx context.Context, lookupd, path string, q url.Values) (all []Producer, note string, err error) {
	var answer struct {
		Producers []Producer `json:"producers"`
	}
	if err := c.Get(ctx, lookupd, path, q, &answer); err != nil {
		return nil, "", err
	}
	if answer.Producers == nil {
		return nil, "", &askError{request{http.MethodGet, lookupd, path, nil, nil}, errors.New("the answer is not what NSQ's lookup daemons answer: it has no list of producers")}
	}
	if len(answer.Producers) > maxProducers {
		note = fmt.Sprintf("of %d daemons that it lists, the first %d are used", len(answer.Producers), maxProducers)
		answer.Producers = answer.Producers[:maxProducers]
	}
	all = answer.Producers[:0]
	for _, p := range answer.Producers {
		address, wrong := join(p.BroadcastAddress, p.HTTPPort)
		if wrong != nil {
			note = fmt.Sprintf("it lists a daemon whose address cannot be used: %v", wrong)
			continue
		}
		p.Address = address
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b Producer) int { return cmp.Compare(a.Address, b.Address) })
	return slices.CompactFunc(all, func(a, b Producer) bool { return a.Address == b.Address }), note, nil
}
