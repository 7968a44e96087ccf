package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const hookTimeout = 10 * time.Second // for one try

// webhook is told of entries that have ended.
type webhook struct {
	url    string
	host   string // ours, as NSQ's notifications name it
	client *http.Client
}

func newWebhook(address string, transport http.RoundTripper) (*webhook, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		// Without the text: it may have a password or a token.
		return nil, errors.New("notification-http-endpoint: must be a URL such as https://host/path")
	}
	host, _ := os.Hostname()
	return &webhook{url: address, host: host, client: &http.Client{
		Transport:     transport,
		Timeout:       hookTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// notification is what is told: first what nsqadmin says, under its names.
type notification struct {
	Action    string `json:"action"`
	Topic     string `json:"topic"`
	Channel   string `json:"channel,omitempty"`
	Node      string `json:"node,omitempty"`
	Timestamp int64  `json:"timestamp"` // seconds since 1970
	User      string `json:"user,omitempty"`
	RemoteIP  string `json:"remote_ip"`
	UserAgent string `json:"user_agent"`
	URL       string `json:"url"`
	Via       string `json:"via"` // the host that nsqadmin, or this, runs on

	Entry *Entry `json:"entry"`
}

// nsqActions are nsqadmin's names of what it can do too. Others are told under
// ours, in the same manner.
var nsqActions = map[string]string{"tombstone": "tombstone_topic_producer"}

func (h *webhook) notification(e *Entry) notification {
	action, ok := nsqActions[e.Action]
	if !ok {
		action = strings.ReplaceAll(e.Action, "-", "_")
	}
	return notification{
		Action: action, Topic: e.Topic, Channel: e.Channel, Node: e.Node, Timestamp: e.At.Unix(), User: e.Who,
		RemoteIP: e.From, UserAgent: e.UserAgent, URL: e.URL, Via: h.host, Entry: e,
	}
}

// tell sends e once. The error does not show the URL beyond its host.
func (h *webhook) tell(ctx context.Context, e *Entry) error {
	body, err := json.Marshal(h.notification(e))
	if err != nil {
		return fmt.Errorf("encoding entry %d: %w: %w", e.Number, err, errGivenUp)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking the webhook: %w", errGivenUp)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "millrace-admin")
	resp, err := h.client.Do(req)
	if err != nil {
		if told, ok := errors.AsType[*url.Error](err); ok {
			err = told.Err // without the URL, which may have a token in it
		}
		return fmt.Errorf("%s: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	switch status := resp.StatusCode; {
	case status < 300:
		return nil
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooManyRequests:
		return fmt.Errorf("%s answers %s", req.URL.Host, resp.Status)
	default:
		return fmt.Errorf("%s answers %s: %w", req.URL.Host, resp.Status, errGivenUp)
	}
}
