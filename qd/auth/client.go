// Package auth asks auth servers, in NSQ's protocol, what a client may do.
//
// What an answer means (Grant, Parse) is apart from how it is got (Client).
// Everything that goes wrong is a refusal: a server that hangs, that answers
// with something else, that is not there.
package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
)

const (
	maxSecret = 64 << 10 // bytes of a secret; nobody has a longer one
	maxAnswer = 1 << 20  // bytes of an answer
	maxHeader = 64 << 10 // bytes of its header
	// maxQueries is how many connections there are to one server at a time.
	// Further queries wait, within their time: when ten thousand clients come at
	// once, files must be left for their own connections.
	maxQueries = 64
)

// Config is what a Client needs to know.
type Config struct {
	// Addresses are the servers: host:port, which is asked at http://host:port/auth,
	// or a URL with http or https. At least one.
	Addresses []string
	Method    string // get or post
	// ConnectTimeout is for each connection, RequestTimeout for a whole query,
	// however many servers it asks. Both are positive.
	ConnectTimeout, RequestTimeout time.Duration
	Roots                          *x509.CertPool // that sign https servers' certificates; nil is the system's
	// Dial connects, until its context ends; nil is net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger
}

// Client asks auth servers. It keeps no connection, so it need not be closed; one
// that is being made when its query ends is given up at the connect timeout. It
// may be used by several goroutines at once.
type Client struct {
	servers []*server
	post    bool
	timeout time.Duration
	http    http.Client
	log     *slog.Logger
}

// New returns a Client. Its error names the address, or the method, that it
// cannot use.
func New(c Config) (*Client, error) {
	client := &Client{timeout: c.RequestTimeout, log: c.Log}
	switch c.Method {
	case "get":
	case "post":
		client.post = true
	default:
		return nil, fmt.Errorf("method %q of requests to auth servers: must be get or post", c.Method)
	}
	for _, address := range c.Addresses {
		s, err := newServer(address)
		if err != nil {
			return nil, err
		}
		client.servers = append(client.servers, s)
	}
	if len(client.servers) == 0 {
		return nil, errors.New("no auth server is named")
	}
	dial := c.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	client.http = http.Client{
		// To be sent elsewhere would be to send the secret there.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
				defer cancel()
				return dial(ctx, network, address)
			},
			TLSClientConfig:        &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    c.ConnectTimeout,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxConnsPerHost:        maxQueries,
			MaxResponseHeaderBytes: maxHeader,
		},
	}
	return client, nil
}

// Request is who asks for rights.
type Request struct {
	Secret     string
	CommonName string // of the client's certificate; empty without one
	RemoteAddr string // host:port; what is no such thing is told to servers as ""
	TLS        bool   // the client's connection has it
}

// Query returns what the first server to answer grants, beginning with any of
// them. It takes no longer than the request timeout: what is left of that is
// shared evenly by the servers that have not been asked, so one that hangs
// leaves time for the next. An answer that grants nothing is a Grant without
// permissions. The error is ctx's if that has ended, or else names each server
// and what was wrong with it, in one line, without the secret; Refused says whether one
// of them knows the client, and will have nothing of him.
func (c *Client) Query(ctx context.Context, r Request) (*Grant, error) {
	if len(r.Secret) > maxSecret {
		return nil, fmt.Errorf("a secret of %d bytes is too long: %d are allowed", len(r.Secret), maxSecret)
	}
	deadline := time.Now().Add(c.timeout)
	var wrong []string
	refused := false
	// #nosec G404 -- who is asked first, not a secret
	first := rand.IntN(len(c.servers))
	for i := range c.servers {
		s := c.servers[(first+i)%len(c.servers)]
		left := len(c.servers) - i
		g, err := c.ask(ctx, s, r, time.Until(deadline)/time.Duration(left))
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s.report(c.log, err)
		if err == nil {
			return g, nil
		}
		refused = refused || refuses(err)
		wrong = append(wrong, fmt.Sprintf("auth server %s: %s", s.name, err))
	}
	return nil, &queryError{strings.Join(wrong, "; "), refused}
}

// queryError is why there is no Grant.
type queryError struct {
	text    string
	refused bool // by one of the servers
}

func (e *queryError) Error() string { return e.text }

// Refused reports whether an error of Query is an auth server's word on the client, and
// not only the lack of one.
func Refused(err error) bool {
	e, ok := errors.AsType[*queryError](err)
	return ok && e.refused
}

// ask asks one server, for no longer than limit. Its error does not have the
// secret.
func (c *Client) ask(ctx context.Context, s *server, r Request, limit time.Duration) (*Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var begun atomic.Bool // something has come back
	request, err := s.request(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotFirstResponseByte: func() { begun.Store(true) },
	}), r, c.post)
	if err != nil {
		return nil, masked(err, r.Secret)
	}
	text, err := c.fetch(request)
	switch _, ours := errors.AsType[*answerError](err); {
	case err == nil:
		return Parse(text, time.Now())
	case ours:
		return nil, err
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("no answer within %s", limit.Round(time.Millisecond))
	case begun.Load() && !isBroken(err):
		// What net/http says of it quotes from what came, where the secret may stand.
		return nil, errors.New("the answer is not sound HTTP")
	}
	return nil, masked(err, r.Secret)
}
