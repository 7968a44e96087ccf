package peers

import (
	"context"
	"encoding/json"
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
	// maxPatience bounds how long the first publish to a new topic waits for
	// lookupds.
	maxPatience = time.Second
	// maxAnswer is the longest answer in bytes that is taken from one of them:
	// room for some ten thousand channels.
	maxAnswer = 1 << 20
)

// Channels returns the channels that other daemons have for topic, sorted and
// without the ephemeral ones, as far as the lookupds say so that are linked
// now. It asks all of them at once and takes what it has after ConnectTimeout
// and RequestTimeout together, but no more than a second.
//
// It goes on when ctx ends: whoever publishes first and gives up must not leave
// a topic behind that lacks channels.
func (p *Peers) Channels(ctx context.Context, topic string) []string {
	faces := p.faces()
	if len(faces) == 0 {
		return nil
	}
	patience := min(p.ConnectTimeout+p.RequestTimeout, maxPatience)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	answers := make([][]string, len(faces))
	var wg sync.WaitGroup
	for i, face := range faces {
		wg.Go(func() {
			channels, err := p.askChannels(ctx, face, topic)
			if err != nil {
				p.Log.Warn("cannot ask for the channels of a new topic", "lookupd", face, "topic", topic, "error", err)
			}
			answers[i] = channels
		})
	}
	wg.Wait()
	all := slices.DeleteFunc(slices.Concat(answers...), func(name string) bool {
		return !protocol.ValidName(name) || protocol.Ephemeral(name)
	})
	slices.Sort(all)
	return slices.Compact(all)
}

// faces returns the HTTP addresses of the lookupds that are linked.
func (p *Peers) faces() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var faces []string
	for _, l := range p.links {
		if web := l.web.Load(); web != nil {
			faces = append(faces, *web)
		}
	}
	return faces
}

func (p *Peers) askChannels(ctx context.Context, face, topic string) ([]string, error) {
	address := url.URL{Scheme: "http", Host: face, Path: "/channels", RawQuery: url.Values{"topic": {topic}}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/vnd.nsq; version=1.0") // or lookupds before NSQ 1.0 wrap the answer
	resp, err := p.web.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", resp.Status)
	}
	var answer struct {
		Channels []string `json:"channels"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return answer.Channels, nil
}
