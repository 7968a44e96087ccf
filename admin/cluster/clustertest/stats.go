package clustertest

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

// Client is a connection, as /stats shows it. Millrace's fields stand at the end, and are
// left out by stock nsqd.
type Client struct {
	ClientID       string     `json:"client_id"`
	Hostname       string     `json:"hostname"`
	Version        string     `json:"version"`
	RemoteAddress  string     `json:"remote_address"`
	State          int        `json:"state"`
	ReadyCount     int64      `json:"ready_count"`
	InFlightCount  int64      `json:"in_flight_count"`
	MessageCount   uint64     `json:"message_count"`
	FinishCount    uint64     `json:"finish_count"`
	RequeueCount   uint64     `json:"requeue_count"`
	ConnectTime    int64      `json:"connect_ts"`
	SampleRate     int        `json:"sample_rate"`
	Deflate        bool       `json:"deflate"`
	Snappy         bool       `json:"snappy"`
	UserAgent      string     `json:"user_agent"`
	Authed         bool       `json:"authed,omitempty"`
	AuthIdentity   string     `json:"auth_identity,omitempty"`
	TopologyZone   string     `json:"topology_zone"`
	TopologyRegion string     `json:"topology_region"`
	PubCounts      []PubCount `json:"pub_counts,omitempty"`
	TLS            bool       `json:"tls"`
	TLSCipherSuite string     `json:"tls_cipher_suite"`
	TLSVersion     string     `json:"tls_version"`

	Connection   string `json:"connection,omitempty"`
	TimeoutCount uint64 `json:"timeout_count,omitempty"`
	LastActive   int64  `json:"last_active,omitempty"`
	NextTimeout  int64  `json:"next_timeout,omitempty"`
	HeldNS       int64  `json:"held_ns,omitempty"`
}

// PubCount is how many messages a connection has published to a topic.
type PubCount struct {
	Topic string `json:"topic"`
	Count uint64 `json:"count"`
}

// The answers of /stats, in the daemons' order. What is ours alone stands in a struct of
// its own, which stock nsqd's lack.
type (
	statsView struct {
		Version   string      `json:"version"`
		Health    string      `json:"health"`
		Started   int64       `json:"start_time"`
		Topics    []topicView `json:"topics"`
		Producers []Client    `json:"producers"`
		Node      *nodeView   `json:"node,omitempty"`
	}
	nodeView struct {
		State       string `json:"state"`
		DiskFree    uint64 `json:"disk_free"`
		DiskSize    uint64 `json:"disk_size"`
		MemoryUsed  uint64 `json:"memory_used"`
		MemoryLimit uint64 `json:"memory_limit"`
	}
	topicView struct {
		Name     string        `json:"topic_name"`
		Channels []channelView `json:"channels"`
		Depth    int64         `json:"depth"`
		OnDisk   int64         `json:"backend_depth"`
		Messages uint64        `json:"message_count"`
		Bytes    uint64        `json:"message_bytes"`
		Paused   bool          `json:"paused"`
		Latency  latencyView   `json:"e2e_processing_latency"`
		*topicOurs
	}
	topicOurs struct {
		Durability string `json:"durability"`
		Segments   int    `json:"log_segments"`
		LogBytes   int64  `json:"log_bytes"`
		Oldest     int64  `json:"oldest,omitempty"`
		Damaged    uint64 `json:"damaged_records"`
		Lost       uint64 `json:"lost_count"`
		Policy
		Pause *pauseView `json:"pause,omitempty"`
	}
	channelView struct {
		Name     string      `json:"channel_name"`
		Depth    int64       `json:"depth"`
		OnDisk   int64       `json:"backend_depth"`
		InFlight int64       `json:"in_flight_count"`
		Deferred int64       `json:"deferred_count"`
		Messages uint64      `json:"message_count"`
		Requeued uint64      `json:"requeue_count"`
		TimedOut uint64      `json:"timeout_count"`
		Count    int         `json:"client_count"`
		Clients  []Client    `json:"clients"`
		Paused   bool        `json:"paused"`
		Latency  latencyView `json:"e2e_processing_latency"`
		*channelOurs
	}
	channelOurs struct {
		Finished    uint64     `json:"finished_count"`
		Emptied     uint64     `json:"emptied_count"`
		Dropped     uint64     `json:"dropped_count"`
		Lost        uint64     `json:"lost_count"`
		Dead        int        `json:"dead_count"`
		Buried      uint64     `json:"buried_count"`
		Revived     uint64     `json:"revived_count"`
		Deleted     uint64     `json:"deleted_count"`
		MaxAttempts int        `json:"max_attempts"`
		Pause       *pauseView `json:"pause,omitempty"`
	}
	latencyView struct {
		Count       int          `json:"count"`
		Percentiles []percentile `json:"percentiles"`
	}
	percentile struct {
		Quantile float64 `json:"quantile"`
		Value    float64 `json:"value"`
	}
	pauseView struct {
		Reason string `json:"reason,omitempty"`
		By     string `json:"by,omitempty"`
		Since  int64  `json:"since,omitempty"`
		Until  int64  `json:"until,omitempty"`
	}
)

