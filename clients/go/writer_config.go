package millrace

import (
	"errors"
	"fmt"
	"time"
)

// WriterConfig says how a Writer works. Addresses or Lookupds must be set.
type WriterConfig struct {
	// Addresses are the TCP addresses (host:port) of queue daemons. Publishes
	// are spread over those that answer. Those that lookupds list are added.
	Addresses []string

	// Lookupds are HTTP addresses of lookup daemons, as host:port or as a URL.
	// All are asked, when the Writer begins and then every LookupInterval (0
	// stands for 60 s), which daemons take publishes; a lookupd that does not
	// answer counts for what it said last.
	Lookupds       []string
	LookupInterval time.Duration

	// MaxConnections is how many daemons a Writer is connected to at once, of
	// those that it knows; 0 stands for 4. A nearer one that comes back is connected
	// to before the other is left.
	MaxConnections int

	// MaxInFlight is how many messages, and MaxInFlightBytes how many bytes of
	// bodies, may be accepted and unanswered. More wait for their turn. 0 stands
	// for 10,000 and 64 MiB. A batch, or a message, that is larger alone is taken
	// when nothing else is in flight.
	MaxInFlight      int
	MaxInFlightBytes int

	// Linger is how long a single message may wait for others to share an MPUB
	// with, while the daemon owes answers to earlier ones: one that finds nothing
	// on its way is sent at once. 0 stands for 1 ms, which is also the longest;
	// below zero, every message is sent by itself. A batch has at most
	// BatchMessages messages (0 stands for 1,000) and BatchBytes bytes (0 stands for
	// 256 KiB).
	Linger        time.Duration
	BatchMessages int
	BatchBytes    int

	// RetryFor bounds how long a message is tried that is certainly not stored,
	// from when it was accepted; 0 leaves it to the publish's context. Below zero,
	// nothing is tried twice, or waits for a daemon that cannot be reached: with one
	// address the order of publishes is kept, whatever happens. Messages that shared a
	// command with one that the daemon does not take then fail with it, as unavailable.
	RetryFor time.Duration

	// RetryUncertain has a message that may have been stored tried again, too: it
	// is never lost for that reason, but may be there twice.
	RetryUncertain bool

	// Spool, if set, keeps what no daemon takes; see package spool. It becomes the
	// Writer's, which closes it. SpoolAfter is how long a message is tried first; 0 stands for 1 s.
	Spool      Spool
	SpoolAfter time.Duration

	// CloseTimeout is how long Close waits for answers to what was accepted; 0
	// stands for 10 s.
	CloseTimeout time.Duration

	// OnPublish, if set, is told what has become of each MPUB, PUB and DPUB, and of
	// messages that were never sent.
	OnPublish func(Published)

	Connection
}

const (
	defaultLookupInterval = time.Minute
	defaultConnections    = 4
	defaultInFlight       = 10_000
	defaultInFlightBytes  = 64 << 20
	longestLinger         = time.Millisecond
	defaultBatchMessages  = 1000
	defaultBatchBytes     = 256 << 10
	defaultSpoolAfter     = time.Second
	defaultCloseTimeout   = 10 * time.Second
)

func (c *WriterConfig) complete() error {
	errs := checkAddresses(c.Addresses)
	if len(c.Addresses) == 0 && len(c.Lookupds) == 0 {
		errs = append(errs, errors.New("no address is given: Addresses or Lookupds must be set"))
	}
	if c.Linger == 0 {
		c.Linger = longestLinger
	}
	if c.Linger > longestLinger {
		errs = append(errs, fmt.Errorf("%s: %v is over %v", "Linger", c.Linger, longestLinger))
	}
	return errors.Join(append(errs,
		setDefault("LookupInterval", &c.LookupInterval, defaultLookupInterval),
		setDefault("MaxConnections", &c.MaxConnections, defaultConnections),
		setDefault("MaxInFlight", &c.MaxInFlight, defaultInFlight),
		setDefault("MaxInFlightBytes", &c.MaxInFlightBytes, defaultInFlightBytes),
		setDefault("BatchMessages", &c.BatchMessages, defaultBatchMessages),
		setDefault("BatchBytes", &c.BatchBytes, defaultBatchBytes),
		setDefault("SpoolAfter", &c.SpoolAfter, defaultSpoolAfter),
		setDefault("CloseTimeout", &c.CloseTimeout, defaultCloseTimeout),
		c.Connection.complete(),
	)...)
}
