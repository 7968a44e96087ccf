package api

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/messages"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/protocol"
)

// failure is a daemon that could not answer.
type failure struct {
	Node  string `json:"node"`
	Error string `json:"error"`
}

// failures are those of results that failed; [] in JSON if there are none.
func failures(results []audit.Result) []failure {
	all := []failure{}
	for _, r := range results {
		if !r.OK {
			all = append(all, failure{r.Node, r.Error})
		}
	}
	return all
}

// bodyView is as much of a body as is shown; none if it is masked.
type bodyView struct {
	Size       int64   `json:"size,string"`
	Body       *string `json:"body,omitempty"`        // if it is text
	Base64     []byte  `json:"body_base64,omitempty"` // if it is not
	Truncated  bool    `json:"truncated,omitempty"`
	Unreadable bool    `json:"unreadable,omitempty"`
	Masked     bool    `json:"masked,omitempty"`
}

func showBody(b messages.Body) bodyView {
	v := bodyView{Size: b.Size, Truncated: b.Truncated, Unreadable: b.Unreadable, Masked: b.Masked}
	switch {
	case b.Masked || b.Bytes == nil:
	case isText(b.Bytes):
		text := string(b.Bytes)
		v.Body = &text
	default:
		v.Base64 = b.Bytes
	}
	return v
}

// standingView is where a message stands in a channel.
type standingView struct {
	State    string      `json:"state,omitempty"`
	Attempts *int        `json:"attempts,omitempty"`
	Due      *string     `json:"due,omitempty"`
	Deadline *string     `json:"deadline,omitempty"`
	Died     *string     `json:"died,omitempty"`
	Reason   string      `json:"reason,omitempty"`
	Client   *holderView `json:"client,omitempty"`
}

type holderView struct {
	ID            string `json:"client_id"`
	Hostname      string `json:"hostname"`
	RemoteAddress string `json:"remote_address"`
}

func showStanding(s messages.Standing) standingView {
	v := standingView{State: s.State, Due: when(s.Due), Deadline: when(s.Deadline), Died: when(s.Died), Reason: s.Reason}
	if s.Attempts >= 0 && s.State != "" {
		v.Attempts = &s.Attempts
	}
	if h := s.Holder; h != nil {
		v.Client = &holderView{h.ID, h.Hostname, h.RemoteAddress}
	}
	return v
}

// messageView is a message on a node.
type messageView struct {
	Node      string  `json:"node"`
	Topic     string  `json:"topic"`
	Channel   string  `json:"channel,omitempty"`
	ID        string  `json:"id"`
	Published *string `json:"published,omitempty"`
	standingView
	bodyView
	Channels []inChannel `json:"channels,omitempty"`
}

type inChannel struct {
	Channel string `json:"channel"`
	standingView
}

func showMessage(m *messages.Message) messageView {
	v := messageView{
		Node: m.Node, Topic: m.Topic, Channel: m.Channel, ID: m.ID, Published: when(m.Published),
		standingView: showStanding(m.Standing), bodyView: showBody(m.Body),
	}
	for _, c := range m.Channels {
		v.Channels = append(v.Channels, inChannel{c.Channel, showStanding(c.Standing)})
	}
	return v
}

// messages is a page of a channel's messages, over all nodes or one.
func (a *api) messages(r *http.Request, q url.Values) (any, error) {
	limit, err := count(q, "limit", messages.DefaultLimit, messages.MaxLimit)
	if err != nil {
		return nil, err
	}
	show, err := count(q, "body", messages.DefaultShow, messages.MaxShow)
	if err != nil {
		return nil, err
	}
	if show == 0 {
		show = -1
	}
	page, err := a.Messages.List(r.Context(), signin.FromContext(r.Context()), messages.Query{
		Topic: q.Get("topic"), Channel: q.Get("channel"), State: cmp.Or(q.Get("state"), "ready"), Node: q.Get("node"),
		After: q.Get("after"), Limit: limit, Show: show,
	})
	if err != nil {
		return nil, refusal(err)
	}
	return struct {
		Messages []messageView `json:"messages"` // by time
		Next     string        `json:"next,omitempty"`
		Failed   []failure     `json:"failed"`
	}{showMessages(page.Messages), page.Next, failures(page.Failed)}, nil
}

func showMessages(all []messages.Message) []messageView {
	views := []messageView{}
	for i := range all {
		views = append(views, showMessage(&all[i]))
	}
	return views
}

