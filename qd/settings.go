package qd

import (
	"io/fs"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/internal/secure"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
)

// Settings are a daemon's. Names, meanings and, where not said otherwise,
// defaults are those of nsqd's flags.
type Settings struct {
	// Addresses to listen on: host:port or the path of a socket file, or several
	// with commas, of which the first host:port is what others are told. Port 0 is
	// any free one. An empty HTTPAddress is no HTTP. The defaults are on loopback:
	// to be reached from elsewhere is a decision.
	TCPAddress, HTTPAddress string
	UnixSocketMode          fs.FileMode // permissions of socket files
	// BroadcastAddress is the host that lookupd and its clients are told; empty
	// is the host of TCPAddress, or the machine's name if that is any address.
	BroadcastAddress                    string
	BroadcastTCPPort, BroadcastHTTPPort int // 0 is the port listened on
	LookupdTCPAddresses                 []string
	LookupConnectTimeout, LookupTimeout time.Duration
	// LookupdTLS has lookupds spoken to over TLS alone. LookupdTLSRootCAFile signs
	// their certificates; empty is the machine's own authorities. The certificate
	// and key, both or none, are what they are shown. Files are in PEM form.
	LookupdTLS                     bool
	LookupdTLSRootCAFile           string
	LookupdTLSCert, LookupdTLSKey  string
	LookupdTLSSkipVerify           bool   // believe any certificate
	DataPath                       string // empty is the current directory
	LogLevel, LogFormat, LogPrefix string // for whoever makes the logger that Listen is given: LogSettings

	// Durability is what OK means to publishers of topics for which nothing else
	// was set.
	Durability broker.Level
	// SegmentBytes is the size of a file of a topic's log.
	SegmentBytes int64
	// MinFreeDisk is how many bytes must be free on the disk: with less, what
	// would be written to logs is refused.
	MinFreeDisk int64

	// MemQueueSize is how many messages a topic, and each of its channels, keeps
	// in memory; more go to disk. nsqd's default is 10,000; memory is bounded by
	// MemLimit here, so it can be large.
	MemQueueSize int
	// MemLimit bounds the memory of all messages together, in bytes; beyond it
	// all topics write to disk what they can.
	MemLimit int64
	// MaxBytesPerFile and SyncEvery (in records of about 256 KiB) are for what
	// topics of level memory have on disk. SyncTimeout is the longest time between
	// fsyncs of that, and of the logs at level disk.
	MaxBytesPerFile int64
	SyncEvery       int64
	SyncTimeout     time.Duration

	MsgTimeout, MaxMsgTimeout, MaxReqTimeout time.Duration
	MaxMsgSize, MaxBodySize                  int // bytes
	MaxHeartbeatInterval                     time.Duration
	MaxRdyCount                              int64
	MaxChannelConsumers                      int // 0 is any number
	MaxOutputBufferSize                      int // bytes

	// What one client, one address and one topic may have of what is there for all; 0 is
	// any number. TCP connections are counted apart from those of HTTP and HTTPS, of which
	// there may be as many. A client is whoever it has proved to be, or its address. All of
	// them can be reloaded; connections and topics that are there stay.
	MaxConnections, MaxConnectionsPerAddress        int
	MaxPublishBytes, MaxPublishMessages             int64 // a second, to a topic
	ClientMaxPublishBytes, ClientMaxPublishMessages int64 // a second, of a client
	ClientMaxTopics, ClientMaxChannels              int   // that exist and that it created since the start
	OutputBufferTimeout, MinOutputBufferTimeout     time.Duration
	MaxOutputBufferTimeout                          time.Duration

	// TLS, for TCP and for HTTPS. The root signs clients' certificates, and auth
	// servers' too.
	secure.Settings

	// Compression that clients may ask for.
	Snappy, Deflate bool
	MaxDeflateLevel int // 1 to 9

	// AuthHTTPAddresses are servers of NSQ's auth protocol, host:port or URLs: if
	// there are any, clients must AUTH before they publish or subscribe.
	AuthHTTPAddresses     []string
	AuthHTTPRequestMethod string // get or post

	// AuditFile gets a line of JSON for everything that changes something; empty is no audit
	// log. Needs a restart, but the file is opened anew by a reload.
	AuditFile string

	// Origins say who has decided on the settings, for /config; nil: nobody has.
	Origins *program.Origins
	// Reread reads the settings again, for Reload: whoever has read them gives it. nil:
	// nothing can be reloaded. Together, if not nil, is what Reload does instead, where a
	// process has several daemons, which are reloaded all or not at all.
	Reread   func() (*Settings, error)
	Together func() (program.Reloaded, error)

	// AccessFile says who may do what, over TCP and HTTP alike; empty lets everybody do
	// everything, but for what AuthHTTPAddresses decide. With both, what either allows
	// over TCP is allowed. It is read again when it changes.
	AccessFile string
	// LookupdTokenFile holds the token that lookupds are shown; empty is none. It is
	// read for each connection to one.
	LookupdTokenFile string
	// Policy decides, in place of an AccessFile, who may do what over HTTP and HTTPS. It
	// is not asked about TCP clients.
	Policy access.Policy

	// Where this daemon is, and what of it is on trial; the one experiment that
	// there is prefers consumers of the same zone, then region.
	TopologyRegion, TopologyZone string
	EnableExperiments            []string

	// Statsd: to which UDP address, if any, metrics are pushed, and how.
	StatsdAddress          string
	StatsdInterval         time.Duration
	StatsdPrefix           string // %s in it is this daemon's host and port
	StatsdMemStats         bool
	StatsdUDPPacketSize    int // bytes
	StatsdExcludeEphemeral bool

	// MetricsMaxTopics is how many topics have series of their own at /metrics, and
	// four times as many channels; the rest are summed.
	MetricsMaxTopics int

	// E2EPercentiles are the quantiles of the time from publish to FIN that are
	// shown, each above 0 and at most 1; those of the last E2EWindow.
	E2EPercentiles []float64
	E2EWindow      time.Duration

	// DrainTimeout is how long Terminate lets consumers finish what there is while
	// publishes are refused; 0 is not at all. The stop comes after it, and docker
	// kills after ten seconds unless it is told otherwise.
	DrainTimeout time.Duration
	// StopTimeout is how long a stop waits for consumers to answer what they
	// hold, so that they need not get it again after a restart.
	StopTimeout time.Duration
}