func (n *Node) stats(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	clients := q.Get("include_clients") != "false" && q.Get("include_clients") != "0"
	var v statsView
	n.Change(func(d *Daemon) {
		v = statsView{Version: d.Version, Health: d.Health, Started: d.Started.Unix()}
		v.Topics = n.topicViews(d, q.Get("topic"), q.Get("channel"), clients)
		if clients && len(d.Producers) > 0 {
			v.Producers = n.clients(d.Producers)
		}
		if !n.Stock {
			v.Node = &nodeView{d.State, d.DiskFree, d.DiskSize, d.MemoryUsed, d.MemoryLimit}
		}
	})
	reply(w, v)
}

func (n *Node) topicViews(d *Daemon, topic, channel string, clients bool) []topicView {
	all := make([]topicView, 0, len(d.Topics))
	for _, name := range slices.Sorted(maps.Keys(d.Topics)) {
		if topic != "" && topic != name {
			continue
		}
		t := d.Topics[name]
		v := topicView{
			Name: name, Channels: n.channelViews(t, channel, clients), Depth: t.Depth, OnDisk: t.OnDisk,
			Messages: t.Messages, Bytes: t.Bytes, Paused: t.Paused, Latency: latency(t.Percentiles),
		}
		if !n.Stock {
			v.topicOurs = &topicOurs{
				Durability: t.Durability, Segments: t.Segments, LogBytes: t.LogBytes, Oldest: nanoseconds(t.Oldest),
				Damaged: t.Damaged, Lost: t.Lost, Policy: t.Policy, Pause: t.Pause.view(t.Paused),
			}
		}
		all = append(all, v)
	}
	return all
}

func (n *Node) channelViews(t *Topic, channel string, clients bool) []channelView {
	all := make([]channelView, 0, len(t.Channels))
	for _, name := range slices.Sorted(maps.Keys(t.Channels)) {
		if channel != "" && channel != name {
			continue
		}
		c := t.Channels[name]
		v := channelView{
			Name: name, Depth: c.Depth, OnDisk: c.OnDisk, InFlight: c.InFlight, Deferred: c.Deferred,
			Messages: c.Messages, Requeued: c.Requeued, TimedOut: c.TimedOut, Count: len(c.Clients),
			Paused: c.Paused, Latency: latency(c.Percentiles),
		}
		if clients {
			v.Clients = n.clients(c.Clients)
		}
		if !n.Stock {
			v.channelOurs = &channelOurs{
				Finished: c.Finished, Dead: c.Dead(), Buried: c.Buried, Revived: c.Revived, Deleted: c.Deleted,
				MaxAttempts: c.MaxAttempts, Pause: c.Pause.view(c.Paused),
			}
		}
		all = append(all, v)
	}
	return all
}

// clients is a copy of connections, without what stock nsqd does not tell.
func (n *Node) clients(of []Client) []Client {
	all := append([]Client{}, of...)
	for i := range all {
		c := &all[i]
		if n.Stock {
			c.Connection, c.TimeoutCount, c.LastActive, c.NextTimeout, c.HeldNS = "", 0, 0, 0, 0
		}
	}
	return all
}

func latency(percentiles map[float64]time.Duration) (v latencyView) {
	for _, q := range slices.Backward(slices.Sorted(maps.Keys(percentiles))) {
		v.Percentiles = append(v.Percentiles, percentile{q, float64(percentiles[q])})
		v.Count = 1000
	}
	return v
}

// view is a pause as /stats shows it, if there is one.
func (p Pause) view(paused bool) *pauseView {
	if !paused {
		return nil
	}
	return &pauseView{p.Reason, p.By, nanoseconds(p.Since), nanoseconds(p.Until)}
}

// nanoseconds is a time as our API tells it; 0 if there is none.
func nanoseconds(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixNano()
}

func (n *Node) info(w http.ResponseWriter, _ *http.Request) {
	host, port := n.hostPort()
	n.Change(func(d *Daemon) {
		reply(w, map[string]any{
			"version": d.Version, "broadcast_address": host, "hostname": d.Hostname, "http_port": port,
			"tcp_port": port - 1, "start_time": d.Started.Unix(), "topology_zone": d.Zone, "topology_region": d.Region,
		})
	})
}

func (n *Node) ping(w http.ResponseWriter, _ *http.Request) {
	n.Change(func(d *Daemon) {
		if d.Health != "OK" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		reply(w, d.Health)
	})
}
