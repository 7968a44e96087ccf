package actions

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// planPublish publishes to the node that is named, or to the first healthy one that
// takes it.
func (j *job) planPublish() ([]phase, missing) {
	p := phase{calls: make(map[string][]call)}
	var none missing
	for i, t := range j.request.Targets {
		nodes := []string{t.Node}
		if t.Node == "" {
			nodes = j.takers(t.Topic)
		}
		if len(nodes) == 0 {
			none.add(t, "no node is up that takes publishes")
			continue
		}
		p.calls[nodes[0]] = append(p.calls[nodes[0]], call{i, j.publish(t.Topic, nodes)})
	}
	return []phase{p}, none
}

const maxTakers = 3 // nodes that are tried

// takers are nodes that should take a publish, those first that have the topic.
func (j *job) takers(topic string) (nodes []string) {
	has := holders(j.snapshot, topic, "")
	for _, n := range j.snapshot.Nodes {
		if healthy(n) && !slices.Contains(n.Tombstoned, topic) {
			nodes = append(nodes, n.Address)
		}
	}
	slices.SortStableFunc(nodes, func(a, b string) int {
		return order(slices.Contains(has, b)) - order(slices.Contains(has, a))
	})
	return nodes[:min(len(nodes), maxTakers)]
}

func order(b bool) int {
	if b {
		return 1
	}
	return 0
}

func healthy(n *fleet.Node) bool {
	return n.Up && (n.Health == "" || n.Health == "OK") && (n.State == "" || n.State == "ready")
}

// publish tries one node after the other. One that may have taken it is the last:
// another would make it two messages.
func (j *job) publish(topic string, nodes []string) func(ctx context.Context, address string) outcome {
	return func(ctx context.Context, _ string) outcome {
		body, _ := Body(j.request.Args) // checked
		q := url.Values{"topic": {topic}}
		if delay, _ := parseDelay("delay", j.request.Args.Get("delay")); delay > 0 {
			q.Set("defer", strconv.FormatInt(int64((delay+time.Millisecond-1)/time.Millisecond), 10))
		}
		var tried []string
		for i, node := range nodes {
			err := j.cluster.Post(ctx, node, "/pub", q, body, nil)
			o := j.judge(ctx, node, err)
			if o.done {
				o.count, o.node, o.text = 1, node, strings.Join(tried, "; ")
				return o
			}
			if !movesOn(err) || i == len(nodes)-1 {
				return outcome{node: node, mute: o.mute, text: strings.Join(append(tried, o.text), "; ")}
			}
			tried = append(tried, fmt.Sprintf("%s: %s", node, o.text))
		}
		return outcome{} // there is one at least
	}
}
