package sampler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/fleet"
)

// Clients returns the consumers of a channel; or with channel "" the producers of the
// topic; on the named node, or with node "" on all that have it. With a node alone they
// are all of its connections. What became of asking each node is told too: what one does
// not answer is missing in the clients. They are sorted by node and address.
//
// However many ask for the same, the nodes are asked once a Period at most.
func (s *Sampler) Clients(ctx context.Context, topic, channel, node string) ([]fleet.Client, []audit.Result) {
	key := clientsOf{topic, channel, node}
	b := s.shelf.take(key, func(ctx context.Context, before *book) ([]fleet.Client, []audit.Result) {
		return s.readClients(ctx, key, before)
	})
	select {
	case <-b.done:
		return slices.Clone(b.clients), slices.Clone(b.results)
	case <-ctx.Done():
		return nil, []audit.Result{{Node: node, Error: "given up: " + context.Cause(ctx).Error()}}
	}
}

// clientsOf names what is asked for.
type clientsOf struct{ topic, channel, node string }

// readClients asks the nodes that have what key names.
func (s *Sampler) readClients(ctx context.Context, key clientsOf, before *book) (all []fleet.Client, results []audit.Result) {
	var mu sync.Mutex // guards all; not held while somebody is asked
	addresses, snap := s.having(key), s.Latest()
	results = s.cluster.Each(ctx, addresses, func(ctx context.Context, address string) audit.Result {
		if n := snap.Node(address); !n.Up { // whoever looks would wait for it in vain
			return audit.Result{Node: address, Error: n.Error}
		}
		r := clientReader{node: address, key: key, limit: max(maxClients/len(addresses), 1000)}
		err := s.cluster.Stream(ctx, address, "/stats", key.query(), r.read)
		result := cluster.ResultOf(address, err)
		if err != nil {
			return result
		}
		if r.more {
			result.Note = fmt.Sprintf("it has more than %d clients; these are the first", r.limit)
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, r.clients...)
		return result
	}, nil)
	slices.SortFunc(all, func(a, b fleet.Client) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.RemoteAddress, b.RemoteAddress),
			strings.Compare(a.Topic, b.Topic), strings.Compare(a.Channel, b.Channel))
	})
	before.mend(all)
	return all, results
}

// query is what /stats is asked.
func (k clientsOf) query() url.Values {
	q := url.Values{"format": {"json"}, "include_mem": {"false"}}
	if k.topic != "" {
		q.Set("topic", k.topic)
	}
	if k.channel != "" {
		q.Set("channel", k.channel)
	}
	return q
}

// having are the addresses of the nodes to ask. One that is not known is asked by nobody:
// addresses come in URLs.
func (s *Sampler) having(k clientsOf) (addresses []string) {
	for _, n := range s.Latest().Nodes {
		if k.node != "" && k.node != n.Address {
			continue
		}
		if k.topic != "" && k.node == "" && n.Topic(k.topic) == nil {
			continue
		}
		addresses = append(addresses, n.Address)
	}
	return addresses
}

// maxClients is how many connections are looked at, of all nodes together; if there are
// many nodes, a thousand of each.
const maxClients = 20_000

// clientReader reads the connections in a node's answer.
type clientReader struct {
	*parser
	node  string
	key   clientsOf
	limit int

	topic, channel standing // at hand
	clients        []fleet.Client
	first          int // of the topic's clients, and of the channel's
	firstOfChannel int
	more           bool // than limit
}

// standing is what of a topic or channel says why its consumers get nothing.
type standing struct {
	name   string
	paused bool
	reason string
	depth  int64
}

// read reads a whole answer.
func (r *clientReader) read(from io.Reader) error {
	r.parser = newParser(from)
	err := r.object(func(name []byte) error {
		switch string(name) {
		case `"topics"`:
			return r.array(r.readTopic)
		case `"producers"`:
			if r.key.channel != "" {
				return r.SkipValue()
			}
			return r.array(r.readProducer)
		}
		return r.SkipValue()
	})
	if err != nil {
		return fmt.Errorf("the answer is not what NSQ's daemons answer: %w", err)
	}
	return nil
}

// readTopic reads a topic's consumers. What says why they idle may come behind them, so
// they are told when all of it is read.
func (r *clientReader) readTopic() error {
	r.topic, r.first = standing{}, len(r.clients)
	channels := make(map[string]standing)
	err := r.object(func(name []byte) error {
		if string(name) == `"channels"` {
			return r.array(func() error {
				err := r.readChannel()
				channels[r.channel.name] = r.channel
				return err
			})
		}
		return r.standing(&r.topic, `"topic_name"`, name)
	})
	for i := r.first; i < len(r.clients); i++ {
		c := &r.clients[i]
		c.Topic = r.topic.name
		c.Idle = idle(c, r.topic, channels[c.Channel])
	}
	return err
}

