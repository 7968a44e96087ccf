package qd

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
)

// Settings are a daemon's. Names, meanings and, where not said otherwise,
// defaults are those of nsqd's flags.
type Settings struct {
	// Addresses, host:port, to listen on. Port 0 is any free one. The defaults
	// are on loopback: to be reached from elsewhere is a decision.
	TCPAddress, HTTPAddress string
	// BroadcastAddress is the host that lookupd and its clients are told; empty
	// is the host of TCPAddress, or the machine's name if that is any address.
	BroadcastAddress                    string
	BroadcastTCPPort, BroadcastHTTPPort int // 0 is the port listened on
	LookupdTCPAddresses                 []string
	LookupConnectTimeout, LookupTimeout time.Duration
	DataPath                            string // empty is the current directory
	LogLevel                            string

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

	MsgTimeout, MaxMsgTimeout, MaxReqTimeout    time.Duration
	MaxMsgSize, MaxBodySize                     int // bytes
	MaxHeartbeatInterval                        time.Duration
	MaxRdyCount                                 int64
	MaxChannelConsumers                         int // 0 is any number
	MaxOutputBufferSize                         int // bytes
	OutputBufferTimeout, MinOutputBufferTimeout time.Duration
	MaxOutputBufferTimeout                      time.Duration

	// StopTimeout is how long a stop waits for consumers to answer what they
	// hold, so that they need not get it again after a restart.
	StopTimeout time.Duration
}

// Defaults returns the settings of a daemon that is told nothing.
func Defaults() Settings {
	return Settings{
		TCPAddress: "127.0.0.1:4150", HTTPAddress: "127.0.0.1:4151",
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
		StopTimeout:            2 * time.Second,
	}
}

// defaultMemLimit is a quarter of the machine's memory, or 1 GiB where that
// cannot be found out.
func defaultMemLimit() int64 {
	const fallback = 1 << 30
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return fallback
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				return kib << 10 / 4
			}
		}
	}
	return fallback
}

// Flags declares a flag for each setting, with nsqd's names.
func (s *Settings) Flags(fs *flag.FlagSet) {
	fs.StringVar(&s.TCPAddress, "tcp-address", s.TCPAddress, "`host:port` for TCP clients")
	fs.StringVar(&s.HTTPAddress, "http-address", s.HTTPAddress, "`host:port` for HTTP clients")
	fs.StringVar(&s.BroadcastAddress, "broadcast-address", s.BroadcastAddress, "`host` to register with lookupd (default the host of --tcp-address)")
	fs.IntVar(&s.BroadcastTCPPort, "broadcast-tcp-port", s.BroadcastTCPPort, "TCP `port` to register with lookupd (default the one listened on)")
	fs.IntVar(&s.BroadcastHTTPPort, "broadcast-http-port", s.BroadcastHTTPPort, "HTTP `port` to register with lookupd (default the one listened on)")
	fs.Var((*program.Strings)(&s.LookupdTCPAddresses), "lookupd-tcp-address", "`host:port` of a lookupd to register with; may be repeated")
	program.Alias(fs, "nsqlookupd-tcp-address", "lookupd-tcp-address")
	fs.DurationVar(&s.LookupConnectTimeout, "http-client-connect-timeout", s.LookupConnectTimeout, "time to connect to a lookupd")
	fs.DurationVar(&s.LookupTimeout, "http-client-request-timeout", s.LookupTimeout, "time for a request to a lookupd")
	s.StorageFlags(fs)
	fs.DurationVar(&s.MsgTimeout, "msg-timeout", s.MsgTimeout, "how long a consumer may hold a message before it is delivered again")
	fs.DurationVar(&s.MaxMsgTimeout, "max-msg-timeout", s.MaxMsgTimeout, "the longest message timeout, TOUCH included")
	fs.IntVar(&s.MaxMsgSize, "max-msg-size", s.MaxMsgSize, "the largest message, in `bytes`")
	fs.IntVar(&s.MaxBodySize, "max-body-size", s.MaxBodySize, "the largest body of a command or request, in `bytes`")
	fs.DurationVar(&s.MaxReqTimeout, "max-req-timeout", s.MaxReqTimeout, "the longest delay of a requeue or a deferred publish")
	fs.DurationVar(&s.MaxHeartbeatInterval, "max-heartbeat-interval", s.MaxHeartbeatInterval, "the longest heartbeat interval that a client may ask for")
	fs.Int64Var(&s.MaxRdyCount, "max-rdy-count", s.MaxRdyCount, "the most messages that a client may hold")
	fs.IntVar(&s.MaxOutputBufferSize, "max-output-buffer-size", s.MaxOutputBufferSize, "the largest output buffer that a client may ask for, in `bytes`")
	fs.DurationVar(&s.OutputBufferTimeout, "output-buffer-timeout", s.OutputBufferTimeout, "told to clients; messages are never held back")
	fs.DurationVar(&s.MinOutputBufferTimeout, "min-output-buffer-timeout", s.MinOutputBufferTimeout, "the shortest output buffer timeout that a client may ask for")
	fs.DurationVar(&s.MaxOutputBufferTimeout, "max-output-buffer-timeout", s.MaxOutputBufferTimeout, "the longest output buffer timeout that a client may ask for")
	fs.IntVar(&s.MaxChannelConsumers, "max-channel-consumers", s.MaxChannelConsumers, "the most consumers of a channel (0 is any number)")
	fs.DurationVar(&s.StopTimeout, "stop-timeout", s.StopTimeout, "how long a stop waits for consumers to answer what they hold")
	fs.StringVar(&s.LogLevel, "log-level", s.LogLevel, "`level`: debug, info, warn, error or fatal")
}

