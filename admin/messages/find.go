package messages

import (
	"context"
	"net/url"
	"strconv"
	"sync"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/protocol"
)

// Find looks for a message by its ID: on one node or all, in one topic or, if topic is
// empty, in any. IDs are unique on a node, so there may be one on each. failed are the
// nodes that may have it too and could not say. The error is ErrInvalid, ErrNotFound
// if nobody has it, or that of the context.
func (r *Reader) Find(ctx context.Context, who signin.Who, id, topic, node string) (found []Message, failed []audit.Result, err error) {
	if err := checkID(id); err != nil {
		return nil, nil, err
	}
	args := url.Values{"id": {id}, "body": {strconv.Itoa(MaxWhole)}}
	if topic != "" {
		if !protocol.ValidName(topic) {
			return nil, nil, invalid("%q is no name of a topic", topic)
		}
		args.Set("topic", topic)
	}
	nodes, failed, err := r.nodesOf(topic, node)
	if err != nil {
		return nil, nil, err
	}
	masked := !r.Sees(who)
	if masked {
		args.Set("body", "0")
	}
	var mu sync.Mutex // guards what the nodes' goroutines add
	absent := make(map[string]bool)
	have := make(map[string]Message)
	answers, err := r.each(ctx, nodes, func(ctx context.Context, node string) audit.Result {
		var a answer
		err := r.cluster.Get(ctx, node, "/message", args, &a)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			absent[node] = isAbsent(err)
			return audit.Result{Node: node, Error: explain(err, "look for a message by its ID")}
		}
		have[node] = a.message(node, topic, "", masked)
		return audit.Result{Node: node, OK: true}
	})
	if err != nil {
		return nil, nil, err
	}
	for _, a := range answers {
		switch m, ok := have[a.Node]; {
		case ok:
			found = append(found, m)
		case !absent[a.Node]:
			failed = append(failed, a)
		}
	}
	if len(found) == 0 && len(failed) == 0 {
		return nil, nil, notFound("no node has a message %s", id)
	}
	return found, failed, nil
}
