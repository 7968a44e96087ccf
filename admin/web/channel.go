package web

import (
	"cmp"
	"html/template"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
)

// maxConsumers is how many connections a page lists, those with something to say first.
const maxConsumers = 200

// soon is when a consumer is about to time out.
const soon = 10 * time.Second

type channelPage struct {
	*view
	Channel *fleet.Channel
	Stats   []stat
	States  []stateLink
	Charts  charts
	Buttons []button
	Nodes   []channelAt
	Clients []consumer
	More    int
	Failed  []audit.Result
	Can     map[string]bool
}

// stateLink leads to the messages of one state.
type stateLink struct {
	Name, URL string
	Count     int64
	Bad       bool
}

// channelAt is a channel on one node.
type channelAt struct {
	fleet.NodeChannel
	Down bool
}

// consumer is a connection that gets messages.
type consumer struct {
	fleet.Client
	Warning string // what is about to go wrong, or does
}

func (u *UI) channel(v *view) (any, error) {
	topic, name := v.Param("topic"), v.Param("channel")
	if v.Snapshot.Topic(topic) == nil {
		return nil, u.noTopic(v, topic)
	}
	c := v.Snapshot.Channel(topic, name)
	if c == nil {
		return nil, notFound("The topic %q has no channel %q on any node. It may have been deleted, or not been created yet.", topic, name)
	}
	v.Title, v.API = topic+"/"+name, u.path("/api/topics", topic, name)
	v.Crumbs = []crumb{{"Topics", "/topics"}, {topic, u.path("/topics", topic)}}
	k := key{Topic: topic, Channel: name}
	p := channelPage{view: v, Channel: c, Charts: u.charts(v, k), States: u.states(c), Can: u.can(v, "disconnect")}
	p.Stats = append(u.stats(c.Figures, k), drained(c))
	for _, n := range c.Nodes {
		p.Nodes = append(p.Nodes, channelAt{n, isDown(v.Snapshot, n.Node)})
	}
	clients, failed := u.clients(v, topic, name, "")
	p.Clients, p.More, p.Failed = consumers(clients, v.Now), max(0, len(clients)-maxConsumers), failed
	resume := swap(c.Paused, "unpause-channel", "pause-channel")
	names := []string{resume, "seek", "channel-policy"}
	if c.Dead > 0 {
		p.Buttons = u.buttons(v, []string{"revive"}, "?topic", topic, "channel", name, "all", "true")
	}
	p.Buttons = append(p.Buttons, u.buttons(v, append(names, "empty-channel", "delete-channel"), "?topic", topic, "channel", name)...)
	return p, nil
}

// besidesPause are troubles without the one that says no more than the pause does,
// which is shown with its reason beside them.
func besidesPause(troubles []fleet.Trouble, p *fleet.Pause, channel string) []fleet.Trouble {
	if p == nil {
		return troubles
	}
	return slices.DeleteFunc(slices.Clone(troubles), func(t fleet.Trouble) bool { return t.Kind == "paused" && t.Channel == channel })
}

// states lead to the messages themselves.
func (u *UI) states(c *fleet.Channel) []stateLink {
	link := func(name, state string, n int64) stateLink {
		return stateLink{name, u.url("/topics", c.Topic, c.Name, "messages", "?state", state), n, state == "dead" && n > 0}
	}
	return []stateLink{
		link("Ready", "ready", c.Depth), link("In flight", "in_flight", c.InFlight), link("Deferred", "deferred", c.Deferred), link("Dead", "dead", c.Dead),
	}
}

// drained is when the backlog will be gone.
func drained(c *fleet.Channel) stat {
	s := stat{Name: "Drained in", Value: `<span class="none" title="there is no backlog">–</span>`}
	switch {
	case c.DrainedIn < 0 && c.Depth > 0:
		s.Value = `<span class="never" title="the backlog does not shrink, or that is not known yet">not shrinking</span>`
	case c.DrainedIn > 0:
		s.Value = titled(lasts(c.DrainedIn), "if all goes on as in the last minutes")
	}
	return s
}

// consumers puts those first with which something is wrong, and then the busiest.
func consumers(clients []fleet.Client, now time.Time) []consumer {
	list := make([]consumer, 0, len(clients))
	for _, c := range clients {
		list = append(list, consumer{c, about(c, now)})
	}
	slices.SortStableFunc(list, func(a, b consumer) int {
		return cmp.Or(
			cmp.Compare(b2i(b.Warning != ""), b2i(a.Warning != "")), cmp.Compare(b.InFlight, a.InFlight),
			cmp.Compare(a.Node, b.Node), cmp.Compare(a.RemoteAddress, b.RemoteAddress),
		)
	})
	return list[:min(len(list), maxConsumers)]
}

// about is what is about to go wrong with a consumer.
func about(c fleet.Client, now time.Time) string {
	if c.NextTimeout.IsZero() || c.InFlight == 0 {
		return ""
	}
	switch left := c.NextTimeout.Sub(now).Round(time.Second); {
	case left <= 0:
		return "what it holds times out now"
	case left <= soon:
		return "the first that it holds times out in " + lasts(left)
	}
	return ""
}

// quantile is a percentile's name: p50, p99, p99.9.
func quantile(q float64) string {
	if !isNumber(q) {
		return "p–"
	}
	return "p" + digits(min(max(q, 0), 1)*100)
}

// latencies are percentiles as a line.
func latencies(list []fleet.Percentile) template.HTML {
	var h template.HTML
	for _, p := range list {
		if h != "" {
			h += " · "
		}
		// #nosec G203 -- digits of ours
		h += template.HTML(quantile(p.Quantile)+" ") + dur(p.Value)
	}
	return h
}
