// Package stats is what a daemon knows of itself: gathered in one place, so that
// /stats, statsd and /metrics cannot tell different stories. The fields, their
// names in JSON and their order are nsqd's; ours come last.
package stats

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/limits"
	"github.com/millrace-mq/millrace/qd/peers"
	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/session"
)

// Source is where a daemon's figures come from. All of it is set once; its
// methods may be called at any time, from any goroutine.
type Source struct {
	Broker *broker.Broker
	// Clients describes all connections of TCP clients, in any order.
	Clients func() []session.Client
	// Lookupds tells how the daemon stands with each of them; nil if it is not known.
	Lookupds func() []peers.Link
	// Failures counts who was refused; nil if nobody does.
	Failures *access.Failures
	// Audit tells what became of the audit log's lines; nil if there is no audit log.
	Audit func() audit.Counts
	// Limits are the daemon's; nil if there are none.
	Limits  *limits.Limits
	Started time.Time
}

// Selection is what of the figures is asked for.
type Selection struct {
	Topic, Channel string // empty is all
	Clients        bool   // describe consumers and producers
	Memory         bool   // Go's memory: stops the world for some microseconds
	Latencies      bool   // copy the histograms of channels
	Percentiles    bool   // compute quantiles, if the settings name some
	// Sees says whether who asks may know of a topic or, with a channel, of that
	// channel; nil: of all.
	Sees func(topic, channel string) bool
}

func (s *Selection) sees(topic, channel string) bool { return s.Sees == nil || s.Sees(topic, channel) }

// hide takes out the topics that are not to be seen.
func (s *Selection) hide(counts map[string]uint64) {
	if s.Sees != nil {
		maps.DeleteFunc(counts, func(topic string, _ uint64) bool { return !s.Sees(topic, "") })
	}
}

// Daemon is all that is known.
type Daemon struct {
	Version   string   `json:"version"` // of NSQ, which it speaks as
	Health    string   `json:"health"`
	StartTime int64    `json:"start_time"` // seconds since the Unix epoch
	Topics    []Topic  `json:"topics"`     // by name; null when the one asked for does not exist
	Memory    *Memory  `json:"memory,omitempty"`
	Producers []Client `json:"producers"` // null when there are none, or no topics
	Node      Node     `json:"node"`
}

// Topic is a topic's figures. Counts are since the daemon's start.
type Topic struct {
	Name         string    `json:"topic_name"`
	Channels     []Channel `json:"channels"`      // by name
	Depth        int       `json:"depth"`         // messages not yet handed to channels
	BackendDepth int       `json:"backend_depth"` // of these on disk
	MessageCount uint64    `json:"message_count"`
	MessageBytes uint64    `json:"message_bytes"`
	Paused       bool      `json:"paused"`
	Latency      Latency   `json:"e2e_processing_latency"`

	// Number tells the topic from another one that had its name.
	Number uint64 `json:"-"`
	// Size is what the topic takes on disk, in bytes.
	Size int64 `json:"-"`

	Durability broker.Level `json:"durability"`
	*Log
	Policy
	Pause *queue.Pause `json:"pause,omitempty"` // while it is paused
}