// Defaults returns the settings of a daemon that is told nothing.
func Defaults() Settings {
	return Settings{
		TCPAddress: "127.0.0.1:4150", HTTPAddress: "127.0.0.1:4151", UnixSocketMode: listen.DefaultMode,
		LookupConnectTimeout: 2 * time.Second, LookupTimeout: 5 * time.Second,
		LogLevel:   "info",
		Durability: broker.Disk, SegmentBytes: 64 << 20, MinFreeDisk: 64 << 20,
		MemQueueSize: 1_000_000, MemLimit: defaultMemLimit(),
		MaxBytesPerFile: 100 << 20, SyncEvery: 2500, SyncTimeout: 2 * time.Second,
		MsgTimeout: time.Minute, MaxMsgTimeout: 15 * time.Minute, MaxReqTimeout: time.Hour,
		MaxMsgSize: protocol.DefaultMaxMessageSize, MaxBodySize: protocol.DefaultMaxBodySize,
		MaxHeartbeatInterval: time.Minute, MaxRdyCount: 2500,
		MaxOutputBufferSize: 64 << 10,
		OutputBufferTimeout: 250 * time.Millisecond, MinOutputBufferTimeout: 25 * time.Millisecond,
		MaxOutputBufferTimeout: 30 * time.Second,
		Settings:               secure.Defaults("127.0.0.1:4152"),
		Snappy:                 true, Deflate: true, MaxDeflateLevel: 6,
		AuthHTTPRequestMethod: "get",
		StatsdInterval:        time.Minute, StatsdPrefix: "nsq.%s", StatsdMemStats: true, StatsdUDPPacketSize: 508,
		MetricsMaxTopics: 500,
		E2EWindow:        10 * time.Minute,
		DrainTimeout:     5 * time.Second,
		StopTimeout:      2 * time.Second,
	}
}
