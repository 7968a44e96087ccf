// Package messages looks at messages over all nodes without touching them: pages of
// a channel's messages in a state, merged by time, and single ones found by ID. It is
// also the one place that decides who sees bodies: what it returns is masked already,
// and of a masked message no body was ever asked for.
package messages

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/protocol"
)

// States are the states that can be listed, in the order in which people ask for them.
var States = []string{"ready", "in_flight", "deferred", "dead"}

// Message is a message on one node. Of one that was listed, Channel and Standing say
// where it stands; of one that was found by its ID, Channels do.
type Message struct {
	Node      string // address
	Topic     string
	ID        string    // 16 hexadecimal digits; two nodes may use the same
	Published time.Time // zero: not known
	Body

	Channel string
	Standing
	Channels []InChannel
}

// InChannel is where a message stands in a channel.
type InChannel struct {
	Channel string
	Standing
}

// Standing is what has become of a message in a channel.
type Standing struct {
	State    string    // ready, in_flight, deferred, dead; found by ID also finished and other words of the node's
	Attempts int       // deliveries so far, the one under way included; negative: not told
	Due      time.Time // when a deferred one will be delivered
	Deadline time.Time // when the time of the consumer that holds it ends
	Died     time.Time
	Reason   string  // why it came back the last time
	Holder   *Holder // the consumer that holds it
}

// Holder is a consumer that holds a message.
type Holder struct{ ID, Hostname, RemoteAddress string }

// Body is as much of a message's body as is shown.
type Body struct {
	Size       int64  // of the whole body, in bytes
	Bytes      []byte // nil if it is masked or cannot be read
	Truncated  bool   // there is more than Bytes
	Unreadable bool   // damaged, or not in memory; Size is not known
	Masked     bool   // who asks may not see it
}

// Cluster is what is asked of the daemons; *cluster.Cluster is one.
type Cluster interface {
	Get(ctx context.Context, address, path string, q url.Values, into any) error
	Each(ctx context.Context, addresses []string, do func(ctx context.Context, address string) audit.Result, done func(audit.Result)) []audit.Result
}

// Reader looks at messages, for some who ask at a time. It keeps nothing, and is safe for
// concurrent use.
type Reader struct {
	see     signin.Role
	cluster Cluster
	latest  func() *fleet.Snapshot
	turns   chan struct{} // held by those that ask nodes
}

// maxTurns is how many ask nodes at a time; others wait. Each may have tens of megabytes
// of bodies in memory.
const maxTurns = 8

// New returns a Reader. see is the least role that sees bodies; zero is Operator.
// latest returns the newest snapshot, never nil: only nodes in it are asked, so
// that nobody can have any other address asked for him.
func New(see signin.Role, c Cluster, latest func() *fleet.Snapshot) *Reader {
	if see == signin.Nobody {
		see = signin.Operator
	}
	return &Reader{see, c, latest, make(chan struct{}, maxTurns)}
}

// each asks nodes when its turn has come, and returns the error of ctx if that ends first.
func (r *Reader) each(ctx context.Context, nodes []string, do func(ctx context.Context, node string) audit.Result) ([]audit.Result, error) {
	select {
	case r.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-r.turns }()
	answers := r.cluster.Each(ctx, nodes, do, nil)
	return answers, ctx.Err()
}

// Sees reports whether who sees bodies.
func (r *Reader) Sees(who signin.Who) bool { return who.Role >= r.see || who.Looks }

// ErrNotFound is wrapped by errors about a topic, channel, node or message that no
// node has.
var ErrNotFound = errors.New("not found")

// ErrInvalid is wrapped by errors about what was asked for.
var ErrInvalid = errors.New("invalid")

// problem is an error of one of the two kinds that says nothing but its sentence.
type problem struct {
	kind     error
	sentence string
}

func (p *problem) Error() string { return p.sentence }
func (p *problem) Unwrap() error { return p.kind }

func notFound(format string, args ...any) error {
	return &problem{ErrNotFound, fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return &problem{ErrInvalid, fmt.Sprintf(format, args...)}
}

// nodesOf returns the addresses of the nodes to be asked about a topic, and what is
// told of those that are not asked because they are down. A topic that is not in the
// snapshot may have been created since: then all are asked. So is a node that is named,
// though it is down: it may be up again.
func (r *Reader) nodesOf(topic, only string) (ask []string, down []audit.Result, err error) {
	s := r.latest()
	if only != "" {
		if !slices.ContainsFunc(s.Nodes, func(n *fleet.Node) bool { return n.Address == only }) {
			return nil, nil, notFound("there is no node %s", only)
		}
		return []string{only}, nil, nil
	}
	has := holders(s, topic)
	for _, n := range s.Nodes {
		switch {
		case len(has) > 0 && !has[n.Address]:
		case n.Up:
			ask = append(ask, n.Address)
		default:
			down = append(down, audit.Result{Node: n.Address, Error: "not asked, because it is down: " + n.Error})
		}
	}
	return ask, down, nil
}

// holders returns the nodes that had a topic at the last poll.
func holders(s *fleet.Snapshot, topic string) map[string]bool {
	i, found := slices.BinarySearchFunc(s.Topics, topic, func(t *fleet.Topic, name string) int {
		return strings.Compare(t.Name, name)
	})
	if !found {
		return nil
	}
	has := make(map[string]bool)
	for _, n := range s.Topics[i].Nodes {
		has[n.Node] = true
	}
	return has
}

// checkID returns an error if id is no message ID.
func checkID(id string) error {
	if _, ok := protocol.ParseID([]byte(id)); !ok {
		return invalid("a message ID is 16 hexadecimal digits in lower case; %q is not", id)
	}
	return nil
}
