package qd

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/program"
)

// Flags declares a flag for each setting, with nsqd's names.
func (s *Settings) Flags(fs *flag.FlagSet) {
	fs.Var(listen.Flag(&s.TCPAddress), "tcp-address", "`address` for TCP clients, host:port or the path of a socket file; may be repeated, the first is the one registered with lookupd")
	fs.Var(listen.Flag(&s.HTTPAddress), "http-address", "`address` for HTTP clients, likewise; empty is none")
	fs.Var((*listen.Mode)(&s.UnixSocketMode), "unix-socket-mode", "`permissions` of socket files, in octal")
	fs.StringVar(&s.BroadcastAddress, "broadcast-address", s.BroadcastAddress, "`host` to register with lookupd (default the host of --tcp-address)")
	fs.IntVar(&s.BroadcastTCPPort, "broadcast-tcp-port", s.BroadcastTCPPort, "TCP `port` to register with lookupd (default the one listened on)")
	fs.IntVar(&s.BroadcastHTTPPort, "broadcast-http-port", s.BroadcastHTTPPort, "HTTP `port` to register with lookupd (default the one listened on)")
	fs.Var((*program.Strings)(&s.LookupdTCPAddresses), "lookupd-tcp-address", "`address` of a lookupd to register with, host:port or the path of a socket file; may be repeated")
	program.Alias(fs, "nsqlookupd-tcp-address", "lookupd-tcp-address")
	program.Key(fs, "nsqlookupd_tcp_addresses", "lookupd-tcp-address")
	s.lookupTLSFlags(fs)
	fs.DurationVar(&s.LookupConnectTimeout, "http-client-connect-timeout", s.LookupConnectTimeout, "time to connect to a lookupd or an auth server")
	fs.DurationVar(&s.LookupTimeout, "http-client-request-timeout", s.LookupTimeout, "time for a request to a lookupd, or to all auth servers")
	s.StorageFlags(fs)
	fs.DurationVar(&s.MsgTimeout, "msg-timeout", s.MsgTimeout, "how long a consumer may hold a message before it is delivered again")
	fs.DurationVar(&s.MaxMsgTimeout, "max-msg-timeout", s.MaxMsgTimeout, "the longest message timeout, TOUCH included")
	fs.IntVar(&s.MaxMsgSize, "max-msg-size", s.MaxMsgSize, "the largest message, in `bytes`")
	fs.IntVar(&s.MaxBodySize, "max-body-size", s.MaxBodySize, "the largest body of a command or request, in `bytes`")
	fs.DurationVar(&s.MaxReqTimeout, "max-req-timeout", s.MaxReqTimeout, "the longest delay of a requeue or a deferred publish")
	fs.DurationVar(&s.MaxHeartbeatInterval, "max-heartbeat-interval", s.MaxHeartbeatInterval, "the longest heartbeat interval that a client may ask for")
	fs.Int64Var(&s.MaxRdyCount, "max-rdy-count", s.MaxRdyCount, "the most `messages` that a client may hold")
	fs.IntVar(&s.MaxOutputBufferSize, "max-output-buffer-size", s.MaxOutputBufferSize, "the largest output buffer that a client may ask for, in `bytes`")
	fs.DurationVar(&s.OutputBufferTimeout, "output-buffer-timeout", s.OutputBufferTimeout, "told to clients; messages are never held back")
	fs.DurationVar(&s.MinOutputBufferTimeout, "min-output-buffer-timeout", s.MinOutputBufferTimeout, "the shortest output buffer timeout that a client may ask for")
	fs.DurationVar(&s.MaxOutputBufferTimeout, "max-output-buffer-timeout", s.MaxOutputBufferTimeout, "the longest output buffer timeout that a client may ask for")
	fs.IntVar(&s.MaxChannelConsumers, "max-channel-consumers", s.MaxChannelConsumers, "the most `consumers` of a channel (0 is any number)")
	s.limitFlags(fs)
	s.accessFlags(fs)
	s.measureFlags(fs)
	s.DrainFlag(fs)
	fs.DurationVar(&s.StopTimeout, "stop-timeout", s.StopTimeout, "how long a stop waits for consumers to answer what they hold")
	fs.StringVar(&s.LogLevel, "log-level", s.LogLevel, "`level`: debug, info, warn, error or fatal")
	program.LogFormatFlag(fs, &s.LogFormat)
	fs.StringVar(&s.LogPrefix, "log-prefix", s.LogPrefix, "`text` before each line that is logged; in JSON the key prefix")
	obsoleteFlags(fs)
}

