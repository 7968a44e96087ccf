package millrace

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxLookup bounds a lookupd's answer, in bytes: ten thousand daemons are about
// three megabytes.
const maxLookup = 16 << 20

// A Writer asks for daemons in pages of availablePage, and for at most
// availablePages of them.
const (
	availablePage  = 1000
	availablePages = 100
)

// producer is a daemon that a lookupd lists.
type producer struct {
	address      string // of its TCP side, host:port
	httpAddress  string // the same of its HTTP side; "" if it has none
	region, zone string
}

// lookups are the lookupds that are asked the same question, and what each said
// last. One goroutine asks them.
type lookups struct {
	http      *http.Client
	timeout   time.Duration // of a question to one of them
	log       *slog.Logger
	userAgent string
	secret    string // shown as a token; empty is none
	question  question
	each      []*lookup
	last      []producer // what ask returned

	// partly, if set, is called from ask, each time that a lookupd has answered
	// while others are awaited, with what is known by then.
	partly func(found []producer)
}

// lookup is a lookupd and what it said last.
type lookup struct {
	base   *url.URL
	answer []producer
	down   bool // it did not answer the last time
}

// question asks one lookupd.
type question func(ctx context.Context, l *lookups, base *url.URL) ([]producer, error)

// newLookups returns the lookupds listed, which are given as host:port or as
// URLs. c must be complete.
func newLookups(list []string, c *Connection, q question) (*lookups, error) {
	l := &lookups{http: lookupClient(c), timeout: c.DialTimeout, log: c.Log, userAgent: c.UserAgent, secret: bearer(c.AuthSecret), question: q}
	var errs []error
	for _, s := range list {
		base, err := parseLookup(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		l.each = append(l.each, &lookup{base: base})
	}
	return l, errors.Join(errs...)
}

func parseLookup(s string) (*url.URL, error) {
	full, needsPort := s, false
	if !strings.Contains(s, "://") {
		// The zone of an IPv6 address has a % before it, in URLs an escaped one.
		full, needsPort = "http://"+strings.ReplaceAll(s, "%", "%25"), true
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || needsPort && u.Port() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("lookupd %q must be host:port or an HTTP URL", s)
	}
	return u, nil
}

func lookupClient(c *Connection) *http.Client {
	secure := c.LookupTLS
	if secure == nil && c.TLS != nil {
		secure = c.TLS.Clone()
		secure.ServerName = "" // which is the daemons'
	}
	if secure == nil {
		secure = &tls.Config{}
	}
	// Asked once a minute, a connection kept open is only a goroutine more to end.
	return &http.Client{Transport: &http.Transport{DialContext: c.Dial, TLSClientConfig: secure, DisableKeepAlives: true}}
}

// ask asks all lookupds at once and returns all daemons that they list, each
// once, and whether these are others than the last time. One that fails counts
// for what it said last; that it fails is logged once.
func (l *lookups) ask(ctx context.Context) (found []producer, changed bool) {
	type answer struct {
		from  *lookup
		found []producer
		err   error
	}
	answers := make(chan answer, len(l.each))
	for _, each := range l.each {
		go func() { // ends before ask does, which receives from it
			late := fmt.Errorf("no answer within %v: %w", l.timeout, context.DeadlineExceeded)
			ctx, cancel := context.WithTimeoutCause(ctx, l.timeout, late) // for all pages
			defer cancel()
			found, err := l.question(ctx, l, each.base)
			answers <- answer{each, found, err}
		}()
	}
	for left := len(l.each); left > 0; left-- {
		a := <-answers
		l.note(ctx, a.from, a.found, a.err)
		if a.err == nil && left > 1 && l.partly != nil {
			l.partly(l.united())
		}
	}
	found = l.united()
	changed = !sameProducers(found, l.last)
	l.last = found
	return found, changed
}

func (l *lookups) note(ctx context.Context, from *lookup, found []producer, err error) {
	switch {
	case err == nil:
		from.answer = found
	case ctx.Err() == nil && !from.down:
		l.log.Warn("lookup failed", "lookupd", from.base.Host, "error", err)
	}
	from.down = err != nil
}

// united is what the lookupds said last, each daemon once.
func (l *lookups) united() (all []producer) {
	known := make(map[string]bool)
	for _, each := range l.each {
		for _, p := range each.answer {
			if !known[p.address] {
				known[p.address] = true
				all = append(all, p)
			}
		}
	}
	return all
}

func sameProducers(a, b []producer) bool {
	byAddress := func(x, y producer) int { return cmp.Compare(x.address, y.address) }
	return slices.Equal(slices.SortedFunc(slices.Values(a), byAddress), slices.SortedFunc(slices.Values(b), byAddress))
}

// distance is how far away a daemon is from a Writer that is where c says: 0 is
// the same zone, 1 the same region, and 2 farther. What c does not name is near.
func (p producer) distance(c *Connection) int {
	switch {
	case c.Region != "" && p.region != c.Region:
		return 2
	case c.Zone != "" && p.zone != c.Zone:
		return 1
	}
	return 0
}

// whoHas asks for the daemons that have a topic, which is nsqlookupd's /lookup.
// A topic that a lookupd does not know is on no daemon.
func whoHas(topic string) question {
	return func(ctx context.Context, l *lookups, base *url.URL) ([]producer, error) {
		u := base.JoinPath("lookup")
		u.RawQuery = url.Values{"topic": {topic}}.Encode()
		listing, err := l.get(ctx, u)
		if e, ok := errors.AsType[*statusError](err); ok && e.status == http.StatusNotFound && e.message == "TOPIC_NOT_FOUND" {
			return nil, nil
		}
		return listing.producers(), err
	}
}

// whoTakes asks for the daemons that take publishes. All of them, though a
// Writer needs only a few: these are to be any, not those that came first.
// nsqlookupd can only be asked who there is.
func whoTakes(ctx context.Context, l *lookups, base *url.URL) (found []producer, err error) {
	u := base.JoinPath("producers", "available")
	query := url.Values{"limit": {strconv.Itoa(availablePage)}}
	for range availablePages {
		u.RawQuery = query.Encode()
		page, err := l.get(ctx, u)
		if e, ok := errors.AsType[*statusError](err); ok && e.status == http.StatusNotFound {
			page, err = l.get(ctx, base.JoinPath("nodes"))
			return page.producers(), err
		}
		if err != nil {
			return nil, err
		}
		found = append(found, page.producers()...)
		if page.Next == "" || page.Next == query.Get("after") {
			break
		}
		query.Set("after", page.Next)
	}
	return found, nil
}

// bearer is what is shown of a secret over HTTP: all or, if a header cannot carry it,
// nothing. It is no token then, but something for an auth server.
func bearer(secret string) string {
	if strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return secret
}

// statusError is an answer that is not 200.
type statusError struct {
	status  int
	message string // of the JSON that it was
	body    string
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %.100q", e.status, e.body) }

// get returns a lookupd's listing.
func (l *lookups) get(ctx context.Context, u *url.URL) (listing, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return listing{}, err
	}
	req.Header.Set("User-Agent", l.userAgent)
	if l.secret != "" && u.User == nil { // who has put a password into the URL means that
		req.Header.Set("Authorization", "Bearer "+l.secret)
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return listing{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLookup+1))
	if err != nil {
		return listing{}, err
	}
	if len(body) > maxLookup {
		return listing{}, fmt.Errorf("the answer is longer than %d bytes", maxLookup)
	}
	return parseListing(resp.StatusCode, body)
}

// listing is what a lookupd answers, in the parts that are of use here.
type listing struct {
	Message   string `json:"message"`
	Producers []struct {
		BroadcastAddress string `json:"broadcast_address"`
		TCPPort          int    `json:"tcp_port"`
		HTTPPort         int    `json:"http_port"`
		Region           string `json:"topology_region"`
		Zone             string `json:"topology_zone"`
	} `json:"producers"`
	Next string `json:"next"` // what to ask for the page behind it with; "" if there is none
}

func parseListing(status int, body []byte) (l listing, err error) {
	err = json.Unmarshal(body, &l)
	switch {
	case status != http.StatusOK:
		return listing{}, &statusError{status, l.Message, string(body)}
	case err != nil:
		return listing{}, fmt.Errorf("the answer is not a lookupd's: %w", err)
	case l.Producers == nil: // a list of none is there as well
		return listing{}, fmt.Errorf("the answer is not a lookupd's: it lists no producers: %.100q", body)
	}
	return l, nil
}

// producers returns the daemons listed. One that has registered an impossible
// address is passed over: it must not hide the others.
func (l listing) producers() (found []producer) {
	for _, p := range l.Producers {
		if p.BroadcastAddress == "" || p.TCPPort < 1 || p.TCPPort > 65535 {
			continue
		}
		one := producer{address: net.JoinHostPort(p.BroadcastAddress, strconv.Itoa(p.TCPPort)), region: p.Region, zone: p.Zone}
		if p.HTTPPort > 0 && p.HTTPPort <= 65535 {
			one.httpAddress = net.JoinHostPort(p.BroadcastAddress, strconv.Itoa(p.HTTPPort))
		}
		found = append(found, one)
	}
	return found
}
