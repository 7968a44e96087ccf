package api

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/session"
)

// The order of the fields is nsqd's; ours come last.
type stats struct {
	Version   string        `json:"version"`
	Health    string        `json:"health"`
	StartTime int64         `json:"start_time"`
	Topics    []topicStats  `json:"topics"` // null when the one asked for does not exist
	Memory    *memoryStats  `json:"memory,omitempty"`
	Producers []clientStats `json:"producers"` // null when there are none, or no topics
}

type topicStats struct {
	Name         string         `json:"topic_name"`
	Channels     []channelStats `json:"channels"`
	Depth        int            `json:"depth"`
	BackendDepth int            `json:"backend_depth"`
	MessageCount uint64         `json:"message_count"`
	MessageBytes uint64         `json:"message_bytes"`
	Paused       bool           `json:"paused"`
	Latency      latencyStats   `json:"e2e_processing_latency"`

	Durability broker.Level `json:"durability"`
	*logStats
	policyStats
}

type channelStats struct {
	Name          string        `json:"channel_name"`
	Depth         int           `json:"depth"`
	BackendDepth  int           `json:"backend_depth"`
	InFlightCount int           `json:"in_flight_count"`
	DeferredCount int           `json:"deferred_count"`
	MessageCount  uint64        `json:"message_count"`
	RequeueCount  uint64        `json:"requeue_count"`
	TimeoutCount  uint64        `json:"timeout_count"`
	ClientCount   int           `json:"client_count"`
	Clients       []clientStats `json:"clients"` // null when they were not asked for
	Paused        bool          `json:"paused"`
	Latency       latencyStats  `json:"e2e_processing_latency"`

	// Where messages went, so that the books can be balanced: finished, emptied
	// by an operator, dropped by an ephemeral channel or for a bound, damaged on
	// disk. If the topic has a log, the last are those alone that had been delivered
	// or deferred: the others never enter the channel, and the topic counts them.
	FinishedCount uint64 `json:"finished_count"`
	EmptiedCount  uint64 `json:"emptied_count"`
	DroppedCount  uint64 `json:"dropped_count"`
	LostCount     uint64 `json:"lost_count"`

	// Dead messages: how many there are, and how many have died, were put in line
	// again, or deleted, since the channel was opened.
	DeadCount    int    `json:"dead_count"`
	BuriedCount  uint64 `json:"buried_count"`
	RevivedCount uint64 `json:"revived_count"`
	DeletedCount uint64 `json:"deleted_count"`
	MaxAttempts  int    `json:"max_attempts"` // 0 is any number
}

// latencyStats says that no latencies are measured.
type latencyStats struct {
	Count       int        `json:"count"`
	Percentiles []struct{} `json:"percentiles"`
}

type clientStats struct {
	ClientID       string     `json:"client_id"`
	Hostname       string     `json:"hostname"`
	Version        string     `json:"version"`
	RemoteAddress  string     `json:"remote_address"`
	State          int        `json:"state"`
	ReadyCount     int        `json:"ready_count"`
	InFlightCount  int        `json:"in_flight_count"`
	MessageCount   uint64     `json:"message_count"`
	FinishCount    uint64     `json:"finish_count"`
	RequeueCount   uint64     `json:"requeue_count"`
	ConnectTime    int64      `json:"connect_ts"`
	SampleRate     int32      `json:"sample_rate"`
	Deflate        bool       `json:"deflate"`
	Snappy         bool       `json:"snappy"`
	UserAgent      string     `json:"user_agent"`
	Authed         bool       `json:"authed,omitempty"`
	TopologyZone   string     `json:"topology_zone"`
	TopologyRegion string     `json:"topology_region"`
	PubCounts      []pubCount `json:"pub_counts,omitempty"`

	TLS                           bool   `json:"tls"`
	TLSCipherSuite                string `json:"tls_cipher_suite"`
	TLSVersion                    string `json:"tls_version"`
	TLSNegotiatedProtocol         string `json:"tls_negotiated_protocol"`
	TLSNegotiatedProtocolIsMutual bool   `json:"tls_negotiated_protocol_is_mutual"`
}

type pubCount struct {
	Topic string `json:"topic"`
	Count uint64 `json:"count"`
}

// stateNumbers are nsqd's. It stays at 0 until SUB.
var stateNumbers = map[protocol.State]int{protocol.StateSubscribed: 3, protocol.StateClosing: 4}

// selection is what of the stats is asked for.
type selection struct {
	topic, channel  string // empty is all
	clients, memory bool
}

// stats is /stats, as JSON or as text for people.
func (a *api) stats(_ *http.Request, q url.Values) (any, error) {
	s := a.gather(selection{
		topic: q.Get("topic"), channel: q.Get("channel"),
		clients: wanted(q.Get("include_clients")), memory: wanted(q.Get("include_mem")),
	})
	if q.Get("format") == "json" {
		return s, nil
	}
	return a.text(s), nil
}

// wanted reads a parameter that is true unless it is false.
func wanted(value string) bool { return value != "false" && value != "0" }

func (a *api) gather(s selection) stats {
	all := stats{
		Version: protocol.Version, Health: a.health(), StartTime: a.Info.StartTime.Unix(),
		Topics: a.topics(s),
	}
	if s.clients && all.Topics != nil {
		all.Producers = a.producers(s.topic)
	}
	if s.memory {
		all.Memory = readMemory()
	}
	return all
}

