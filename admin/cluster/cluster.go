// Package cluster asks queue daemons and lookupds over HTTP, and tells them what to
// do: with timeouts, with bounds on what they may answer, many at a time. What one of
// them does not do is a value, never a reason to keep back what the others answered.
//
// Daemons are trusted to be daemons and no further: an answer may be of any length and
// any shape, and an address that a lookupd names is a host and a port or is not used.
package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Settings say whom to ask and how. What is zero takes its default.
type Settings struct {
	// Lookupds are asked for the daemons that there are; or Daemons names them. Both are
	// host:port of HTTP APIs. One of the two must be given, and not both.
	Lookupds, Daemons []string

	ConnectTimeout time.Duration // 2 s
	// RequestTimeout bounds a request up to the last byte of its answer; 5 s. A context
	// that has a deadline of its own takes its place: some changes take longer. Stream waits
	// so long for each part of an answer.
	RequestTimeout time.Duration

	// TLS makes the settings for a connection to a daemon of some name that wants TLS; nil
	// believes whom the machine believes. internal/secure makes such functions.
	TLS func(serverName string) *tls.Config
	// Token is shown to daemons as "Authorization: Bearer …": to whoever is at an address
	// that a lookupd lists, and in clear where there is no TLS, and once where it turns out
	// to be required. With TokenSealed it is shown to nobody but over TLS.
	Token       string
	TokenSealed bool
	// Parallel is how many daemons Each talks to at a time; 32.
	Parallel int

	// Dial connects; nil is through the network. Tests play networks with it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Cluster is the daemons. Its methods may be called by any number of goroutines.
type Cluster struct {
	settings Settings // immutable
	http     *http.Client
	log      *slog.Logger

	mu       sync.Mutex // guards what follows; never held while somebody is asked
	lookupds []string
	sealed   map[string]string // daemons that want TLS: where to ask them instead, by address
}

// New returns a Cluster that has not asked anybody yet. The error names all addresses
// that are none.
func New(s Settings, log *slog.Logger) (*Cluster, error) {
	s.ConnectTimeout = cmp.Or(s.ConnectTimeout, 2*time.Second)
	s.RequestTimeout = cmp.Or(s.RequestTimeout, 5*time.Second)
	s.Parallel = cmp.Or(s.Parallel, 32)
	if s.TLS == nil {
		s.TLS = func(name string) *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name} }
	}
	if s.Dial == nil {
		s.Dial = (&net.Dialer{}).DialContext
	}
	if (len(s.Lookupds) == 0) == (len(s.Daemons) == 0) {
		return nil, errors.New("give either addresses of lookupds or addresses of queue daemons")
	}
	if err := errors.Join(checkAll(s.Lookupds), checkAll(s.Daemons)); err != nil {
		return nil, err
	}
	s.Lookupds, s.Daemons = unique(s.Lookupds), unique(s.Daemons)
	c := &Cluster{settings: s, log: log, lookupds: s.Lookupds, sealed: make(map[string]string)}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:            c.dial,
			DialTLSContext:         c.dialTLS,
			DisableCompression:     true, // daemons do not compress; what unpacks without end is somebody else
			MaxIdleConnsPerHost:    4,
			IdleConnTimeout:        time.Minute, // daemons close theirs after two
			MaxResponseHeaderBytes: 64 << 10,
			ReadBufferSize:         32 << 10, // many answers are megabytes
		},
		// A daemon does not redirect. Who does may send us anywhere, with our token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close closes the connections that nobody uses. Those in use close with their requests.
func (c *Cluster) Close() { c.http.CloseIdleConnections() }

// Lookupds are the addresses of the lookupds; none if the daemons are named.
func (c *Cluster) Lookupds() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lookupds)
}

// Daemons are the addresses of the daemons if the settings name them, else none.
func (c *Cluster) Daemons() []string { return slices.Clone(c.settings.Daemons) }

// maxLookupds is how many there may be: each is asked at every poll.
const maxLookupds = 256

// SetLookupds replaces the lookupds from the next request on. It changes nothing if an
// address is none, if there are none or more than 256, or if daemons are named.
func (c *Cluster) SetLookupds(addresses []string) error {
	if err := c.CheckLookupds(addresses); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lookupds = unique(addresses)
	return nil
}

// CheckLookupds says what SetLookupds would.
func (c *Cluster) CheckLookupds(addresses []string) error {
	switch {
	case len(c.settings.Daemons) > 0:
		return errors.New("the queue daemons are named in the settings: no lookupd is asked")
	case len(addresses) == 0, len(addresses) > maxLookupds:
		return fmt.Errorf("there must be 1 to %d lookupds", maxLookupds)
	}
	return checkAll(addresses)
}

// dial connects within the time that there is for it.
func (c *Cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.settings.ConnectTimeout)
	defer cancel()
	conn, err := c.settings.Dial(ctx, network, address)
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		err = fmt.Errorf("no connection within %v", c.settings.ConnectTimeout)
	}
	if err != nil {
		return nil, errUnsent{err}
	}
	return conn, nil
}

// dialTLS connects, and shakes hands within the same time again.
func (c *Cluster) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(address)
	ctx, cancel := context.WithTimeout(ctx, c.settings.ConnectTimeout)
	defer cancel()
	sealed := tls.Client(conn, c.settings.TLS(host))
	if err := sealed.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, errUnsent{fmt.Errorf("TLS: %w", err)}
	}
	return sealed, nil
}
