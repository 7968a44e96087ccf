package millrace

import (
	"context"
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

// WriterConfig says how a Writer works. Only Addresses must be set.
type WriterConfig struct {
	// Addresses are the TCP addresses (host:port) of queue daemons. Publishes
	// go to the first that answers; when it is gone, to the next.
	Addresses []string

	// MaxInFlight is how many asynchronous publishes may be unanswered, each of
	// which may be a batch. 0 stands for 100.
	MaxInFlight int

	DialTimeout       time.Duration // to connect to one address and be greeted; 0 stands for 5 s
	WriteTimeout      time.Duration // for one write to a daemon that does not read; 0 stands for 10 s
	HeartbeatInterval time.Duration // at least 1 s; 0 leaves it to the daemon (30 s). Silence of two is death

	Log  *slog.Logger // nil discards
	Dial Dialer       // nil stands for net.Dialer's

	ClientID  string // what the daemon's statistics show; "" stands for Hostname up to its first dot
	Hostname  string // "" stands for the machine's
	UserAgent string // "" stands for "millrace-go"
}

func (c *WriterConfig) complete() error {
	errs := checkAddresses(c.Addresses)
	if len(c.Addresses) == 0 {
		errs = append(errs, errors.New("no address is given"))
	}
	errs = append(errs, setDefault("MaxInFlight", &c.MaxInFlight, 100))
	errs = append(errs, setDefault("DialTimeout", &c.DialTimeout, defaultDialTimeout))
	errs = append(errs, setDefault("WriteTimeout", &c.WriteTimeout, defaultWriteTimeout))
	errs = append(errs, checkInterval("HeartbeatInterval", c.HeartbeatInterval))
	completeIdentity(&c.Log, &c.Dial, &c.ClientID, &c.Hostname, &c.UserAgent)
	return errors.Join(errs...)
}

func (c *WriterConfig) dialer() dialer {
	return dialer{
		dial: c.Dial, timeout: c.DialTimeout, writeTimeout: c.WriteTimeout, heartbeat: c.HeartbeatInterval,
		identify: protocol.IdentifyRequest{
			ClientID: c.ClientID, Hostname: c.Hostname, UserAgent: c.UserAgent, FeatureNegotiation: true,
			HeartbeatInterval: int(c.HeartbeatInterval / time.Millisecond),
		},
	}
}

// ReaderConfig says how a Reader works. Topic, Channel, Handler, and either
// Addresses or Lookupds must be set.
type ReaderConfig struct {
	Topic, Channel string

	// Addresses are the TCP addresses (host:port) of queue daemons, all of
	// which are consumed from. Those that lookupds list are added to them.
	Addresses []string

	// Lookupds are HTTP addresses of lookup daemons, as host:port or as a URL.
	// All are asked at once, then every LookupInterval (0 stands for 60 s;
	// varied by a tenth, so that many readers do not ask together). A daemon
	// that none lists any more is forgotten once its connection has ended; a
	// lookupd that does not answer counts for what it said last.
	Lookupds       []string
	LookupInterval time.Duration

	// MaxInFlight is how many messages may be delivered and unanswered, over
	// all connections, which share it evenly. 0 stands for 200. With more
	// connections than that, credit goes around, 20 ms a turn. It can be
	// exceeded for a moment when credit moves between connections.
	MaxInFlight int

	// Concurrency is how many handlers run at once; 0 stands for 1. With 1, the
	// messages of one daemon are handled in the order in which they came.
	Concurrency int

	Handler Handler

	// OnIdle, if set, is called when messages have been handled and no more are
	// waiting: because the channel is empty, or because all credit is taken by
	// messages that were not answered yet. It is called again only after
	// another message was handled, and one last time when Run ends, after the
	// last handler and before kept messages are waited for. Calls never overlap
	// each other, nor, if Concurrency is 1, a handler.
	OnIdle func()

	// A message whose handler failed comes back after RequeueDelay × attempts,
	// MaxRequeueDelay at most. 0 stands for 5 s and 5 min; below zero, for at once.
	RequeueDelay, MaxRequeueDelay time.Duration

	// MaxAttempts, if not 0, is how often a message is handled: one delivered
	// more often is logged and finished without being handled.
	MaxAttempts uint16

	// ShutdownTimeout is how long Run waits, once its context has ended, for
	// handlers, for messages kept with ErrAnswerLater, and for daemons to say
	// goodbye. Then it cancels the handlers' context and closes. 0 stands for
	// 10 s.
	ShutdownTimeout time.Duration

	MsgTimeout        time.Duration // asked of the daemon, at least 1 s; 0 leaves it to the daemon (60 s)
	HeartbeatInterval time.Duration // at least 1 s; 0 leaves it to the daemon (30 s). Silence of two is death
	DialTimeout       time.Duration // to connect and be greeted, and for a lookupd's answer; 0 stands for 5 s
	WriteTimeout      time.Duration // for one write to a daemon that does not read; 0 stands for 10 s

	Log  *slog.Logger // nil discards
	Dial Dialer       // for daemons and lookupds; nil stands for net.Dialer's

	ClientID  string // what the daemon's statistics show; "" stands for Hostname up to its first dot
	Hostname  string // "" stands for the machine's
	UserAgent string // "" stands for "millrace-go"
}

func (c *ReaderConfig) complete() error {
	var errs []error
	if !protocol.ValidName(c.Topic) {
		errs = append(errs, fmt.Errorf("topic %q is not a valid name", c.Topic))
	}
	if !protocol.ValidName(c.Channel) {
		errs = append(errs, fmt.Errorf("channel %q is not a valid name", c.Channel))
	}
	if len(c.Addresses)+len(c.Lookupds) == 0 {
		errs = append(errs, errors.New("neither an address nor a lookupd is given"))
	}
	if c.Handler == nil {
		errs = append(errs, errors.New("no handler is given"))
	}
	errs = append(errs, checkAddresses(c.Addresses)...)
	errs = append(errs, setDefault("LookupInterval", &c.LookupInterval, time.Minute))
	errs = append(errs, setDefault("MaxInFlight", &c.MaxInFlight, 200))
	errs = append(errs, setDefault("Concurrency", &c.Concurrency, 1))
	errs = append(errs, setDefault("ShutdownTimeout", &c.ShutdownTimeout, 10*time.Second))
	errs = append(errs, setDefault("DialTimeout", &c.DialTimeout, defaultDialTimeout))
	errs = append(errs, setDefault("WriteTimeout", &c.WriteTimeout, defaultWriteTimeout))
	errs = append(errs, checkInterval("MsgTimeout", c.MsgTimeout))
	errs = append(errs, checkInterval("HeartbeatInterval", c.HeartbeatInterval))
	if c.RequeueDelay == 0 {
		c.RequeueDelay = 5 * time.Second
	}
	if c.MaxRequeueDelay == 0 {
		c.MaxRequeueDelay = 5 * time.Minute
	}
	completeIdentity(&c.Log, &c.Dial, &c.ClientID, &c.Hostname, &c.UserAgent)
	return errors.Join(errs...)
}

func (c *ReaderConfig) dialer() dialer {
	return dialer{
		dial: c.Dial, timeout: c.DialTimeout, writeTimeout: c.WriteTimeout, heartbeat: c.HeartbeatInterval,
		identify: protocol.IdentifyRequest{
			ClientID: c.ClientID, Hostname: c.Hostname, UserAgent: c.UserAgent, FeatureNegotiation: true,
			HeartbeatInterval: int(c.HeartbeatInterval / time.Millisecond),
			MsgTimeout:        int(c.MsgTimeout / time.Millisecond),
		},
		subscribe: protocol.AppendSub(nil, c.Topic, c.Channel),
	}
}

const (
	defaultDialTimeout  = 5 * time.Second
	defaultWriteTimeout = 10 * time.Second
)

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

func completeIdentity(log **slog.Logger, dial *Dialer, clientID, hostname, userAgent *string) {
	if *log == nil {
		*log = slog.New(slog.DiscardHandler)
	}
	if *dial == nil {
		*dial = new(net.Dialer).DialContext
	}
	if *hostname == "" {
		*hostname, _ = os.Hostname() // a name for statistics: none is fine
	}
	if *clientID == "" {
		*clientID, _, _ = strings.Cut(*hostname, ".")
	}
	if *userAgent == "" {
		*userAgent = "millrace-go"
	}
}
