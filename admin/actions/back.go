package actions

import (
	"context"
	"net/url"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
)

// grace is how long publishers and consumers have to bring back what was deleted, before
// it is looked whether they have. Those that come later are seen on the pages.
const grace = 50 * time.Millisecond

// lookBack says of nodes that have deleted a topic or channel that it is there again:
// somebody publishes to it, or consumes it, and that creates it.
func (j *job) lookBack(ctx context.Context, nodes []*tally) {
	if j.act.Name != "delete-topic" && j.act.Name != "delete-channel" || len(j.request.Targets) > maxFresh || !sleep(ctx, grace) {
		return
	}
	byAddress := make(map[string]*tally)
	for _, t := range nodes {
		if t.did > 0 {
			byAddress[t.address] = t
		}
	}
	j.cluster.Each(ctx, sorted(byAddress), func(ctx context.Context, node string) audit.Result {
		for _, t := range j.request.Targets {
			if j.has(ctx, node, t) {
				byAddress[node].note = t.String() + " is there again: somebody publishes to it or consumes it"
				j.audit.Result(j.number, byAddress[node].result(j))
				break
			}
		}
		return cluster.ResultOf(node, nil)
	}, nil)
}

// has asks a node whether it has a target.
func (j *job) has(ctx context.Context, node string, t Target) bool {
	var stats struct {
		Topics []struct {
			Name     string `json:"topic_name"`
			Channels []struct {
				Name string `json:"channel_name"`
			} `json:"channels"`
		} `json:"topics"`
	}
	q := url.Values{"format": {"json"}, "include_clients": {"false"}, "include_mem": {"false"}, "topic": {t.Topic}}
	if j.cluster.Get(ctx, node, "/stats", q, &stats) != nil {
		return false
	}
	for _, topic := range stats.Topics {
		if topic.Name != t.Topic {
			continue
		}
		if t.Channel == "" {
			return true
		}
		for _, c := range topic.Channels {
			if c.Name == t.Channel {
				return true
			}
		}
	}
	return false
}