// topics leaves out the topics that do not have the channel asked for, and
// returns nil if there is no topic of the name asked for.
func (a *api) topics(s selection) []topicStats {
	found := a.Broker.Topics
	if s.topic != "" {
		t, err := a.Broker.Find(s.topic)
		if err != nil {
			return nil
		}
		found = func() []*broker.Topic { return []*broker.Topic{t} }
	}
	all := []topicStats{}
	for _, t := range found() {
		snapshot := topicStats{Name: t.Name()}
		var members []member
		t.View(func(core *queue.Topic) { members = snapshot.read(core, s) })
		if s.channel != "" && len(snapshot.Channels) == 0 {
			continue
		}
		snapshot.introduce(members, s.topic)
		snapshot.readLog(t)
		slices.SortFunc(snapshot.Channels, func(x, y channelStats) int { return strings.Compare(x.Name, y.Name) })
		all = append(all, snapshot)
	}
	return all
}

// member is a consumer as its channel knows it.
type member struct {
	channel int // index among the topic's
	owner   any
	stats   clientStats
}

// read takes what is asked for from a topic. It runs under the topic's lock, so
// it copies numbers and no more. What a connection says of itself is behind the
// connection's lock, and waits until the topic's is free.
func (t *topicStats) read(core *queue.Topic, s selection) (members []member) {
	t.Depth, t.BackendDepth = core.Depth(), core.DiskDepth()
	t.MessageCount, t.MessageBytes = core.Published()
	t.Paused = core.Paused()
	t.Channels = []channelStats{}
	for _, c := range core.Channels() {
		if s.channel != "" && c.Name() != s.channel {
			continue
		}
		t.Channels = append(t.Channels, readChannel(c))
		if !s.clients {
			continue
		}
		i := len(t.Channels) - 1
		t.Channels[i].Clients = make([]clientStats, 0, c.ConsumerCount())
		c.Consumers(func(k *queue.Consumer, ready, inFlight int, delivered, finished, requeued uint64) {
			members = append(members, member{i, k.Owner, clientStats{
				ReadyCount: ready, InFlightCount: inFlight,
				MessageCount: delivered, FinishCount: finished, RequeueCount: requeued,
			}})
		})
	}
	return members
}

func readChannel(c *queue.Channel) channelStats {
	counts := c.Counts()
	return channelStats{
		Name: c.Name(), Depth: c.Depth(), BackendDepth: c.DiskDepth(),
		InFlightCount: c.InFlight(), DeferredCount: c.Deferred(), MessageCount: c.Entered(),
		RequeueCount: counts.Requeued, TimeoutCount: counts.TimedOut,
		ClientCount: c.ConsumerCount(), Paused: c.Paused(),
		FinishedCount: counts.Finished, EmptiedCount: counts.Emptied,
		DroppedCount: counts.Dropped, LostCount: counts.Lost,
		DeadCount: c.Dead(), BuriedCount: counts.Buried, RevivedCount: counts.Revived,
		DeletedCount: counts.Deleted, MaxAttempts: c.MaxAttempts(),
	}
}

// introduce adds what the members' connections say of themselves, and lists
// them with their channels, the longest connected first.
func (t *topicStats) introduce(members []member, topic string) {
	for _, m := range members {
		if client, ok := holder(m.owner); ok {
			m.stats.describe(client, topic)
		}
		c := &t.Channels[m.channel]
		c.Clients = append(c.Clients, m.stats)
	}
	for i := range t.Channels {
		sortClients(t.Channels[i].Clients)
	}
}

// producers returns the connections that have published. Those that have not
// published to topic, if one is named, come without counts.
func (a *api) producers(topic string) (all []clientStats) {
	for _, c := range a.Clients() {
		if len(c.PubCounts) > 0 {
			var s clientStats
			s.describe(c, topic)
			all = append(all, s)
		}
	}
	sortClients(all)
	return all
}

func sortClients(all []clientStats) {
	slices.SortFunc(all, func(x, y clientStats) int {
		return cmp.Or(cmp.Compare(x.ConnectTime, y.ConnectTime), strings.Compare(x.RemoteAddress, y.RemoteAddress))
	})
}

// describe fills in what a connection says of itself, with what it has
// published to topic; to all of them if topic is empty.
func (s *clientStats) describe(c session.Client, topic string) {
	s.ClientID, s.Hostname, s.Version = c.ID, c.Hostname, "V2"
	s.RemoteAddress, s.UserAgent = c.RemoteAddress, c.UserAgent
	s.State, s.ConnectTime, s.SampleRate = stateNumbers[c.State], c.Connected.Unix(), c.SampleRate
	s.Deflate, s.Snappy, s.TLS, s.Authed = c.Deflate, c.Snappy, c.TLS, c.Authed
	s.TopologyZone, s.TopologyRegion = c.TopologyZone, c.TopologyRegion
	for name, n := range c.PubCounts {
		if topic == "" || topic == name {
			s.PubCounts = append(s.PubCounts, pubCount{name, n})
		}
	}
	slices.SortFunc(s.PubCounts, func(x, y pubCount) int { return strings.Compare(x.Topic, y.Topic) })
}
