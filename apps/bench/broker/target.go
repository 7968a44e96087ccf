// Package broker is the broker under test as seen from outside: where it
// listens, the topics it is told to make and forget over HTTP, what it costs
// according to /proc, and, if wanted, its start and end as a child process.
package broker

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Target is a broker that is running.
type Target struct {
	Name string // for the report
	TCP  string // host:port
	HTTP string // host:port; empty if the broker has none and topics are made by use alone
	PID  int    // 0 if unknown: then there are no figures of its CPU and memory
	Null bool   // delivers what was never published, so nothing is verified

	// Roots vouch for its certificate; nil if it was not started with one of ours.
	Roots *x509.CertPool
}

var client = &http.Client{Timeout: 10 * time.Second}

// CreateTopic makes a topic with channels.
func (t Target) CreateTopic(ctx context.Context, topic string, channels ...string) error {
	if err := t.post(ctx, "/topic/create", url.Values{"topic": {topic}}); err != nil {
		return fmt.Errorf("creating topic %s: %w", topic, err)
	}
	for _, c := range channels {
		if err := t.post(ctx, "/channel/create", url.Values{"topic": {topic}, "channel": {c}}); err != nil {
			return fmt.Errorf("creating channel %s of topic %s: %w", c, topic, err)
		}
	}
	return nil
}

// DeleteTopic deletes a topic with its channels. It does so even when ctx has
// ended: a measurement that was interrupted leaves nothing behind.
func (t Target) DeleteTopic(ctx context.Context, topic string) error {
	if err := t.post(context.WithoutCancel(ctx), "/topic/delete", url.Values{"topic": {topic}}); err != nil {
		return fmt.Errorf("deleting topic %s: %w", topic, err)
	}
	return nil
}

func (t Target) post(ctx context.Context, path string, q url.Values) error {
	if t.HTTP == "" {
		return nil
	}
	u := url.URL{Scheme: "http", Host: t.HTTP, Path: path, RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the broker answered %s %.200s", resp.Status, body)
	}
	return nil
}
