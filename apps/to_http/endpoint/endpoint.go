// Package endpoint is one HTTP endpoint that messages are sent to: its URL, how it is
// asked, and what its answers mean.
package endpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config is what the endpoints of a program share.
type Config struct {
	Method      string // GET or POST
	ContentType string // of what is posted
	UserAgent   string
	Header      http.Header // of each request; a Host is the one that is asked for

	// ConnectTimeout is for a connection and its TLS, RequestTimeout for all until
	// the answer's status. An endpoint's URL can say others.
	ConnectTimeout, RequestTimeout time.Duration

	TLS  *tls.Config // nil stands for the system's authorities
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Endpoint is where messages are sent to. Any goroutine may use it.
type Endpoint struct {
	name    string
	target  target
	config  Config
	client  *http.Client
	request time.Duration // the time-out
}

const (
	// maxHeader bounds the headers of an answer, in bytes.
	maxHeader = 256 << 10

	// quiet is how long an HTTP/2 connection may be silent until its server is asked,
	// with a PING, whether it is there. Requests share it and leave it open when their
	// time is out: without asking, a server that has vanished would be sent all requests
	// until the system's TCP gives up, a quarter of an hour later.
	quiet = 10 * time.Second
)

// New returns the endpoint at an address: a URL, for GET with one %s where the body
// goes, and maybe a fragment with time-outs of its own, as in
// "http://host/path#request-timeout=5s&connect-timeout=1s". Errors name no secret.
func New(address string, config Config) (*Endpoint, error) {
	bare, fragment, _ := strings.Cut(address, "#")
	t, u, err := parse(bare, config.Method)
	if err != nil {
		return nil, err
	}
	e := &Endpoint{name: name(u), target: t, config: config, request: config.RequestTimeout}
	connect := config.ConnectTimeout
	if err := timeouts(fragment, &connect, &e.request); err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	}
	e.client = &http.Client{CheckRedirect: e.redirect, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, connect)
			defer cancel()
			return dial(ctx, network, address)
		},
		TLSClientConfig: config.TLS, TLSHandshakeTimeout: connect, ForceAttemptHTTP2: true,
		// As many as there are requests at once, which the caller bounds.
		MaxIdleConnsPerHost: math.MaxInt, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: quiet, PingTimeout: connect},
		// An answer's body is thrown away: nothing is to be inflated for that.
		DisableCompression: true,
	}}
	return e, nil
}

// Name is the endpoint's URL without what may be secret: user, password and query.
func (e *Endpoint) Name() string { return e.name }

// Timeout is how long a request may take.
func (e *Endpoint) Timeout() time.Duration { return e.request }

// Close closes connections that nobody uses.
func (e *Endpoint) Close() { e.client.CloseIdleConnections() }

func name(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// timeouts sets the time-outs that a URL's fragment has. It is never sent, so that
// nothing an endpoint could be told is taken away from it.
func timeouts(fragment string, connect, request *time.Duration) error {
	values, err := url.ParseQuery(fragment)
	if err != nil {
		return errors.New("what comes after # must be such as request-timeout=5s&connect-timeout=1s")
	}
	known := map[string]*time.Duration{"connect-timeout": connect, "request-timeout": request}
	for key, texts := range values {
		d, ok := known[key]
		if !ok {
			return fmt.Errorf("#%s: only connect-timeout and request-timeout can come after #", key)
		}
		*d, err = time.ParseDuration(texts[0])
		if err != nil || *d <= 0 || len(texts) > 1 {
			return fmt.Errorf("#%s=%s: must be one positive duration, such as 5s", key, texts[0])
		}
	}
	return nil
}
