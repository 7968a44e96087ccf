package lookupd

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/internal/secure"
)

// Settings is what an operator can choose. The zero value is not usable: start
// from DefaultSettings.
type Settings struct {
	// TCPAddress is where daemons register: host:port, or the path of a socket
	// file, or several with commas, of which the first host:port is the one that
	// is told. Port 0 takes a free one.
	TCPAddress string
	// HTTPAddress is where consumers and tools ask, likewise.
	HTTPAddress string
	// UnixSocketMode is the permissions of socket files.
	UnixSocketMode fs.FileMode
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
	// MaxConnections and MaxConnectionsPerAddress are how many daemons' connections there may
	// be, in all and from one address, and as many of HTTP and HTTPS, counted apart. Connections
	// that do not say who they are go first. 0 is any number, as in what follows. All four can be
	// reloaded; what is there stays.
	MaxConnections, MaxConnectionsPerAddress int
	// ProducerMaxTopics is how many topics one daemon may register, on one connection, and
	// ProducerMaxChannels how many channels of each.
	ProducerMaxTopics, ProducerMaxChannels int
	// TLS, for both faces, which take it beside what is plain: TCPAddress on the same
	// port, HTTP at HTTPSAddress. The root signs daemons' and clients' certificates.
	secure.Settings
	// Origins say who has decided on the settings, for /config; nil: nobody has.
	Origins *program.Origins
	// Reread reads the settings again, for Reload: whoever has read them gives it. nil:
	// nothing can be reloaded. Together, if not nil, is what Reload does instead, where a
	// process has several daemons, which are reloaded all or not at all.
	Reread   func() (*Settings, error)
	Together func() (program.Reloaded, error)
	// AuditFile gets a line of JSON for everything that changes something; empty is no audit
	// log. Needs a restart, but the file is opened anew by a reload.
	AuditFile string
	// AccessFile says who may register, find daemons and change things; empty lets
	// everybody. It is read again when it changes.
	AccessFile string
	// Policy decides that in place of an AccessFile.
	Policy access.Policy
	// LogLevel is the least that is logged: debug, info, warn, error or fatal.
	// LogFormat is auto, text or json. LogPrefix stands before each line. They are for
	// whoever makes the logger that Listen is given.
	LogLevel, LogFormat, LogPrefix string
	// Level is what a change of LogLevel sets: that of the logger that Listen is given. nil
	// is none.
	Level *slog.LevelVar
}

const minPeerTimeout = 30 * time.Second

// DefaultSettings returns NSQ's defaults, but for listening on loopback only.
func DefaultSettings() Settings {
	return Settings{
		TCPAddress:              "127.0.0.1:4160",
		HTTPAddress:             "127.0.0.1:4161",
		UnixSocketMode:          listen.DefaultMode,
		InactiveProducerTimeout: 5 * time.Minute,
		TombstoneLifetime:       45 * time.Second,
		PeerTimeout:             2 * time.Minute,
		Settings:                secure.Defaults("127.0.0.1:4162"),
		LogLevel:                "info",
	}
}