// Channel is a channel's figures. Counts are since it was opened: by the daemon's
// start, or later.
type Channel struct {
	Name          string   `json:"channel_name"`
	Depth         int      `json:"depth"` // messages that could be delivered now
	BackendDepth  int      `json:"backend_depth"`
	InFlightCount int      `json:"in_flight_count"`
	DeferredCount int      `json:"deferred_count"`
	MessageCount  uint64   `json:"message_count"` // that came to the channel
	RequeueCount  uint64   `json:"requeue_count"`
	TimeoutCount  uint64   `json:"timeout_count"`
	ClientCount   int      `json:"client_count"`
	Clients       []Client `json:"clients"` // null when they were not asked for
	Paused        bool     `json:"paused"`
	Latency       Latency  `json:"e2e_processing_latency"`

	// Deliveries, each time that a message was sent, by how near the consumer is:
	// global ones all, unless consumers of the same zone and region are preferred.
	ZoneLocalMsgCount   uint64 `json:"zone_local_msg_count,omitempty"`
	RegionLocalMsgCount uint64 `json:"region_local_msg_count,omitempty"`
	GlobalMsgCount      uint64 `json:"global_msg_count,omitempty"`

	// Where messages went, so that the books can be balanced: finished, emptied
	// by an operator, dropped by an ephemeral channel or for a bound, damaged on
	// disk, left out for consumers that asked for a sample. If the topic has a log,
	// the lost are those alone that had been delivered or deferred: the others
	// never enter the channel, and the topic counts them.
	FinishedCount uint64 `json:"finished_count"`
	EmptiedCount  uint64 `json:"emptied_count"`
	DroppedCount  uint64 `json:"dropped_count"`
	LostCount     uint64 `json:"lost_count"`
	SampledCount  uint64 `json:"sampled_count,omitempty"`

	// Dead messages: how many there are, and how many have died, were put in line
	// again, or deleted, since the channel was opened.
	DeadCount    int    `json:"dead_count"`
	BuriedCount  uint64 `json:"buried_count"`
	RevivedCount uint64 `json:"revived_count"`
	DeletedCount uint64 `json:"deleted_count"`
	MaxAttempts  int    `json:"max_attempts"` // 0 is any number

	Pause *queue.Pause `json:"pause,omitempty"` // while it is paused

	// Serial tells the channel from another one of the topic that had its name.
	Serial uint64 `json:"-"`
	// Times are from publish to FIN; nil if they were not asked for, or nothing was
	// finished yet.
	Times *Histogram `json:"-"`
}

// Gather gathers what is selected. It takes one topic's lock at a time, for as
// long as it takes to copy the topic's numbers.
func (s *Source) Gather(sel Selection) Daemon {
	all := Daemon{
		Version: protocol.Version, Health: s.Health(), StartTime: s.Started.Unix(),
		Topics: s.topics(sel), Node: s.node(),
	}
	if sel.Clients && all.Topics != nil {
		all.Producers = s.producers(sel)
	}
	if sel.Memory {
		all.Memory = readMemory()
	}
	return all
}

// Health is NSQ's word for whether the disk can be used: OK, or NOK and why not.
func (s *Source) Health() string {
	if err := s.Broker.Health(); err != nil {
		return "NOK - " + err.Error()
	}
	return "OK"
}

// topics leaves out the topics that do not have the channel asked for, and
// returns nil if there is no topic of the name asked for, or none to be seen: who
// must not see it learns no more than that.
func (s *Source) topics(sel Selection) []Topic {
	var found []*broker.Topic
	if sel.Topic == "" {
		found = s.Broker.Topics()
	} else if t, err := s.Broker.Find(sel.Topic); err == nil && sel.sees(t.Name(), "") {
		found = []*broker.Topic{t}
	} else {
		return nil
	}
	all := make([]Topic, 0, len(found))
	for _, t := range found {
		if !sel.sees(t.Name(), "") {
			continue
		}
		snapshot := Topic{Name: t.Name(), Number: t.Number()}
		var members []member
		t.View(func(core *queue.Topic) { members = snapshot.read(core, sel) })
		if sel.Channel != "" && len(snapshot.Channels) == 0 {
			continue
		}
		snapshot.introduce(members, sel)
		snapshot.readLog(t)
		if sel.Percentiles {
			snapshot.readLatencies(t, s.Broker.Percentiles)
		}
		slices.SortFunc(snapshot.Channels, func(x, y Channel) int { return strings.Compare(x.Name, y.Name) })
		all = append(all, snapshot)
	}
	return all
}

// member is a consumer as its channel knows it.
type member struct {
	channel int // index among the topic's
	owner   any
	stats   Client
}