// lookupTLSFlags declares the flags for TLS to lookupds.
func (s *Settings) lookupTLSFlags(fs *flag.FlagSet) {
	fs.BoolVar(&s.LookupdTLS, "lookupd-tls", s.LookupdTLS, "speak TLS to lookupds, from the first byte, and HTTPS when they are asked for channels")
	fs.StringVar(&s.LookupdTokenFile, "lookupd-token-file", s.LookupdTokenFile, "`file` with the token to show to lookupds; read for each connection")
	fs.StringVar(&s.LookupdTLSRootCAFile, "lookupd-tls-root-ca-file", s.LookupdTLSRootCAFile, "`file` with the certificates that sign lookupds' ones, PEM; read again when it changes (default the machine's authorities)")
	fs.StringVar(&s.LookupdTLSCert, "lookupd-tls-cert", s.LookupdTLSCert, "`file` with the certificate to show to lookupds, PEM; read again when it changes")
	fs.StringVar(&s.LookupdTLSKey, "lookupd-tls-key", s.LookupdTLSKey, "`file` with that certificate's key, PEM")
	fs.BoolVar(&s.LookupdTLSSkipVerify, "lookupd-tls-insecure-skip-verify", s.LookupdTLSSkipVerify, "believe any certificate of a lookupd; for trials")
}

// obsoleteFlags declares what nsqd has, and what means nothing here.
func obsoleteFlags(fs *flag.FlagSet) {
	fs.Bool("verbose", false, "")
	program.Obsolete(fs, "verbose", "say --log-level=debug")
	fs.Bool("worker-id", false, "")
	program.Obsolete(fs, "worker-id", noNodeID)
	fs.Var(new(nodeID), "node-id", "")
	program.Key(fs, "id", "node-id")
	program.Obsolete(fs, "node-id", noNodeID)
	const noScan = "timeouts are not scanned for, each is known when it is due"
	fs.Int("queue-scan-worker-pool-max", 4, "")
	program.Obsolete(fs, "queue-scan-worker-pool-max", noScan)
	fs.Int("queue-scan-selection-count", 20, "")
	program.Obsolete(fs, "queue-scan-selection-count", noScan)
}

const noNodeID = "message IDs are drawn from a counter in the data path"

// nodeID is a flag that only looks at its value, as nsqd does.
type nodeID int

func (n *nodeID) String() string { return strconv.Itoa(int(*n)) }

func (n *nodeID) Get() any { return int(*n) }

func (n *nodeID) Set(v string) error {
	id, err := strconv.Atoi(v)
	if err != nil || id < 0 || id >= 1024 {
		return errors.New("must be " + n.Expects())
	}
	*n = nodeID(id)
	return nil
}

// Expects says what is taken.
func (n *nodeID) Expects() string { return "a whole number from 0 to 1023" }

// StorageFlags declares the flags for where and how much is kept.
func (s *Settings) StorageFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.DataPath, "data-path", s.DataPath, "`directory` for what is kept on disk (default the current one)")
	fs.Var(&s.Durability, "durability", "`level`, what OK means to a publisher: memory, disk (survives the process) or fsync (survives a power cut)")
	fs.Int64Var(&s.SegmentBytes, "segment-bytes", s.SegmentBytes, "size of a log's files, in `bytes`")
	fs.Int64Var(&s.MinFreeDisk, "min-free-disk", s.MinFreeDisk, "free `bytes` on the disk below which publishes are refused")
	fs.IntVar(&s.MemQueueSize, "mem-queue-size", s.MemQueueSize, "`messages` kept in memory, per topic and channel; more go to disk")
	fs.Int64Var(&s.MemLimit, "mem-limit", s.MemLimit, "`bytes` of memory for all messages; beyond it they go to disk (default a quarter of the machine's, or of the control group's limit)")
	fs.Int64Var(&s.MaxBytesPerFile, "max-bytes-per-file", s.MaxBytesPerFile, "size at which a new disk file is begun, in `bytes`")
	fs.Int64Var(&s.SyncEvery, "sync-every", s.SyncEvery, "`records` written to disk per fsync")
	fs.DurationVar(&s.SyncTimeout, "sync-timeout", s.SyncTimeout, "the longest time between fsyncs of what is on disk")
}

// limitFlags declares the flags for how much one client, address or topic may have.
func (s *Settings) limitFlags(fs *flag.FlagSet) {
	fs.IntVar(&s.MaxConnections, "max-connections", s.MaxConnections, "the most `connections` of TCP clients, and as many of HTTP clients (0 is any number)")
	fs.IntVar(&s.MaxConnectionsPerAddress, "max-connections-per-address", s.MaxConnectionsPerAddress, "the most `connections` from one address, likewise (0 is any number)")
	fs.Int64Var(&s.MaxPublishBytes, "max-publish-bytes-per-second", s.MaxPublishBytes, "the most `bytes` a second that a topic takes (0 is any number)")
	fs.Int64Var(&s.MaxPublishMessages, "max-publish-messages-per-second", s.MaxPublishMessages, "the most `messages` a second that a topic takes (0 is any number)")
	fs.Int64Var(&s.ClientMaxPublishBytes, "client-max-publish-bytes-per-second", s.ClientMaxPublishBytes, "the most `bytes` a second that a client may publish (0 is any number)")
	fs.Int64Var(&s.ClientMaxPublishMessages, "client-max-publish-messages-per-second", s.ClientMaxPublishMessages, "the most `messages` a second that a client may publish (0 is any number)")
	fs.IntVar(&s.ClientMaxTopics, "client-max-topics", s.ClientMaxTopics, "the most `topics` there may be that one client has created since the start (0 is any number)")
	fs.IntVar(&s.ClientMaxChannels, "client-max-channels", s.ClientMaxChannels, "the most `channels` there may be that one client has created since the start (0 is any number)")
}

