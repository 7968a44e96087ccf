package lookupd

import (
	"strconv"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// nodes lists the daemons, each with those of its topics that who asks may find, unless topics=false. The lock is
// taken anew for each page of daemons and of topics. What comes or goes meanwhile may be
// missing, or have no topics; nobody waits for the whole list.
func (a *api) nodes(s *httpapi.Stream, q httpapi.Arguments) error {
	p, err := pageArguments(q, nodePlace)
	if err != nil {
		return err
	}
	withTopics, err := truthArgument(q, "topics", true)
	if err != nil {
		return err
	}
	_, _ = s.WriteString(`{"producers":[`)
	n := nodeList{api: a, list: list{Stream: s}, withTopics: withTopics, sees: s.View(a.policy, access.Find)}
	after := p.number()
	for p.left > 0 {
		limit := min(p.left, pageNodes)
		part := a.nodePage(after, limit)
		for _, node := range part {
			if err := n.write(node); err != nil {
				return err
			}
		}
		if len(part) < limit {
			after = 0
			break
		}
		p.left -= limit
		after = part[limit-1].peer.Number()
	}
	next := ""
	if after > 0 && p.left == 0 && len(a.nodePage(after, 1)) > 0 {
		next = strconv.FormatUint(after, 10)
	}
	_ = s.WriteByte(']')
	end(s, next)
	return nil
}

// node is a daemon, and its state when it was asked for.
type node struct {
	peer  *registry.Peer
	state protocol.PeerState
}

func (a *api) nodePage(after uint64, limit int) []node {
	nodes := make([]node, 0, limit)
	a.dir.read(func(r *registry.Registry, now time.Time) {
		for _, p := range r.Nodes(after, limit, now) {
			nodes = append(nodes, node{p, r.State(p)})
		}
	})
	return nodes
}

// nodeList writes a list of daemons.
type nodeList struct {
	*api
	list
	withTopics bool
	sees       func(topic, channel string) bool // nil: everything
	topics     []string                         // of the daemon at hand
}

// write writes a daemon. Tombstones stand before topics and run in parallel, so
// the names wait until all tombstones are written.
func (n *nodeList) write(d node) error {
	n.next()
	begin(n.Stream, d.peer, d.state)
	if n.withTopics {
		if err := n.writeTopics(d.peer); err != nil {
			return err
		}
	}
	_ = n.WriteByte('}')
	return n.Err()
}

func (n *nodeList) writeTopics(p *registry.Peer) error {
	n.topics = n.topics[:0]
	_, _ = n.WriteString(`,"tombstones":[`)
	tombstones, topics := list{Stream: n.Stream}, list{Stream: n.Stream}
	for after, more := "", true; more; {
		var part []registry.PeerTopic
		n.dir.read(func(r *registry.Registry, now time.Time) { part = r.PeerTopics(p, after, pageNames, now) })
		for _, t := range part {
			after = t.Name
			if n.sees != nil && !n.sees(t.Name, "") {
				continue
			}
			tombstones.next()
			_, _ = n.WriteString(strconv.FormatBool(t.Tombstoned))
			n.topics = append(n.topics, t.Name)
		}
		more = len(part) == pageNames
		if err := n.Hold(cap(n.topics) * nameBytes); err != nil {
			return err
		}
		if err := n.Err(); err != nil {
			return err
		}
	}
	_, _ = n.WriteString(`],"topics":[`)
	for _, t := range n.topics {
		topics.next()
		name(n.Stream, t)
	}
	_ = n.WriteByte(']')
	return nil
}
