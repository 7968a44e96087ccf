package api

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// These are nsqadmin's answers, field by field. What daemons tell is read into the
// same types; what nsqadmin adds is filled in.

// nsqProducer is a daemon.
type nsqProducer struct {
	RemoteAddresses  []string           `json:"remote_addresses"`
	RemoteAddress    string             `json:"remote_address"`
	Hostname         string             `json:"hostname"`
	BroadcastAddress string             `json:"broadcast_address"`
	TCPPort          int                `json:"tcp_port"`
	HTTPPort         int                `json:"http_port"`
	Version          string             `json:"version"`
	Zone             string             `json:"topology_zone,omitempty"`
	Region           string             `json:"topology_region,omitempty"`
	Topics           []nsqProducerTopic `json:"topics"`
	OutOfDate        bool               `json:"out_of_date"`

	address string // host:port where it is asked
}

type nsqProducerTopic struct {
	Topic      string `json:"topic"`
	Tombstoned bool   `json:"tombstoned"`
}

// nsqCounts are what topics and channels have in common.
type nsqCounts struct {
	Depth        int64 `json:"depth"`
	MemoryDepth  int64 `json:"memory_depth"`
	BackendDepth int64 `json:"backend_depth"`
}

func (c *nsqCounts) add(o nsqCounts) {
	c.Depth += o.Depth
	c.MemoryDepth += o.MemoryDepth
	c.BackendDepth += o.BackendDepth
}

// nsqDelivered is how many messages consumers in the same zone and region were given,
// and others.
type nsqDelivered struct {
	Zone   int64 `json:"zone_local_msg_count,omitempty"`
	Region int64 `json:"region_local_msg_count,omitempty"`
	Global int64 `json:"global_msg_count,omitempty"`
}

func (d *nsqDelivered) add(o nsqDelivered) {
	d.Zone += o.Zone
	d.Region += o.Region
	d.Global += o.Global
}

func (d *nsqDelivered) sum() int64 { return d.Zone + d.Region + d.Global }

// nsqTopic is a topic on a node, or on all.
type nsqTopic struct {
	Node      string `json:"node"`
	Hostname  string `json:"hostname"`
	TopicName string `json:"topic_name"`
	nsqCounts
	MessageCount     int64 `json:"message_count"`
	DeliveryMsgCount int64 `json:"delivery_msg_count"`
	nsqDelivered
	Nodes    []*nsqTopic   `json:"nodes"`
	Channels []*nsqChannel `json:"channels"`
	Paused   bool          `json:"paused"`
	Latency  *nsqLatency   `json:"e2e_processing_latency"`
}

// nsqChannel is a channel on a node, or on all.
type nsqChannel struct {
	Node        string `json:"node"`
	Hostname    string `json:"hostname"`
	TopicName   string `json:"topic_name"`
	ChannelName string `json:"channel_name"`
	nsqCounts
	InFlightCount    int64 `json:"in_flight_count"`
	DeferredCount    int64 `json:"deferred_count"`
	RequeueCount     int64 `json:"requeue_count"`
	TimeoutCount     int64 `json:"timeout_count"`
	MessageCount     int64 `json:"message_count"`
	DeliveryMsgCount int64 `json:"delivery_msg_count,omitempty"`
	nsqDelivered
	ClientCount int           `json:"client_count"`
	Nodes       []*nsqChannel `json:"nodes"`
	Clients     []*nsqClient  `json:"clients"`
	Paused      bool          `json:"paused"`
	Latency     *nsqLatency   `json:"e2e_processing_latency"`
}

// nsqClient is a consumer.
type nsqClient struct {
	Node            string        `json:"node"`
	RemoteAddress   string        `json:"remote_address"`
	Version         string        `json:"version"`
	ClientID        string        `json:"client_id"`
	Hostname        string        `json:"hostname"`
	UserAgent       string        `json:"user_agent"`
	ConnectTS       int64         `json:"connect_ts"`
	Connected       time.Duration `json:"connected"` // for how long, in whole seconds
	InFlightCount   int64         `json:"in_flight_count"`
	ReadyCount      int64         `json:"ready_count"`
	FinishCount     int64         `json:"finish_count"`
	RequeueCount    int64         `json:"requeue_count"`
	MessageCount    int64         `json:"message_count"`
	SampleRate      int32         `json:"sample_rate"`
	Deflate         bool          `json:"deflate"`
	Snappy          bool          `json:"snappy"`
	Authed          bool          `json:"authed"`
	AuthIdentity    string        `json:"auth_identity"`
	AuthIdentityURL string        `json:"auth_identity_url"`
	NodeRegion      string        `json:"node_topology_region,omitempty"`
	NodeZone        string        `json:"node_topology_zone,omitempty"`
	Region          string        `json:"topology_region,omitempty"`
	Zone            string        `json:"topology_zone,omitempty"`
	TLS             bool          `json:"tls"`
	CipherSuite     string        `json:"tls_cipher_suite"`
	TLSVersion      string        `json:"tls_version"`
	TLSProtocol     string        `json:"tls_negotiated_protocol"`
	TLSMutual       bool          `json:"tls_negotiated_protocol_is_mutual"`
}

// nsqLatency is how long messages take from publish to finish.
type nsqLatency struct {
	Count       int64           `json:"count"`
	Percentiles []nsqPercentile `json:"percentiles"`
	Topic       string          `json:"topic"`
	Channel     string          `json:"channel"`
	Host        string          `json:"host"`
}

// nsqPercentile is a percentile of one node, or of several: then it has no value.
type nsqPercentile struct {
	Quantile, Min, Max, Average, Count float64
	Value                              *float64
}

