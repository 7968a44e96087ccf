// Package fleet is what is known of all daemons at one moment: the nodes, and the
// topics and channels that they hold, summed over them. A Snapshot is made by the
// sampler and never changes afterwards, so any number of readers hold it without a
// lock. It is pure: no clock, no I/O.
//
// Depths and counts are integers of 64 bits; what leaves the process for a browser
// sends them as strings.
package fleet

import "time"

// Snapshot is everything at the moment At. Slices are sorted by name or address.
type Snapshot struct {
	At       time.Time
	Took     time.Duration // from the first question to the last answer
	Period   time.Duration // until the next one, as planned
	Nodes    []*Node
	Lookupds []Lookupd
	Topics   []*Topic
	Totals   Figures
	Troubles []Trouble // the worst first
}

// Figures are sums over nodes (of a channel), over channels (of a topic's Total), or
// over all. Rates are per second, over the last few samples.
type Figures struct {
	Depth    int64 // in line: could be delivered now
	OnDisk   int64 // of Depth
	InFlight int64
	Deferred int64
	Dead     int64
	Messages uint64 // that came, since the daemons' starts
	Requeued uint64
	TimedOut uint64
	Finished uint64
	Clients  int

	Rates
}

// Rates are messages per second. A rate that is not known yet is negative.
type Rates struct {
	In, Out, Requeue, Timeout float64
}

// Node is a queue daemon.
type Node struct {
	Address          string // host:port of its HTTP API, which names it in URLs
	BroadcastAddress string
	Hostname         string
	TCPPort          int
	HTTPPort         int
	Version          string // NSQ's version that it speaks as
	Millrace         bool   // it is a qd, and has what HTTP.md lists beyond nsqd's API
	OutOfDate        bool   // a newer version is in use
	RemoteAddresses  []string
	Lookups          []string // addresses of the lookupds that list it; empty without lookupds
	Zone, Region     string

	Up      bool      // the last poll was answered
	Error   string    // why it was not
	Seen    time.Time // when a poll was last answered; zero: never
	Started time.Time
	Health  string // OK, or what is wrong; as /ping and /stats say
	State   string // ready, failing, draining, stopping; empty if it is not told
	Drain   *Drain // while it drains

	DiskFree, DiskSize uint64 // bytes of the file system of its data path; 0: not told
	MemoryUsed         uint64 // bytes that messages take; 0: not told
	MemoryLimit        uint64
	Tombstoned         []string // topics hidden there, by a lookupd
	Topics             []NodeTopic
	Total              Figures
}

// Drain is how far a draining node is.
type Drain struct {
	Since, Deadline time.Time // Deadline is zero if there is none
	Messages        int64     // that are waited for
	InFlight        int64
	Consumers       int
}

// NodeTopic is a topic's part on one node.
type NodeTopic struct {
	Name string
	Node string // its Address
	Figures
	Bytes      uint64 // published since the node's start
	Paused     bool
	Pause      *Pause
	Durability string // empty on nsqd
	LogBytes   int64
	Segments   int
	Oldest     time.Time
	Damaged    uint64
	Lost       uint64
	Policy     Policy
	Latency    []Percentile // worst of the nodes
	Channels   []NodeChannel
}

// NodeChannel is a channel's part on one node.
type NodeChannel struct {
	Name string
	Node string
	Figures
	Paused      bool
	Pause       *Pause
	MaxAttempts int
	Latency     []Percentile
}

// Policy is what was set for a topic; zero is none.
type Policy struct {
	RetentionAge   time.Duration
	RetentionBytes int64
	MaxMessages    int64
	MaxBytes       int64
	Overflow       string
}

// Percentile is a quantile of the time from publish to finish.
type Percentile struct {
	Quantile float64
	Value    time.Duration
}

// Pause says who paused something and why, as far as the node knows.
type Pause struct {
	Reason string
	By     string
	Since  time.Time
	Until  time.Time // zero: until somebody resumes it
}

// Topic is a topic over all nodes.
type Topic struct {
	Name     string
	Figures          // of the topic itself: what came in; Depth is what no channel has asked for yet
	Total    Figures // with its channels
	Paused   bool    // on one node at least
	Pause    *Pause
	Latency  []Percentile
	Nodes    []NodeTopic
	Channels []*Channel
	Troubles []Trouble // its own and its channels', the worst first
}

// Channel is a channel over all nodes.
type Channel struct {
	Topic, Name string
	Figures
	Paused   bool // on one node at least
	Pause    *Pause
	Latency  []Percentile
	Nodes    []NodeChannel
	Troubles []Trouble
	// DrainedIn is when the backlog will be gone if all goes on as in the last minutes;
	// 0 if there is none, negative if it does not shrink or that is not known.
	DrainedIn time.Duration
}

// Lookupd is a lookup daemon that the admin asks.
type Lookupd struct {
	Address string // host:port of its HTTP API
	Up      bool
	Error   string
	Version string
	Nodes   int // that it lists
}

// Severity is how bad something is.
type Severity uint8

// The severities. A Note is worth knowing, a Warning should be looked at in the
// day, a Failure now.
const (
	Note Severity = iota + 1
	Warning
	Failure
)

// Trouble is something that is wrong, and why, in words.
type Trouble struct {
	Severity       Severity
	Kind           string // a stable word: growing, no-consumer, timeouts, requeues, dead, paused, disk, disk-failed, node-down, draining, lookup-down, damaged, memory, stuck, full, no-channel, lookups (that disagree), versions, tombstoned
	Topic, Channel string // empty if it is not about one
	Node           string
	Reason         string    // a sentence with figures, without a full stop
	Since          time.Time // when it was first seen; zero if that is not known
}

// Client is a connection of a consumer or producer, read when somebody looks.
type Client struct {
	Node          string
	Topic         string // that it has subscribed to; empty if it is a producer
	Channel       string
	ID            string // client_id: what it calls itself
	Connection    string // what names the connection on its node, for disconnecting it; empty on nsqd
	Hostname      string
	RemoteAddress string
	UserAgent     string
	Connected     time.Time
	State         int // nsqd's number: 3 subscribed, 4 closing
	Ready         int64
	InFlight      int64
	Messages      uint64
	Finished      uint64
	Requeued      uint64
	TimedOut      uint64
	SampleRate    int
	TLS           bool
	TLSVersion    string
	CipherSuite   string
	Deflate       bool
	Snappy        bool
	Authed        bool
	AuthIdentity  string
	Zone, Region  string
	LastActive    time.Time     // of its last command; zero: not told
	NextTimeout   time.Time     // when the first of what it holds times out; zero: not told, or nothing
	Holds         time.Duration // how long it has held a message lately, on average; 0: not told
	Idle          string        // why it gets nothing, in words; empty if it does
	Published     []Published
}

// Published is how many messages a connection has published to a topic.
type Published struct {
	Topic string
	Count uint64
}
