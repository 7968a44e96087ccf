package api

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/julienschmidt/httprouter"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/internal/httpapi"
)

// param is a part of the path. A topic "." or ".." has a tilde before it, as in the
// addresses of pages: browsers, curl and proxies take it for a step. No valid name
// begins with one.
func param(r *http.Request, name string) string {
	return strings.TrimPrefix(httprouter.ParamsFromContext(r.Context()).ByName(name), "~")
}

// topics lists topics; with inactive=true, those without a daemon, and their channels.
func (a *api) topics(r *http.Request, q url.Values) (any, error) {
	if q.Get("inactive") == "true" {
		return a.inactive(r.Context())
	}
	rd := new(reading)
	names, err := a.topicNames(r.Context(), rd)
	if err != nil {
		return nil, err
	}
	return struct {
		Topics  []string `json:"topics"`
		Message string   `json:"message"`
	}{names, rd.message()}, nil
}

// topicNames are those that lookupds know, or daemons have.
func (a *api) topicNames(ctx context.Context, rd *reading) ([]string, error) {
	from, kind := a.Cluster.Lookupds(), lookupdKind
	if len(from) == 0 {
		from, kind = a.Cluster.Daemons(), daemonKind
	}
	var mu sync.Mutex // guards names; not held while somebody is asked
	names := []string{}
	answered := rd.each(ctx, a.Cluster, from, func(ctx context.Context, address string) error {
		var answer struct {
			Topics []string `json:"topics"`
		}
		var err error
		if kind == lookupdKind {
			err = a.Cluster.Get(ctx, address, "/topics", nil, &answer)
		} else {
			answer.Topics, err = a.names(ctx, address, "")
		}
		mu.Lock()
		defer mu.Unlock()
		names = append(names, answer.Topics...)
		return err
	})
	if answered == 0 {
		return nil, rd.upstream(kind)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (a *api) inactive(ctx context.Context) (any, error) {
	topics, results := a.Cluster.Inactive(ctx)
	rd := new(reading)
	for _, r := range results {
		if !r.OK {
			rd.warnings = append(rd.warnings, r.Node+": "+r.Error)
		}
	}
	if len(results) > 0 && len(rd.warnings) == len(results) {
		return nil, rd.upstream(lookupdKind)
	}
	return struct {
		Topics  map[string][]string `json:"topics"`
		Message string              `json:"message"`
	}{topics, rd.message()}, nil
}

// topic sums a topic up over its daemons.
func (a *api) topic(r *http.Request, _ url.Values) (any, error) {
	rd, name := new(reading), param(r, "topic")
	parts, err := a.parts(r.Context(), rd, name, "", false)
	if err != nil {
		return nil, err
	}
	sum := &nsqTopic{TopicName: name, Nodes: []*nsqTopic{}, Channels: []*nsqChannel{}}
	for _, t := range parts {
		sum.add(t)
	}
	return struct {
		*nsqTopic
		Message string `json:"message"`
	}{sum, rd.message()}, nil
}

// parts are a topic on each daemon that has it.
func (a *api) parts(ctx context.Context, rd *reading, topic, channel string, clients bool) ([]*nsqTopic, error) {
	from, err := a.topicProducers(ctx, topic, rd)
	if err != nil {
		return nil, err
	}
	return a.allStats(ctx, rd, from, topic, channel, clients)
}

// channel sums a channel up over its daemons, and has its consumers.
func (a *api) channel(r *http.Request, _ url.Values) (any, error) {
	rd, topic, name := new(reading), param(r, "topic"), param(r, "channel")
	parts, err := a.parts(r.Context(), rd, topic, name, true)
	if err != nil {
		return nil, err
	}
	sum := &nsqChannel{TopicName: topic, ChannelName: name, Clients: []*nsqClient{}}
	for _, t := range parts {
		for _, c := range t.Channels {
			if c.ChannelName == name {
				sum.add(c)
			}
		}
	}
	if len(sum.Nodes) == 0 {
		// nsqadmin stumbles over a channel that nobody has, and scripts know it by that.
		return nil, &httpapi.Error{Status: http.StatusInternalServerError, Code: "INTERNAL_ERROR"}
	}
	sortClients(sum.Clients)
	return struct {
		*nsqChannel
		Message string `json:"message"`
	}{sum, rd.message()}, nil
}

// nodes lists daemons.
func (a *api) nodes(r *http.Request, _ url.Values) (any, error) {
	rd := new(reading)
	all, err := a.producers(r.Context(), rd)
	if err != nil {
		return nil, err
	}
	return struct {
		Nodes   []*nsqProducer `json:"nodes"`
		Message string         `json:"message"`
	}{all, rd.message()}, nil
}

// node is one daemon, with its topics, channels and consumers.
func (a *api) node(r *http.Request, _ url.Values) (any, error) {
	rd, name := new(reading), param(r, "node")
	all, err := a.producers(r.Context(), rd)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(p *nsqProducer) bool { return p.address != name })
	if len(all) == 0 {
		return nil, &httpapi.Error{Status: http.StatusNotFound, Code: "NODE_NOT_FOUND"}
	}
	topics, err := a.allStats(r.Context(), new(reading), all[:1], "", "", true)
	if err != nil {
		return nil, err
	}
	messages, clients := int64(0), 0
	for _, t := range topics {
		messages += t.MessageCount
		for _, c := range t.Channels {
			clients += len(c.Clients)
		}
	}
	return struct {
		Node          string      `json:"node"`
		Topics        []*nsqTopic `json:"topics"`
		TotalMessages int64       `json:"total_messages"`
		TotalClients  int         `json:"total_clients"`
		Message       string      `json:"message"`
	}{name, append([]*nsqTopic{}, topics...), messages, clients, rd.message()}, nil
}

// counted is how many messages have come to a channel on a daemon.
type counted struct {
	Node         string `json:"node"`
	TopicName    string `json:"topic_name"`
	ChannelName  string `json:"channel_name"`
	MessageCount int64  `json:"message_count"`
}

// counter tells how many messages have come to each channel of each daemon. That is all
// there is of all daemons, so it is from a snapshot, but one that was begun since it was
// asked for: of the many who may watch a counter, each has what the same poll has told.
func (a *api) counter(r *http.Request, _ url.Values) (any, error) {
	s := a.freshSnapshot(r.Context())
	rd, up := new(reading), make(map[string]bool)
	for _, l := range s.Lookupds {
		if !l.Up {
			rd.warnings = append(rd.warnings, l.Address+": "+l.Error)
		}
	}
	for _, n := range s.Nodes {
		if up[n.Address] = n.Up; !n.Up {
			rd.warnings = append(rd.warnings, n.Address+": "+n.Error)
		}
	}
	if !slices.Contains(slices.Collect(maps.Values(up)), true) {
		return nil, rd.upstream(daemonKind)
	}
	stats := make(map[string]counted)
	for _, t := range s.Topics {
		for i := range t.Nodes {
			n := &t.Nodes[i]
			for j := range n.Channels {
				if c := &n.Channels[j]; up[n.Node] {
					// #nosec G115 -- a count of messages: far below 2^63
					stats[t.Name+":"+c.Name+":"+n.Node] = counted{n.Node, t.Name, c.Name, int64(c.Messages)}
				}
			}
		}
	}
	return struct {
		Stats   map[string]counted `json:"stats"`
		Message string             `json:"message"`
	}{stats, rd.message()}, nil
}

// freshPatience is how long a snapshot is waited for.
const freshPatience = 2 * time.Second

// freshSnapshot returns a snapshot of which all answers were asked for after the call;
// if that takes too long, since there is so much to ask, the newest.
func (a *api) freshSnapshot(ctx context.Context) *fleet.Snapshot {
	ctx, cancel := context.WithTimeout(ctx, freshPatience)
	defer cancel()
	asked := time.Now()
	for a.Source.Poke(); ; {
		changed, s := a.Source.Changed(), a.Source.Latest()
		if s.At.Add(-s.Took).After(asked) {
			return s
		}
		select {
		case <-changed:
			a.Source.Poke() // that one had begun before
		case <-ctx.Done():
			return s
		}
	}
}

// graphite answers as nsqadmin does that has no Graphite: /api/history has the rates.
func graphite(_ *http.Request, q url.Values) (any, error) {
	switch {
	case q.Get("metric") != "rate":
		return nil, httpapi.BadRequest("INVALID_ARG_METRIC")
	case !q.Has("target"):
		return nil, httpapi.BadRequest("INVALID_ARG_TARGET")
	}
	return nil, &httpapi.Error{Status: http.StatusInternalServerError, Code: "INTERNAL_ERROR"}
}
