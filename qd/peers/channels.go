package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

const (
	// patience is how long, at most, the first publish to a new topic waits for
	// lookupds.
	patience = 200 * time.Millisecond
	// maxAnswer is the longest answer in bytes that is taken from one of them:
	// room for some ten thousand channels.
	maxAnswer = 1 << 20
)

// Channels returns the channels that other daemons have for topic, sorted and
// without the ephemeral ones, as far as lookupds say so in time, and the addresses
// of the lookupds that do not, or may not know them yet. It asks all that are
// linked at once and takes what it has after a fifth of a second. It does not wait
// for those that have failed to answer within that time before, until one does.
//
// It goes on when ctx ends: whoever publishes first and gives up must not leave
// a topic behind that lacks channels.
func (p *Peers) Channels(ctx context.Context, topic string) (channels, unheard []string) {
	links, unheard := p.prompt()
	if len(links) == 0 {
		return nil, unheard
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(patience, p.ConnectTimeout+p.RequestTimeout))
	defer cancel()
	answers, failures := make([][]string, len(links)), make([]error, len(links))
	var wg sync.WaitGroup
	for i, l := range links {
		wg.Go(func() { answers[i], failures[i] = l.ask(ctx, topic) })
	}
	wg.Wait()
	for i, l := range links {
		if err := failures[i]; err != nil {
			l.tardy(err)
			if !slices.Contains(unheard, l.address) {
				unheard = append(unheard, l.address)
			}
		}
	}
	channels = slices.Concat(answers...)
	slices.Sort(channels)
	return slices.Compact(channels), unheard
}

// prompt returns the links whose lookupds answer in time, and the addresses of
// those that have to be asked later: others, and those that have not settled.
func (p *Peers) prompt() (links []*link, later []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, address := range p.distinct() {
		l := p.links[address]
		if l == nil {
			later = append(later, address)
			continue
		}
		l.mu.Lock()
		switch {
		case !l.status.Linked || l.status.Tardy:
			later = append(later, address)
		case l.face != "":
			links = append(links, l)
			if time.Since(l.status.Since) < settling {
				later = append(later, address)
			}
		}
		l.mu.Unlock()
	}
	return links, later
}

// tardy notes that the lookupd did not answer, or not in time: nobody waits for
// it until it does.
func (l *link) tardy(err error) {
	l.mu.Lock()
	was := l.status.Tardy
	l.status.Tardy, l.status.LastError = true, err.Error()
	l.mu.Unlock()
	if !was {
		l.Log.Warn("lookupd does not say in time which channels a topic has: new topics do not wait for it, and get its channels later",
			"lookupd", l.address, "error", err)
	}
}

// timely notes that it has answered in time.
func (l *link) timely() {
	l.mu.Lock()
	was := l.status.Tardy
	if l.status.Tardy = false; was {
		l.status.LastError = ""
	}
	l.mu.Unlock()
	if was {
		l.Log.Info("lookupd answers in time again", "lookupd", l.address)
	}
}

// newWeb returns the client for the lookupd's HTTP face.
func (l *link) newWeb() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: l.dial, DialTLSContext: l.dialTLS, IdleConnTimeout: 2 * pingInterval,
			// Very many new topics at once are no reason to open very many connections.
			MaxIdleConnsPerHost: atOnce, MaxConnsPerHost: 4 * atOnce,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask asks the lookupd for a topic's channels, and returns those that are worth
// creating.
func (l *link) ask(ctx context.Context, topic string) ([]string, error) {
	l.mu.Lock()
	face := l.face
	l.mu.Unlock()
	if face == "" {
		return nil, errors.New("lookupd is out of reach")
	}
	address := face + "/channels?" + url.Values{"topic": {topic}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/vnd.nsq; version=1.0") // or lookupds before NSQ 1.0 wrap the answer
	if l.Token != nil {
		token, err := l.Token()
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := l.web.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", address, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	if len(text) > maxAnswer {
		// It would be as long the next time: this is its answer.
		l.Log.Error("lookupd names too many channels of a new topic: none of them is created",
			"lookupd", l.address, "topic", topic, "bytes", maxAnswer)
		return nil, nil
	}
	var answer struct {
		Channels []string `json:"channels"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	return slices.DeleteFunc(answer.Channels, func(name string) bool {
		return !protocol.ValidName(name) || protocol.Ephemeral(name)
	}), nil
}
