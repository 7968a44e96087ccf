package lookupd

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/millrace-mq/millrace/internal/program"
)

// Settings is what an operator can choose. The zero value is not usable: start
// from DefaultSettings.
type Settings struct {
	// TCPAddress is the host:port that daemons register at. Port 0 takes a
	// free one.
	TCPAddress string
	// HTTPAddress is the host:port that consumers and tools ask at. Port 0
	// takes a free one.
	HTTPAddress string
	// BroadcastAddress is the host that daemons are told to send their HTTP
	// requests to. If empty it is HTTPAddress's host or, when that stands for
	// every interface, this machine's name.
	BroadcastAddress string
	// InactiveProducerTimeout is how long a daemon may be silent before it is
	// left out of lookups; positive. Daemons speak every 15 seconds.
	InactiveProducerTimeout time.Duration
	// TombstoneLifetime is how long a tombstone hides a daemon from lookups of
	// the topic; 0 makes tombstones hide nothing.
	TombstoneLifetime time.Duration
	// PeerTimeout is how long a daemon's connection may be silent before it is
	// closed and all that the daemon registered is forgotten; 30 seconds at
	// least, two of the intervals at which daemons speak.
	PeerTimeout time.Duration
	// LogLevel is the least that is logged: debug, info, warn, error or fatal.
	// It is for whoever makes the logger that Listen is given.
	LogLevel string
}

const minPeerTimeout = 30 * time.Second

// DefaultSettings returns NSQ's defaults, but for listening on loopback only.
func DefaultSettings() Settings {
	return Settings{
		TCPAddress:              "127.0.0.1:4160",
		HTTPAddress:             "127.0.0.1:4161",
		InactiveProducerTimeout: 5 * time.Minute,
		TombstoneLifetime:       45 * time.Second,
		PeerTimeout:             2 * time.Minute,
		LogLevel:                "info",
	}
}

// Flags declares a flag for every setting on fs. What s holds is the default.
func (s *Settings) Flags(fs *flag.FlagSet) {
	fs.StringVar(&s.TCPAddress, "tcp-address", s.TCPAddress, "`host:port` that daemons register at")
	fs.StringVar(&s.HTTPAddress, "http-address", s.HTTPAddress, "`host:port` that consumers and tools ask at")
	fs.StringVar(&s.BroadcastAddress, "broadcast-address", s.BroadcastAddress, "`host` that daemons are told to reach the HTTP face at (default the one it listens on)")
	fs.DurationVar(&s.InactiveProducerTimeout, "inactive-producer-timeout", s.InactiveProducerTimeout, "`time` after which a silent daemon is left out of lookups")
	fs.DurationVar(&s.TombstoneLifetime, "tombstone-lifetime", s.TombstoneLifetime, "`time` for which a tombstone hides a daemon from lookups of a topic")
	fs.DurationVar(&s.PeerTimeout, "peer-timeout", s.PeerTimeout, "`time` after which a silent daemon's connection is closed")
	fs.StringVar(&s.LogLevel, "log-level", s.LogLevel, "`level` from which on to log: debug, info, warn, error or fatal")
}

// Validate reports every setting that cannot be, joined into one error.
func (s Settings) Validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := checkAddress(s.TCPAddress); err != nil {
		complain("tcp-address %q: %w", s.TCPAddress, err)
	}
	if err := checkAddress(s.HTTPAddress); err != nil {
		complain("http-address %q: %w", s.HTTPAddress, err)
	}
	if s.InactiveProducerTimeout <= 0 {
		complain("inactive-producer-timeout %s: must be positive", s.InactiveProducerTimeout)
	}
	if s.TombstoneLifetime < 0 {
		complain("tombstone-lifetime %s: must not be negative", s.TombstoneLifetime)
	}
	if s.PeerTimeout < minPeerTimeout {
		complain("peer-timeout %s: must be %s at least, for daemons speak every 15s", s.PeerTimeout, minPeerTimeout)
	}
	if _, _, err := program.Logger(io.Discard, s.LogLevel); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.New("must be host:port")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("the port must be a number from 0 to 65535")
	}
	return nil
}

// broadcastHost is the host that daemons are told, hostname being the
// machine's name.
func (s Settings) broadcastHost(hostname string) string {
	if s.BroadcastAddress != "" {
		return s.BroadcastAddress
	}
	host, _, _ := net.SplitHostPort(s.HTTPAddress)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return hostname
	}
	return host
}

// hostname is the machine's name, or localhost on a machine that has none.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
