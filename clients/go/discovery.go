package millrace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxLookup bounds a lookupd's answer, in bytes: ten thousand daemons are about
// three megabytes.
const maxLookup = 16 << 20

// parseLookups returns the URLs to ask for the daemons of topic.
func parseLookups(lookupds []string, topic string) (urls []*url.URL, err error) {
	var errs []error
	for _, s := range lookupds {
		full, needsPort := s, false
		if !strings.Contains(s, "://") {
			// The zone of an IPv6 address has a % before it, in URLs an escaped one.
			full, needsPort = "http://"+strings.ReplaceAll(s, "%", "%25"), true
		}
		u, err := url.Parse(full)
		if err != nil || u.Host == "" || needsPort && u.Port() == "" || u.Scheme != "http" && u.Scheme != "https" {
			errs = append(errs, fmt.Errorf("lookupd %q must be host:port or an HTTP URL", s))
			continue
		}
		u = u.JoinPath("lookup")
		u.RawQuery = url.Values{"topic": {topic}}.Encode()
		urls = append(urls, u)
	}
	return urls, errors.Join(errs...)
}

func lookupClient(config ReaderConfig) *http.Client {
	return &http.Client{
		Timeout: config.DialTimeout,
		// Asked once a minute, a connection kept open is only a goroutine more
		// to end.
		Transport: &http.Transport{DialContext: config.Dial, DisableKeepAlives: true},
	}
}

// discover keeps the Reader's daemons those of its Addresses and those that
// lookupds list.
func (r *Reader) discover(ctx, work context.Context) {
	lookups := make([]lookup, len(r.lookups))
	for i, u := range r.lookups {
		lookups[i].url = u
	}
	const soon = time.Second
	pause := soon
	for {
		r.lookup(ctx, lookups)
		known := slices.Clone(r.config.Addresses)
		for _, l := range lookups {
			known = append(known, l.answer...)
		}
		r.meet(ctx, work, known)
		if len(r.lookups) == 0 {
			return
		}
		// With nothing to consume from, a topic that is about to be created
		// should not have to wait for its first consumer.
		next := r.config.LookupInterval
		if len(known) == 0 {
			next = min(pause, next)
			pause = 2 * next
		} else {
			pause = soon
		}
		if !sleep(ctx, vary(next, 0.1)) {
			return
		}
	}
}

// lookup is a lookupd and what it said last.
type lookup struct {
	url    *url.URL
	answer []string
	down   bool // it did not answer the last time
}

// lookup asks all lookupds at once. One that fails keeps its last answer; that
// it fails is logged once.
func (r *Reader) lookup(ctx context.Context, lookups []lookup) {
	var wg sync.WaitGroup
	for i := range lookups {
		l := &lookups[i]
		wg.Go(func() {
			found, err := r.ask(ctx, l.url)
			switch {
			case err == nil:
				l.answer = found
			case ctx.Err() == nil && !l.down:
				r.config.Log.Warn("lookup failed", "lookupd", l.url.Host, "error", err)
			}
			l.down = err != nil
		})
	}
	wg.Wait()
}

// ask returns the TCP addresses of the daemons that a lookupd lists.
func (r *Reader) ask(ctx context.Context, u *url.URL) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", r.config.UserAgent)
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLookup))
	if err != nil {
		return nil, err
	}
	return parseLookup(resp.StatusCode, body)
}

// parseLookup reads a lookupd's answer. A topic that it does not know is on no
// daemon. A daemon that has registered an impossible address is passed over: it
// must not hide the others.
func parseLookup(status int, body []byte) (addresses []string, err error) {
	var answer struct {
		Message   string `json:"message"`
		Producers []struct {
			BroadcastAddress string `json:"broadcast_address"`
			TCPPort          int    `json:"tcp_port"`
		} `json:"producers"`
	}
	err = json.Unmarshal(body, &answer)
	switch {
	case status == http.StatusNotFound && err == nil && answer.Message == "TOPIC_NOT_FOUND":
		return nil, nil
	case status != http.StatusOK:
		return nil, fmt.Errorf("status %d: %.100q", status, body)
	case err != nil:
		return nil, fmt.Errorf("the answer: %w", err)
	}
	for _, p := range answer.Producers {
		if p.BroadcastAddress == "" || p.TCPPort < 1 || p.TCPPort > 65535 {
			continue
		}
		addresses = append(addresses, net.JoinHostPort(p.BroadcastAddress, strconv.Itoa(p.TCPPort)))
	}
	return addresses, nil
}

// meet takes note of which daemons are listed, and begins to consume from those
// that are new.
func (r *Reader) meet(ctx, work context.Context, addresses []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for a := range r.daemons {
		r.daemons[a] = false
	}
	for _, a := range addresses {
		if _, known := r.daemons[a]; !known {
			r.lines.Go(func() { r.keep(ctx, work, a) })
		}
		r.daemons[a] = true
	}
}

// dropUnlisted forgets a disconnected daemon if it is not listed any more, and
// reports whether it did.
func (r *Reader) dropUnlisted(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.daemons[address] {
		return false
	}
	delete(r.daemons, address)
	return true
}