// DrainFlag declares the flag for what SIGTERM does.
func (s *Settings) DrainFlag(fs *flag.FlagSet) {
	fs.DurationVar(&s.DrainTimeout, "drain-timeout", s.DrainTimeout, "how long after SIGTERM publishes are refused and consumers may finish what there is (0 is not at all)")
}

// accessFlags declares the flags for who gets in, and how.
func (s *Settings) accessFlags(fs *flag.FlagSet) {
	s.TLSFlags(fs, "clients' and auth servers'")
	fs.BoolVar(&s.Snappy, "snappy", s.Snappy, "let clients ask for Snappy compression")
	fs.BoolVar(&s.Deflate, "deflate", s.Deflate, "let clients ask for Deflate compression")
	fs.IntVar(&s.MaxDeflateLevel, "max-deflate-level", s.MaxDeflateLevel, "the highest Deflate `level` that a client may ask for, 1 to 9")
	fs.StringVar(&s.AccessFile, "access-file", s.AccessFile, "`file` that says who may publish, subscribe, look and manage, over TCP and HTTP; read again when it changes (default everybody may)")
	fs.StringVar(&s.AuditFile, "audit-file", s.AuditFile, "`file` that gets a line of JSON for everything that changes something: who, from where, what, and what became of it")
	fs.Var((*program.Strings)(&s.AuthHTTPAddresses), "auth-http-address", "`host:port` or URL of an auth server; may be repeated")
	program.Key(fs, "auth_http_addresses", "auth-http-address")
	fs.StringVar(&s.AuthHTTPRequestMethod, "auth-http-request-method", s.AuthHTTPRequestMethod, "`method` of requests to auth servers: get or post")
	fs.StringVar(&s.TopologyRegion, "topology-region", s.TopologyRegion, "the `region` that this daemon is in")
	fs.StringVar(&s.TopologyZone, "topology-zone", s.TopologyZone, "the `zone` of the region")
	fs.Var((*program.Strings)(&s.EnableExperiments), "enable-experiment", "`name` of what is to be tried: topology-aware-consumption; may be repeated")
}

// measureFlags declares the flags for what is measured, and who is told.
func (s *Settings) measureFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.StatsdAddress, "statsd-address", s.StatsdAddress, "UDP `host:port` of a statsd to push metrics to")
	fs.DurationVar(&s.StatsdInterval, "statsd-interval", s.StatsdInterval, "time between pushes to statsd")
	fs.StringVar(&s.StatsdPrefix, "statsd-prefix", s.StatsdPrefix, "`prefix` of statsd's names; %s is this daemon's host and port")
	fs.BoolVar(&s.StatsdMemStats, "statsd-mem-stats", s.StatsdMemStats, "push figures of the process's memory, too")
	fs.IntVar(&s.StatsdUDPPacketSize, "statsd-udp-packet-size", s.StatsdUDPPacketSize, "the largest packet to statsd, in `bytes`")
	fs.BoolVar(&s.StatsdExcludeEphemeral, "statsd-exclude-ephemeral", s.StatsdExcludeEphemeral, "leave out ephemeral topics and channels")
	fs.IntVar(&s.MetricsMaxTopics, "metrics-max-topics", s.MetricsMaxTopics, "`topics` with series of their own at /metrics, and four times as many channels; the rest are summed")
	fs.Var((*quantiles)(&s.E2EPercentiles), "e2e-processing-latency-percentile", "`quantiles` of the time from publish to FIN to show, above 0 and at most 1, with commas; may be repeated")
	program.Key(fs, "e2e_processing_latency_percentiles", "e2e-processing-latency-percentile")
	fs.DurationVar(&s.E2EWindow, "e2e-processing-latency-window-time", s.E2EWindow, "how far back they look")
}

// quantiles is a flag for numbers that may be given several times, or once with
// commas. They are kept from the largest to the smallest.
type quantiles []float64

func (q *quantiles) String() string {
	var all []string
	for _, v := range *q {
		all = append(all, strconv.FormatFloat(v, 'g', -1, 64))
	}
	return strings.Join(all, ",")
}

func (q *quantiles) Get() any { return append([]float64{}, *q...) }

func (q *quantiles) Reset() { *q = nil }

func (q *quantiles) Repeatable() bool { return true }

func (q *quantiles) Set(v string) error {
	for part := range strings.SplitSeq(v, ",") {
		f, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", part)
		}
		*q = append(*q, f)
	}
	slices.SortFunc(*q, func(a, b float64) int { return cmp.Compare(b, a) })
	return nil
}

// LogSettings say how to make the logger that Listen is given.
func (s *Settings) LogSettings() program.LogSettings {
	return program.LogSettings{Level: s.LogLevel, Format: s.LogFormat, Prefix: s.LogPrefix}
}
