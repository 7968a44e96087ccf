package millrace

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Dialer opens connections; (*net.Dialer).DialContext is one.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Connection says how daemons are spoken to. The zero value is right for a
// daemon that asks for nothing.
type Connection struct {
	DialTimeout       time.Duration // to connect and be greeted, and for the whole of a lookupd's answer; 0 stands for 5 s
	WriteTimeout      time.Duration // for one write to a daemon that does not read; 0 stands for 10 s
	HeartbeatInterval time.Duration // at least 1 s; 0 leaves it to the daemon (30 s). Silence of two is death

	// TLS, if set, is what every connection to a daemon is upgraded with; one
	// that does not offer TLS is refused. The name to verify is the host of the
	// daemon's address unless ServerName is set. LookupTLS is for lookupds given
	// as https URLs; nil stands for TLS without its ServerName.
	TLS       *tls.Config
	LookupTLS *tls.Config

	// Compression is asked of daemons; one that does not offer it is spoken to
	// without. DeflateLevel is 1 to 9; 0 stands for 6.
	Compression  Compression
	DeflateLevel int

	// AuthSecret is said with AUTH to a daemon that requires it. To one that
	// does not, it is not sent.
	AuthSecret string

	// Region and Zone say where this program runs. Daemons of the same zone, then
	// of the same region, are preferred by a Writer that finds them through
	// lookupds; a daemon that serves near consumers first is told them.
	Region, Zone string

	Log  *slog.Logger // nil discards
	Dial Dialer       // for daemons and lookupds; nil stands for net.Dialer's

	ClientID  string // what the daemon's statistics show; "" stands for Hostname up to its first dot
	Hostname  string // "" stands for the machine's
	UserAgent string // "" stands for "millrace-go"
}

// Compression is how what is sent and received is compressed.
type Compression uint8

const (
	None Compression = iota
	Snappy
	Deflate
)

const (
	defaultDialTimeout  = 5 * time.Second
	defaultWriteTimeout = 10 * time.Second
	defaultDeflateLevel = 6
)

func (c *Connection) complete() error {
	errs := []error{
		setDefault("DialTimeout", &c.DialTimeout, defaultDialTimeout),
		setDefault("WriteTimeout", &c.WriteTimeout, defaultWriteTimeout),
		checkInterval("HeartbeatInterval", c.HeartbeatInterval),
	}
	if c.Compression > Deflate {
		errs = append(errs, fmt.Errorf("Compression: %d is none of None, Snappy and Deflate", c.Compression))
	}
	if c.DeflateLevel < 0 || c.DeflateLevel > 9 {
		errs = append(errs, fmt.Errorf("DeflateLevel: %d not in 0-9", c.DeflateLevel))
	}
	if c.DeflateLevel == 0 {
		c.DeflateLevel = defaultDeflateLevel
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Hostname == "" {
		c.Hostname, _ = os.Hostname() // a name for statistics: none is fine
	}
	if c.ClientID == "" {
		c.ClientID, _, _ = strings.Cut(c.Hostname, ".")
	}
	if c.UserAgent == "" {
		c.UserAgent = "millrace-go"
	}
	return errors.Join(errs...)
}

func (c *Connection) dialer() dialer {
	d := dialer{
		dial: c.Dial, timeout: c.DialTimeout, writeTimeout: c.WriteTimeout, heartbeat: c.HeartbeatInterval,
		layers: layers{c.TLS, c.Compression}, secret: c.AuthSecret, dialing: make(chan struct{}, maxDialing),
		identify: protocol.IdentifyRequest{
			ClientID: c.ClientID, Hostname: c.Hostname, UserAgent: c.UserAgent, FeatureNegotiation: true,
			HeartbeatInterval: int(c.HeartbeatInterval / time.Millisecond),
			TopologyRegion:    c.Region, TopologyZone: c.Zone,
			Extension: &protocol.ExtensionRequest{},
		},
	}
	d.layers.ask(&d.identify, c.DeflateLevel)
	return d
}

func setDefault[T int | time.Duration](name string, v *T, otherwise T) error {
	if *v < 0 {
		return fmt.Errorf("%s: %v must not be negative", name, *v)
	}
	if *v == 0 {
		*v = otherwise
	}
	return nil
}

// checkInterval refuses what every daemon refuses, which saves a Reader from
// trying it for ever.
func checkInterval(name string, d time.Duration) error {
	if d != 0 && d < time.Second {
		return fmt.Errorf("%s: %v must be 0 or at least 1s", name, d)
	}
	return nil
}

func checkAddresses(addresses []string) (errs []error) {
	for _, a := range addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			errs = append(errs, fmt.Errorf("address %q must be host:port: %w", a, err))
		}
	}
	return errs
}