// MarshalJSON writes nsqadmin's keys, in the order in which it has them.
func (p nsqPercentile) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Average  float64  `json:"average"`
		Count    float64  `json:"count"`
		Max      float64  `json:"max"`
		Min      float64  `json:"min"`
		Quantile float64  `json:"quantile"`
		Value    *float64 `json:"value,omitempty"`
	}{p.Average, p.Count, p.Max, p.Min, p.Quantile, p.Value})
}

// UnmarshalJSON reads what a daemon tells.
func (l *nsqLatency) UnmarshalJSON(b []byte) error {
	var told struct {
		Count       int64 `json:"count"`
		Percentiles []struct {
			Quantile float64 `json:"quantile"`
			Value    float64 `json:"value"`
		} `json:"percentiles"`
	}
	if err := json.Unmarshal(b, &told); err != nil {
		return err
	}
	l.Count = told.Count
	for _, p := range told.Percentiles {
		v := p.Value
		l.Percentiles = append(l.Percentiles, nsqPercentile{p.Quantile, v, v, v, float64(told.Count), &v})
	}
	return nil
}

// add adds another node's. The average is weighted by how many messages each has seen.
func (l *nsqLatency) add(o *nsqLatency) {
	l.Host = "*"
	if o == nil {
		return
	}
	l.Count += o.Count
	for _, p := range o.Percentiles {
		i := slices.IndexFunc(l.Percentiles, func(q nsqPercentile) bool { return q.Quantile == p.Quantile })
		if i < 0 {
			p.Value = nil
			if p.Count == 0 {
				p.Average = 0
			}
			l.Percentiles = append(l.Percentiles, p)
			continue
		}
		sum := &l.Percentiles[i]
		sum.Max, sum.Min = max(sum.Max, p.Max), min(sum.Min, p.Min)
		if sum.Count += p.Count; sum.Count > 0 {
			sum.Average += (p.Average - sum.Average) * p.Count / sum.Count
		}
	}
}

// add adds a node's part of a topic.
func (t *nsqTopic) add(o *nsqTopic) {
	t.Node = "*"
	t.nsqCounts.add(o.nsqCounts)
	t.MessageCount += o.MessageCount
	t.DeliveryMsgCount += o.DeliveryMsgCount
	t.nsqDelivered.add(o.nsqDelivered)
	t.Paused = t.Paused || o.Paused
	t.Nodes = append(t.Nodes, o)
	if t.Latency == nil {
		t.Latency = &nsqLatency{Topic: t.TopicName}
	}
	t.Latency.add(o.Latency)
	for _, c := range o.Channels {
		i := slices.IndexFunc(t.Channels, func(sum *nsqChannel) bool { return sum.ChannelName == c.ChannelName })
		if i < 0 {
			i = len(t.Channels)
			t.Channels = append(t.Channels, &nsqChannel{TopicName: t.TopicName, ChannelName: c.ChannelName})
		}
		t.Channels[i].add(c)
	}
}

// add adds a node's part of a channel.
func (c *nsqChannel) add(o *nsqChannel) {
	c.Node = "*"
	c.nsqCounts.add(o.nsqCounts)
	c.InFlightCount += o.InFlightCount
	c.DeferredCount += o.DeferredCount
	c.RequeueCount += o.RequeueCount
	c.TimeoutCount += o.TimeoutCount
	c.MessageCount += o.MessageCount
	c.DeliveryMsgCount += o.DeliveryMsgCount
	c.nsqDelivered.add(o.nsqDelivered)
	c.ClientCount += o.ClientCount
	c.Paused = c.Paused || o.Paused
	c.Nodes = append(c.Nodes, o)
	c.Clients = append(c.Clients, o.Clients...)
	if c.Latency == nil {
		c.Latency = &nsqLatency{Topic: c.TopicName, Channel: c.ChannelName}
	}
	c.Latency.add(o.Latency)
}

// drop takes out what no daemon answers, so that nobody has to look for it.
func (t *nsqTopic) drop() {
	t.Channels = slices.DeleteFunc(t.Channels, func(c *nsqChannel) bool { return c == nil })
	for _, c := range t.Channels {
		c.Clients = slices.DeleteFunc(c.Clients, func(client *nsqClient) bool { return client == nil })
	}
}

// fill adds to what a node has told of a topic what nsqadmin knows beside it.
func (t *nsqTopic) fill(p *nsqProducer, now time.Time) {
	t.Node, t.Hostname, t.Nodes = p.address, p.Hostname, nil
	t.MemoryDepth = t.Depth - t.BackendDepth
	t.DeliveryMsgCount = t.nsqDelivered.sum()
	for _, c := range t.Channels {
		c.Node, c.Hostname, c.TopicName, c.Nodes = p.address, p.Hostname, t.TopicName, nil
		c.MemoryDepth = c.Depth - c.BackendDepth
		c.DeliveryMsgCount = c.nsqDelivered.sum()
		for _, client := range c.Clients {
			client.Node, client.NodeRegion, client.NodeZone = p.address, p.Region, p.Zone
			client.Connected = now.Truncate(time.Second).Sub(time.Unix(client.ConnectTS, 0))
		}
	}
}

// sortClients puts a node's consumers together, those near it first.
func sortClients(clients []*nsqClient) {
	far := func(c *nsqClient) int {
		switch {
		case c.Region == c.NodeRegion && c.Zone == c.NodeZone:
			return 0
		case c.Region == c.NodeRegion:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(clients, func(a, b *nsqClient) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(far(a), far(b)),
			cmp.Compare(a.Region, b.Region), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.RemoteAddress, b.RemoteAddress))
	})
}
