package main

import (
	"context"
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
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/link"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	askFor     = 5 * time.Second // how long one answer may take
	maxAnswer  = 64 << 20        // and how large it may be, in bytes
	retryFirst = time.Second     // how soon channels are tried again that could not be made before
)

// mirror makes the channels of the source's topics at the destination.
type mirror struct {
	http    *http.Client
	sources []string // lookupds
	from    string   // the secret for these
	to      string   // the secret for the destination's lookupds and daemons
	lookups []string // of the destination
	hosts   []string // HTTP addresses of its daemons, besides
	own     string   // the channel that is consumed from, which is nobody else's
	loops   *loops
	every   time.Duration // how often the source is asked for channels that are new
}

// newMirror takes how the source and the destination are connected.
func newMirror(t *transfer, from, to millrace.Connection) *mirror {
	return &mirror{
		from: link.Bearer(from.AuthSecret), to: link.Bearer(to.AuthSecret),
		http: &http.Client{Transport: &http.Transport{
			TLSClientConfig: to.LookupTLS, Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 2, MaxConnsPerHost: 4,
		}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		sources: t.from.Lookups(), lookups: t.lookups, hosts: t.channelHosts, own: t.from.Channel,
		loops: t.loops, every: t.from.Refresh(),
	}
}

func (m *mirror) close() { m.http.CloseIdleConnections() }

// follow makes a topic's channels at all daemons of the destination, calls ready, and goes on making
// those that come later, until ctx ends.
func (m *mirror) follow(ctx context.Context, topic, to string, log *slog.Logger, ready func()) {
	made := make(map[string]bool) // by host and channel
	again := time.NewTimer(0)
	defer again.Stop()
	var told time.Time
	wait := retryFirst
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		err := m.make(ctx, topic, to, made, log)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			ready()
			told, wait = time.Time{}, m.every
		case time.Since(told) >= tellEvery:
			told = time.Now()
			log.Warn("channels cannot be made at the destination, trying again; a topic that begins waits for them", "error", err)
		}
		again.Reset(wait)
	}
}

// make makes the channels that are not in made yet, and the topic, wherever they are missing.
func (m *mirror) make(ctx context.Context, topic, to string, made map[string]bool, log *slog.Logger) error {
	channels, err := m.channels(ctx, topic)
	if err != nil {
		return err
	}
	hosts, err := m.daemons(ctx)
	if err != nil {
		return err
	}
	errs := make([]error, len(hosts))
	var mu sync.Mutex // guards made
	var all sync.WaitGroup
	for i, host := range hosts {
		all.Go(func() { errs[i] = m.makeAt(ctx, host, to, channels, &mu, made, log) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// makeAt makes a topic and its channels at one daemon.
func (m *mirror) makeAt(ctx context.Context, host, topic string, channels []string, mu *sync.Mutex, made map[string]bool, log *slog.Logger) error {
	for _, channel := range append([]string{""}, channels...) {
		key := host + " " + channel
		mu.Lock()
		done := made[key]
		mu.Unlock()
		if done {
			continue
		}
		path, query := "/topic/create", url.Values{"topic": {topic}}
		if channel != "" {
			path = "/channel/create"
			query.Set("channel", channel)
		}
		if err := m.post(ctx, base(host)+path+"?"+query.Encode()); err != nil {
			return fmt.Errorf("topic %s, channel %q: %w", topic, channel, err)
		}
		mu.Lock()
		made[key] = true
		mu.Unlock()
		if channel != "" {
			log.Info("a channel is there at the destination", "channel", channel, "node", host)
		}
	}
	return nil
}

// channels asks the source's lookupds for a topic's channels. One that answers is enough: a daemon tells all.
func (m *mirror) channels(ctx context.Context, topic string) (channels []string, err error) {
	err = m.askAll(ctx, m.sources, m.from, "/channels?topic="+url.QueryEscape(topic), func(body []byte) error {
		var answer struct{ Channels []string }
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		for _, c := range answer.Channels {
			if protocol.ValidName(c) && c != m.own && !strings.HasSuffix(c, ephemeral) && !slices.Contains(channels, c) {
				channels = append(channels, c)
			}
		}
		return nil
	})
	return channels, err
}

// daemons are the HTTP addresses of the destination's daemons. There must be one.
func (m *mirror) daemons(ctx context.Context) ([]string, error) {
	hosts := slices.Clone(m.hosts)
	if len(m.lookups) == 0 {
		return hosts, nil
	}
	err := m.askAll(ctx, m.lookups, m.to, "/nodes", func(body []byte) error {
		var answer struct {
			Producers []struct {
				Broadcast string `json:"broadcast_address"`
				TCP       int    `json:"tcp_port"`
				HTTP      int    `json:"http_port"`
			}
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		for _, p := range answer.Producers {
			m.loops.destination(net.JoinHostPort(p.Broadcast, strconv.Itoa(p.TCP)))
			if host := net.JoinHostPort(p.Broadcast, strconv.Itoa(p.HTTP)); p.HTTP > 0 && !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
		}
		return nil
	})
	if err == nil && len(hosts) == 0 {
		err = errors.New("no lookupd of the destination lists a daemon")
	}
	return hosts, err
}

// askAll asks lookupds, and fails if none has an answer that read takes.
func (m *mirror) askAll(ctx context.Context, lookups []string, secret, path string, read func(body []byte) error) error {
	var errs []error
	for _, l := range lookups {
		body, err := m.do(ctx, http.MethodGet, base(l)+path, secret)
		if err == nil {
			err = read(body)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) < len(lookups) {
		return nil
	}
	return errors.Join(errs...)
}

func (m *mirror) post(ctx context.Context, address string) error {
	_, err := m.do(ctx, http.MethodPost, address, m.to)
	return err
}

// do sends a request, with a secret if there is one: to who is asked, and nobody whom he
// redirects to.
func (m *mirror) do(ctx context.Context, method, address, secret string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/vnd.nsq; version=1.0")
	if secret != "" {
		request.Header.Set("Authorization", "Bearer "+secret)
	}
	response, err := m.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", response.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, address, err)
	}
	return body, nil
}

// base is the URL of an HTTP address, which may be one already.
func base(address string) string {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	return strings.TrimSuffix(address, "/")
}
