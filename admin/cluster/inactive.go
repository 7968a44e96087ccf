package cluster

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/millrace-mq/millrace/admin/audit"
)

// maxInactive is of how many topics without a daemon the channels are looked up.
const maxInactive = 10_000

// Inactive returns the topics that lookupds know and no daemon has, with their channels,
// and what became of asking each lookupd. A topic counts as had while any lookupd says
// so, even if a tombstone hides it. Without lookupds there are none.
func (c *Cluster) Inactive(ctx context.Context) (map[string][]string, []audit.Result) {
	var mu sync.Mutex // guards the two; not held while somebody is asked
	known, had := make(map[string]bool), make(map[string]bool)

	results := c.Each(ctx, c.Lookupds(), func(ctx context.Context, lookupd string) audit.Result {
		topics, nodes, err := c.topics(ctx, lookupd)
		mu.Lock()
		defer mu.Unlock()
		for _, t := range topics {
			known[t] = true
		}
		for _, p := range nodes {
			for _, t := range p.Topics {
				had[t] = true
			}
		}
		return ResultOf(lookupd, err)
	}, nil)

	inactive := make(map[string][]string)
	for t := range known {
		if !had[t] {
			inactive[t] = nil
		}
	}
	c.addChannels(ctx, inactive, results)
	return inactive, results
}

// topics asks a lookupd for the topics that it knows, and who has which.
func (c *Cluster) topics(ctx context.Context, lookupd string) ([]string, []Producer, error) {
	var answer struct {
		Topics []string `json:"topics"`
	}
	if err := c.Get(ctx, lookupd, "/topics", nil, &answer); err != nil {
		return nil, nil, err
	}
	nodes, _, err := c.Producers(ctx, lookupd, true)
	if err != nil {
		return nil, nil, err // or all of its topics would look as if nobody had them
	}
	return answer.Topics, nodes, nil
}

// addChannels looks up the channels of the topics, at the lookupds that have answered. Of
// one that does not any more its result says so.
func (c *Cluster) addChannels(ctx context.Context, topics map[string][]string, results []audit.Result) {
	names := slices.Sorted(maps.Keys(topics))
	names = names[:min(len(names), maxInactive)]
	var mu sync.Mutex // guards channels; not held while somebody is asked
	channels := make(map[string][]string)

	for i := range results {
		if !results[i].OK {
			continue
		}
		lookupd := results[i].Node
		ctx, stop := context.WithCancel(ctx)
		c.Each(ctx, names, func(ctx context.Context, topic string) audit.Result {
			var answer struct {
				Channels []string `json:"channels"`
			}
			err := c.Get(ctx, lookupd, "/channels", url.Values{"topic": {topic}}, &answer)
			if !answered(err) {
				stop() // thousands of questions to one that hangs would take hours
			}
			mu.Lock()
			defer mu.Unlock()
			channels[topic] = append(channels[topic], answer.Channels...)
			return ResultOf(lookupd, err)
		}, func(r audit.Result) {
			if !r.OK && results[i].OK {
				r.Node, results[i] = lookupd, r
			}
		})
		stop()
	}
	for topic, all := range channels {
		slices.SortFunc(all, strings.Compare)
		topics[topic] = slices.Compact(all)
	}
}