// Flags declares a flag for every setting on fs. What s holds is the default.
func (s *Settings) Flags(fs *flag.FlagSet) {
	fs.Var(listen.Flag(&s.TCPAddress), "tcp-address", "`address` that daemons register at, host:port or the path of a socket file; may be repeated")
	fs.Var(listen.Flag(&s.HTTPAddress), "http-address", "`address` that consumers and tools ask at, likewise")
	fs.Var((*listen.Mode)(&s.UnixSocketMode), "unix-socket-mode", "`permissions` of socket files, in octal")
	fs.StringVar(&s.BroadcastAddress, "broadcast-address", s.BroadcastAddress, "`host` that daemons are told to reach the HTTP face at (default the one it listens on)")
	fs.DurationVar(&s.InactiveProducerTimeout, "inactive-producer-timeout", s.InactiveProducerTimeout, "`time` after which a silent daemon is left out of lookups")
	fs.DurationVar(&s.TombstoneLifetime, "tombstone-lifetime", s.TombstoneLifetime, "`time` for which a tombstone hides a daemon from lookups of a topic")
	fs.DurationVar(&s.PeerTimeout, "peer-timeout", s.PeerTimeout, "`time` after which a silent daemon's connection is closed")
	fs.IntVar(&s.MaxConnections, "max-connections", s.MaxConnections, "the most `connections` of daemons, and as many of HTTP clients (0 is any number)")
	fs.IntVar(&s.MaxConnectionsPerAddress, "max-connections-per-address", s.MaxConnectionsPerAddress, "the most `connections` from one address, likewise (0 is any number)")
	fs.IntVar(&s.ProducerMaxTopics, "producer-max-topics", s.ProducerMaxTopics, "the most `topics` that a daemon may register (0 is any number)")
	fs.IntVar(&s.ProducerMaxChannels, "producer-max-channels", s.ProducerMaxChannels, "the most `channels` of each that it may register (0 is any number)")
	s.TLSFlags(fs, "daemons' and clients'")
	fs.StringVar(&s.AccessFile, "access-file", s.AccessFile, "`file` that says who may register, find daemons and manage; read again when it changes (default everybody may)")
	fs.StringVar(&s.AuditFile, "audit-file", s.AuditFile, "`file` that gets a line of JSON for everything that changes something: who, from where, what, and what became of it")
	fs.StringVar(&s.LogLevel, "log-level", s.LogLevel, "`level` from which on to log: debug, info, warn, error or fatal")
	program.LogFormatFlag(fs, &s.LogFormat)
	fs.StringVar(&s.LogPrefix, "log-prefix", s.LogPrefix, "`text` before each line that is logged; in JSON the key prefix")
	fs.Bool("verbose", false, "")
	program.Obsolete(fs, "verbose", "say --log-level=debug")
}

// LogSettings say how to make the logger that Listen is given.
func (s *Settings) LogSettings() program.LogSettings {
	return program.LogSettings{Level: s.LogLevel, Format: s.LogFormat, Prefix: s.LogPrefix}
}

// Validate reports every setting that cannot be, joined into one error.
func (s Settings) Validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, a := range []struct {
		flag, list string
		optional   bool
	}{{"tcp-address", s.TCPAddress, false}, {"http-address", s.HTTPAddress, false}, {"https-address", s.HTTPSAddress, true}} {
		if err := listen.Check(a.list); err != nil {
			complain("%s %w", a.flag, err)
		} else if len(listen.Split(a.list)) == 0 && !a.optional {
			complain("%s %q: must be host:port, or the path of a socket file", a.flag, a.list)
		}
	}
	if s.BroadcastAddress != "" {
		if err := listen.CheckBroadcast(s.BroadcastAddress); err != nil {
			complain("broadcast-address %q: %w: give one that daemons can connect to", s.BroadcastAddress, err)
		}
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
	if s.AccessFile != "" && s.Policy != nil {
		complain("access-file %q: must be left out where a Policy is given", s.AccessFile)
	}
	for _, l := range []struct {
		flag  string
		value int
	}{
		{"max-connections", s.MaxConnections}, {"max-connections-per-address", s.MaxConnectionsPerAddress},
		{"producer-max-topics", s.ProducerMaxTopics}, {"producer-max-channels", s.ProducerMaxChannels},
	} {
		if l.value < 0 {
			complain("%s %d: must be 0 or more", l.flag, l.value)
		}
	}
	s.CheckTLS(func(ok bool, flag string, value any, rule string) {
		if !ok {
			complain("%s %v: must be %s", flag, value, rule)
		}
	})
	return errors.Join(append(errs, s.LogSettings().Check())...)
}

// broadcastHost is the host that daemons are told, hostname being the
// machine's name.
func (s Settings) broadcastHost(hostname string) string {
	return cmp.Or(strings.Trim(s.BroadcastAddress, "[]"), listen.Host(s.HTTPAddress), hostname)
}

// hostname is the machine's name, or localhost on a machine that has none.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
