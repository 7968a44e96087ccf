package stats

import (
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/session"
)

// Client is a connection's figures: those of a consumer, with what it was sent
// and has answered, or of a producer, with what it has published.
type Client struct {
	ClientID        string     `json:"client_id"`
	Hostname        string     `json:"hostname"`
	Version         string     `json:"version"` // of the protocol
	RemoteAddress   string     `json:"remote_address"`
	State           int        `json:"state"` // nsqd's number
	ReadyCount      int        `json:"ready_count"`
	InFlightCount   int        `json:"in_flight_count"`
	MessageCount    uint64     `json:"message_count"`
	FinishCount     uint64     `json:"finish_count"`
	RequeueCount    uint64     `json:"requeue_count"`
	ConnectTime     int64      `json:"connect_ts"` // seconds since the Unix epoch
	SampleRate      int32      `json:"sample_rate"`
	Deflate         bool       `json:"deflate"`
	Snappy          bool       `json:"snappy"`
	UserAgent       string     `json:"user_agent"`
	Authed          bool       `json:"authed,omitempty"`
	AuthIdentity    string     `json:"auth_identity,omitempty"`
	AuthIdentityURL string     `json:"auth_identity_url,omitempty"`
	TopologyZone    string     `json:"topology_zone"`
	TopologyRegion  string     `json:"topology_region"`
	PubCounts       []PubCount `json:"pub_counts,omitempty"` // by topic

	TLS                           bool   `json:"tls"`
	TLSCipherSuite                string `json:"tls_cipher_suite"`
	TLSVersion                    string `json:"tls_version"`
	TLSNegotiatedProtocol         string `json:"tls_negotiated_protocol"`
	TLSNegotiatedProtocolIsMutual bool   `json:"tls_negotiated_protocol_is_mutual"`

	Connection   string `json:"connection"`             // its number, by which it can be disconnected
	TimeoutCount uint64 `json:"timeout_count"`          // messages that it did not answer in time
	LastActive   int64  `json:"last_active"`            // when its last command but NOP came, ns since the Unix epoch
	NextTimeout  int64  `json:"next_timeout,omitempty"` // when it will not have answered in time, likewise
	Held         int64  `json:"held_ns,omitempty"`      // from delivery to answer, the mean of its last answers
}

// PubCount is how many messages a connection has published to a topic.
type PubCount struct {
	Topic string `json:"topic"`
	Count uint64 `json:"count"`
}

// stateNumbers are nsqd's. It stays at 0 until SUB.
var stateNumbers = map[protocol.State]int{protocol.StateSubscribed: 3, protocol.StateClosing: 4}

// ClientOf is what the connection that has subscribed says of itself. owner is
// the consumer as its channel knows it; ok is false if it is no connection's.
func ClientOf(owner any) (c session.Client, ok bool) {
	if k, is := owner.(*broker.Consumer); is {
		if connection, is := k.Owner.(interface{ Client() session.Client }); is {
			return connection.Client(), true
		}
	}
	return c, false
}

// describe fills in what a connection says of itself, with what it has
// published to topic; to all of them if topic is empty.
func (s *Client) describe(c session.Client, topic string) {
	s.ClientID, s.Hostname, s.Version = c.ID, c.Hostname, "V2"
	s.RemoteAddress, s.UserAgent = c.RemoteAddress, c.UserAgent
	s.State, s.ConnectTime, s.SampleRate = stateNumbers[c.State], c.Connected.Unix(), c.SampleRate
	s.Deflate, s.Snappy = c.Deflate, c.Snappy
	s.Authed, s.AuthIdentity, s.AuthIdentityURL = c.Authed, c.AuthIdentity, c.AuthIdentityURL
	s.TopologyZone, s.TopologyRegion = c.TopologyZone, c.TopologyRegion
	s.TLS, s.TLSVersion, s.TLSCipherSuite = c.TLS, c.TLSVersion, c.TLSCipherSuite
	s.TLSNegotiatedProtocol = c.TLSNegotiatedProtocol
	s.Connection, s.LastActive = strconv.FormatUint(c.Connection, 10), c.LastActive.UnixNano()
	s.TLSNegotiatedProtocolIsMutual = c.TLS // as nsqd: Go's server only ever agrees
	for name, n := range c.PubCounts {
		if topic == "" || topic == name {
			s.PubCounts = append(s.PubCounts, PubCount{name, n})
		}
	}
	slices.SortFunc(s.PubCounts, func(x, y PubCount) int { return strings.Compare(x.Topic, y.Topic) })
}

// Connections is how many TCP connections there are, by how far they have come.
type Connections struct {
	Init, Subscribed, Closing int
	Producers                 int // of these, those that have published
}

// Connections counts them.
func (s *Source) Connections() (n Connections) {
	for _, c := range s.Clients() {
		switch c.State {
		case protocol.StateSubscribed:
			n.Subscribed++
		case protocol.StateClosing:
			n.Closing++
		default:
			n.Init++
		}
		if len(c.PubCounts) > 0 {
			n.Producers++
		}
	}
	return n
}