// StorageFlags declares the flags for where and how much is kept.
func (s *Settings) StorageFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.DataPath, "data-path", s.DataPath, "`directory` for what is kept on disk (default the current one)")
	fs.Var(&s.Durability, "durability", "`level`, what OK means to a publisher: memory, disk (survives the process) or fsync (survives a power cut)")
	fs.Int64Var(&s.SegmentBytes, "segment-bytes", s.SegmentBytes, "size of a log's files, in `bytes`")
	fs.Int64Var(&s.MinFreeDisk, "min-free-disk", s.MinFreeDisk, "free `bytes` on the disk below which publishes are refused")
	fs.IntVar(&s.MemQueueSize, "mem-queue-size", s.MemQueueSize, "`messages` kept in memory, per topic and channel; more go to disk")
	fs.Int64Var(&s.MemLimit, "mem-limit", s.MemLimit, "`bytes` of memory for all messages; beyond it they go to disk (default a quarter of the machine's)")
	fs.Int64Var(&s.MaxBytesPerFile, "max-bytes-per-file", s.MaxBytesPerFile, "size at which a new disk file is begun, in `bytes`")
	fs.Int64Var(&s.SyncEvery, "sync-every", s.SyncEvery, "`records` written to disk per fsync")
	fs.DurationVar(&s.SyncTimeout, "sync-timeout", s.SyncTimeout, "the longest time between fsyncs of what is on disk")
}

// Validate returns all that is wrong with the settings, joined.
func (s *Settings) Validate() error {
	var errs []error
	complain := func(ok bool, flag string, value any, rule string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s %v: must be %s", flag, value, rule))
		}
	}
	hostPort := func(flag, address string) {
		_, _, err := net.SplitHostPort(address)
		complain(err == nil, flag, address, "host:port")
	}
	hostPort("tcp-address", s.TCPAddress)
	hostPort("http-address", s.HTTPAddress)
	for _, address := range s.LookupdTCPAddresses {
		hostPort("lookupd-tcp-address", address)
	}
	complain(s.SegmentBytes >= 1<<20 && s.SegmentBytes <= 1<<30, "segment-bytes", s.SegmentBytes, "from 1048576 to 1073741824")
	complain(s.MinFreeDisk >= 0, "min-free-disk", s.MinFreeDisk, "0 or more")
	complain(s.MemQueueSize >= 0, "mem-queue-size", s.MemQueueSize, "0 or more")
	complain(s.MemLimit > 0, "mem-limit", s.MemLimit, "positive")
	complain(s.MaxBytesPerFile > 0, "max-bytes-per-file", s.MaxBytesPerFile, "positive")
	complain(s.SyncEvery > 0, "sync-every", s.SyncEvery, "positive")
	complain(s.SyncTimeout > 0, "sync-timeout", s.SyncTimeout, "positive")
	complain(s.MaxMsgSize > 0 && s.MaxMsgSize <= 1<<30, "max-msg-size", s.MaxMsgSize, "from 1 to 1073741824")
	complain(s.MaxBodySize > 0 && s.MaxBodySize <= 1<<30, "max-body-size", s.MaxBodySize, "from 1 to 1073741824")
	complain(s.MsgTimeout > 0 && s.MsgTimeout <= s.MaxMsgTimeout, "msg-timeout", s.MsgTimeout, "positive and no longer than max-msg-timeout")
	complain(s.MaxReqTimeout >= 0, "max-req-timeout", s.MaxReqTimeout, "0 or more")
	complain(s.MaxHeartbeatInterval >= time.Second, "max-heartbeat-interval", s.MaxHeartbeatInterval, "1s or more")
	complain(s.MaxRdyCount > 0, "max-rdy-count", s.MaxRdyCount, "positive")
	complain(s.MaxChannelConsumers >= 0, "max-channel-consumers", s.MaxChannelConsumers, "0 or more")
	complain(s.StopTimeout >= 0, "stop-timeout", s.StopTimeout, "0 or more")
	return errors.Join(errs...)
}