// message finds a message by its ID, on all nodes or one.
func (a *api) message(r *http.Request, q url.Values) (any, error) {
	found, failed, err := a.Messages.Find(r.Context(), signin.FromContext(r.Context()), q.Get("id"), q.Get("topic"), q.Get("node"))
	if err != nil {
		return nil, refusal(err)
	}
	return struct {
		Messages []messageView `json:"messages"`
		Failed   []failure     `json:"failed"`
	}{showMessages(found), failures(failed)}, nil
}

// count reads a number.
func count(q url.Values, name string, otherwise, most int) (int, error) {
	v := q.Get(name)
	if v == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > most {
		return 0, invalid(name, "must be a number from 0 to "+strconv.Itoa(most))
	}
	return n, nil
}

// clientView is a connection.
type clientView struct {
	Node          string  `json:"node"`
	ID            string  `json:"client_id"`
	Connection    string  `json:"connection,omitempty"`
	Hostname      string  `json:"hostname"`
	RemoteAddress string  `json:"remote_address"`
	UserAgent     string  `json:"user_agent"`
	Connected     *string `json:"connected,omitempty"`
	State         int     `json:"state"`
	Ready         int64   `json:"ready,string"`
	InFlight      int64   `json:"in_flight,string"`
	Messages      uint64  `json:"messages,string"`
	Finished      uint64  `json:"finished,string"`
	Requeued      uint64  `json:"requeued,string"`
	TimedOut      uint64  `json:"timed_out,string"`
	SampleRate    int     `json:"sample_rate,omitempty"`
	TLS           bool    `json:"tls"`
	TLSVersion    string  `json:"tls_version,omitempty"`
	CipherSuite   string  `json:"tls_cipher_suite,omitempty"`
	Deflate       bool    `json:"deflate"`
	Snappy        bool    `json:"snappy"`
	Authed        bool    `json:"authed"`
	AuthIdentity  string  `json:"auth_identity,omitempty"`
	Zone          string  `json:"zone,omitempty"`
	Region        string  `json:"region,omitempty"`
	LastActive    *string `json:"last_active,omitempty"`
	NextTimeout   *string `json:"next_timeout,omitempty"`
	Holds         float64 `json:"holds_ms,omitempty"`
	Idle          string  `json:"idle,omitempty"`
	Published     []sent  `json:"published,omitempty"`
}

type sent struct {
	Topic string `json:"topic"`
	Count uint64 `json:"count,string"`
}

func showClient(c *fleet.Client) clientView {
	v := clientView{
		c.Node, c.ID, c.Connection, c.Hostname, c.RemoteAddress, c.UserAgent, when(c.Connected), c.State, c.Ready, c.InFlight,
		c.Messages, c.Finished, c.Requeued, c.TimedOut, c.SampleRate, c.TLS, c.TLSVersion, c.CipherSuite, c.Deflate, c.Snappy,
		c.Authed, c.AuthIdentity, c.Zone, c.Region, when(c.LastActive), when(c.NextTimeout), inMS(c.Holds), c.Idle, nil,
	}
	for _, p := range c.Published {
		v.Published = append(v.Published, sent{p.Topic, p.Count})
	}
	return v
}

// clientsTimeout bounds how long connections are waited for.
const clientsTimeout = 10 * time.Second

// clients are the consumers of a channel, the producers of a topic, or a node's
// connections.
func (a *api) clients(r *http.Request, q url.Values) (any, error) {
	topic, channel, node := q.Get("topic"), q.Get("channel"), q.Get("node")
	switch {
	case topic == "" && node == "":
		return nil, httpapi.BadRequest("MISSING_ARG_TOPIC: name a topic and a channel for its consumers, a topic for its producers, or a node")
	case topic != "" && !protocol.ValidName(topic):
		return nil, invalid("topic", "must be the name of a topic")
	case channel != "" && (topic == "" || !protocol.ValidName(channel)):
		return nil, invalid("channel", "must be the name of a channel, with its topic")
	}
	ctx, cancel := context.WithTimeout(r.Context(), clientsTimeout)
	defer cancel()
	all, results := a.Source.Clients(ctx, topic, channel, node)
	views := []clientView{}
	for i := range all {
		views = append(views, showClient(&all[i]))
	}
	return struct {
		Clients []clientView `json:"clients"`
		Failed  []failure    `json:"failed"`
	}{views, failures(results)}, nil
}