// read takes what is asked for from a topic. It runs under the topic's lock, so
// it copies numbers and no more. What a connection says of itself is behind the
// connection's lock, and waits until the topic's is free.
func (t *Topic) read(core *queue.Topic, sel Selection) (members []member) {
	t.Depth, t.BackendDepth = core.Depth(), core.DiskDepth()
	t.MessageCount, t.MessageBytes = core.Published()
	t.Paused, t.Pause = core.Paused(), core.CurrentPause()
	t.Channels = make([]Channel, 0, len(core.Channels()))
	for _, c := range core.Channels() {
		if sel.Channel != "" && c.Name() != sel.Channel || !sel.sees(t.Name, c.Name()) {
			continue
		}
		t.Channels = append(t.Channels, readChannel(c))
		last := &t.Channels[len(t.Channels)-1]
		if sel.Latencies {
			last.Times = readTimes(c)
		}
		if !sel.Clients {
			continue
		}
		i := len(t.Channels) - 1
		last.Clients = make([]Client, 0, c.ConsumerCount())
		c.Consumers(func(k *queue.Consumer, ready, inFlight int, delivered, finished, requeued uint64) {
			of := Client{
				ReadyCount: ready, InFlightCount: inFlight,
				MessageCount: delivered, FinishCount: finished, RequeueCount: requeued, TimeoutCount: k.TimedOut(),
			}
			of.NextTimeout, _ = k.NextTimeout()
			of.Held, _ = k.Held()
			members = append(members, member{i, k.Owner, of})
		})
	}
	return members
}

func readChannel(c *queue.Channel) Channel {
	counts := c.Counts()
	return Channel{
		Name: c.Name(), Serial: c.Serial(), Depth: c.Depth(), BackendDepth: c.DiskDepth(),
		InFlightCount: c.InFlight(), DeferredCount: c.Deferred(), MessageCount: c.Entered(),
		RequeueCount: counts.Requeued, TimeoutCount: counts.TimedOut,
		ClientCount: c.ConsumerCount(), Paused: c.Paused(), Pause: c.CurrentPause(),
		ZoneLocalMsgCount: counts.Delivered[queue.Zone], RegionLocalMsgCount: counts.Delivered[queue.Region],
		GlobalMsgCount: counts.Delivered[queue.Elsewhere],
		FinishedCount:  counts.Finished, EmptiedCount: counts.Emptied,
		DroppedCount: counts.Dropped, LostCount: counts.Lost, SampledCount: counts.Sampled,
		DeadCount: c.Dead(), BuriedCount: counts.Buried, RevivedCount: counts.Revived,
		DeletedCount: counts.Deleted, MaxAttempts: c.MaxAttempts(),
	}
}

// introduce adds what the members' connections say of themselves, and lists
// them with their channels, the longest connected first.
func (t *Topic) introduce(members []member, sel Selection) {
	for _, m := range members {
		if client, ok := ClientOf(m.owner); ok {
			sel.hide(client.PubCounts)
			m.stats.describe(client, sel.Topic)
		}
		c := &t.Channels[m.channel]
		c.Clients = append(c.Clients, m.stats)
	}
	for i := range t.Channels {
		sortClients(t.Channels[i].Clients)
	}
}

// producers returns the connections that have published. Those that have not
// published to topic, if one is named, come without counts; those that have
// published only to topics which are not to be seen do not come.
func (s *Source) producers(sel Selection) (all []Client) {
	for _, c := range s.Clients() {
		sel.hide(c.PubCounts)
		if len(c.PubCounts) > 0 {
			var p Client
			p.describe(c, sel.Topic)
			all = append(all, p)
		}
	}
	sortClients(all)
	return all
}

func sortClients(all []Client) {
	slices.SortFunc(all, func(x, y Client) int {
		return cmp.Or(cmp.Compare(x.ConnectTime, y.ConnectTime), strings.Compare(x.RemoteAddress, y.RemoteAddress))
	})
}