func (r *clientReader) readChannel() error {
	r.channel, r.firstOfChannel = standing{}, len(r.clients)
	err := r.object(func(name []byte) error {
		if string(name) == `"clients"` && (r.key.channel != "" || r.key.topic == "") {
			return r.array(func() error { return r.readClient(nil) })
		}
		return r.standing(&r.channel, `"channel_name"`, name)
	})
	for i := r.firstOfChannel; i < len(r.clients); i++ {
		r.clients[i].Channel = r.channel.name
	}
	return err
}

// standing reads a field of a topic or channel.
func (r *clientReader) standing(s *standing, named string, name []byte) error {
	switch string(name) {
	case named:
		return r.str(&s.name)
	case `"depth"`:
		return r.int(&s.depth)
	case `"paused"`:
		return r.bool(&s.paused)
	case `"pause"`:
		return r.object(func(name []byte) error {
			if string(name) == `"reason"` {
				return r.str(&s.reason)
			}
			return r.SkipValue()
		})
	}
	return r.SkipValue()
}

// readProducer reads a connection that has published; if it is about a topic, one that has
// published there.
func (r *clientReader) readProducer() error {
	return r.readClient(func(c *clientView) bool {
		return r.key.topic == "" || slices.ContainsFunc(c.PubCounts, func(p published) bool { return p.Topic == r.key.topic })
	})
}

func (r *clientReader) readClient(keep func(*clientView) bool) error {
	value, err := r.ReadValue()
	if err != nil {
		return err
	}
	r.guard.mark = r.InputOffset()
	var v clientView
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	switch {
	case keep != nil && !keep(&v):
	case len(r.clients) >= r.limit:
		r.more = true
	default:
		r.clients = append(r.clients, v.client(r.node))
	}
	return nil
}

// clientView is a connection as /stats shows it.
type clientView struct {
	ClientID       string      `json:"client_id"`
	Hostname       string      `json:"hostname"`
	RemoteAddress  string      `json:"remote_address"`
	State          int         `json:"state"`
	ReadyCount     int64       `json:"ready_count"`
	InFlightCount  int64       `json:"in_flight_count"`
	MessageCount   uint64      `json:"message_count"`
	FinishCount    uint64      `json:"finish_count"`
	RequeueCount   uint64      `json:"requeue_count"`
	ConnectTime    int64       `json:"connect_ts"`
	SampleRate     int         `json:"sample_rate"`
	Deflate        bool        `json:"deflate"`
	Snappy         bool        `json:"snappy"`
	UserAgent      string      `json:"user_agent"`
	Authed         bool        `json:"authed"`
	AuthIdentity   string      `json:"auth_identity"`
	TopologyZone   string      `json:"topology_zone"`
	TopologyRegion string      `json:"topology_region"`
	PubCounts      []published `json:"pub_counts"`
	TLS            bool        `json:"tls"`
	TLSCipherSuite string      `json:"tls_cipher_suite"`
	TLSVersion     string      `json:"tls_version"`

	// Ours alone.
	Connection   string `json:"connection"`
	TimeoutCount uint64 `json:"timeout_count"`
	LastActive   int64  `json:"last_active"`
	NextTimeout  int64  `json:"next_timeout"`
	HeldNS       int64  `json:"held_ns"`
}

type published struct {
	Topic string `json:"topic"`
	Count uint64 `json:"count"`
}

// maxPublished is of how many topics a producer's counts are shown.
const maxPublished = 1000

func (v *clientView) client(node string) fleet.Client {
	c := fleet.Client{
		Node: node, ID: v.ClientID, Connection: v.Connection, Hostname: v.Hostname,
		RemoteAddress: v.RemoteAddress, UserAgent: v.UserAgent, State: v.State,
		Ready: v.ReadyCount, InFlight: v.InFlightCount, Messages: v.MessageCount,
		Finished: v.FinishCount, Requeued: v.RequeueCount, TimedOut: v.TimeoutCount,
		SampleRate: v.SampleRate, TLS: v.TLS, TLSVersion: v.TLSVersion, CipherSuite: v.TLSCipherSuite,
		Deflate: v.Deflate, Snappy: v.Snappy, Authed: v.Authed, AuthIdentity: v.AuthIdentity,
		Zone: v.TopologyZone, Region: v.TopologyRegion,
		LastActive: since1970(v.LastActive), NextTimeout: since1970(v.NextTimeout), Holds: time.Duration(max(v.HeldNS, 0)),
	}
	if v.ConnectTime > 0 && v.ConnectTime < 1<<33 {
		c.Connected = time.Unix(v.ConnectTime, 0).UTC()
	}
	for _, p := range v.PubCounts[:min(len(v.PubCounts), maxPublished)] {
		c.Published = append(c.Published, fleet.Published{Topic: p.Topic, Count: p.Count})
	}
	return c
}
