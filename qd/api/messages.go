package api

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/stats"
)

const (
	defaultPage = 100 // messages
	maxPage     = 1000
	defaultShow = 1 << 10 // bytes of a body
	maxShow     = 1 << 20
	pageBytes   = 16 << 20
)

// lookStates are the states that can be asked for.
var lookStates = map[string]queue.LookState{
	"ready": queue.Ready, "in_flight": queue.InFlight, "deferred": queue.Deferred, "dead": queue.DeadMessages,
}

// word is a state as the API names it.
func word(state string) string { return strings.ReplaceAll(state, " ", "_") }

// window is which messages of a channel are asked for.
type window struct {
	state queue.LookState
	after uint64 // an ID
	limit int    // messages
	show  int    // bytes of each body
}

func windowArguments(q url.Values) (w window, err error) {
	state, err := httpapi.Argument(q, "state")
	if err != nil {
		return w, err
	}
	known := false
	if w.state, known = lookStates[state]; !known {
		return w, invalid("state", "must be ready, in_flight, deferred or dead")
	}
	w.limit = defaultPage
	if q.Has("limit") {
		n, err := numberArgument(q, "limit", maxPage)
		if err != nil || n == 0 {
			return w, invalid("limit", "must be a number from 1 to 1000")
		}
		w.limit = int(n)
	}
	if q.Has("after") {
		if w.after, err = idArgument(q, "after"); err != nil {
			return w, err
		}
	}
	w.show, err = showArgument(q)
	return w, err
}

// showArgument reads how much of each body is to be shown.
func showArgument(q url.Values) (int, error) {
	if !q.Has("body") {
		return defaultShow, nil
	}
	n, err := numberArgument(q, "body", maxShow)
	return int(n), err
}

// page is some of a channel's messages.
type page struct {
	Messages []messageView `json:"messages"`
	Next     string        `json:"next,omitempty"` // what to pass as after; empty at the end
}

// channelMessages shows messages of a channel that are in a state, by ID. It
// changes nothing. What changes state between two pages may be on both or none.
func (a *api) channelMessages(_ *http.Request, q url.Values) (any, error) {
	topic, channel, err := httpapi.ChannelArguments(q)
	if err != nil {
		return nil, err
	}
	w, err := windowArguments(q)
	if err != nil {
		return nil, err
	}
	t, err := a.Broker.Find(topic)
	if err != nil {
		return nil, refusal(err)
	}
	p := page{Messages: []messageView{}}
	err = a.fill(&p, t, channel, w)
	return p, refusal(err)
}

// fill reads a page. Bodies come whole from the broker, so it asks for a few
// messages at a time, and for one more than is wanted to see whether there are
// more. What a request takes of memory does not grow with what it asks for.
func (a *api) fill(p *page, t *broker.Topic, channel string, w window) error {
	step := max(a.PageBytes/max(a.bounds().MaxMsgSize, 1), 16)
	shown := 0
	for {
		n := min(step, w.limit+1-len(p.Messages))
		seen, err := t.Messages(channel, w.state, w.after, n)
		if err != nil {
			return err
		}
		for _, s := range seen {
			if len(p.Messages) == w.limit || shown > a.PageBytes {
				p.Next = p.Messages[len(p.Messages)-1].ID
				return nil
			}
			m := view(s, w.show)
			shown += m.shown()
			p.Messages = append(p.Messages, m)
			w.after = s.ID
		}
		if len(seen) < n {
			return nil
		}
	}
}

// messageView is a message and where it stands. Times are ns since the Unix
// epoch.
type messageView struct {
	ID        string `json:"id"`
	Timestamp int64  `json:"timestamp,omitempty"` // of its publish
	standing
	bodyView
}

// standing is what has become of a message in a channel.
type standing struct {
	State    string      `json:"state,omitempty"`
	Attempts *uint16     `json:"attempts,omitempty"` // deliveries so far, the one under way included
	Due      int64       `json:"due,omitempty"`      // when a deferred message will be delivered
	Deadline int64       `json:"deadline,omitempty"` // when the time of the consumer that holds it ends
	Died     int64       `json:"died,omitempty"`
	Reason   string      `json:"reason,omitempty"` // why it came back the last time
	Client   *holderView `json:"client,omitempty"` // the consumer that holds it
}

// holderView is the consumer that holds a message.
type holderView struct {
	ID            string `json:"client_id"`
	Hostname      string `json:"hostname"`
	RemoteAddress string `json:"remote_address"`
}

func view(s broker.Seen, show int) messageView {
	return messageView{formatID(s.ID), s.Published, stands(s.Seen), showBody(s.Body, show)}
}

func formatID(id uint64) string { return protocol.FormatID(id).String() }

func stands(s queue.Seen) standing {
	st := standing{State: word(s.State.String()), Attempts: &s.Attempts, Reason: s.Reason.String()}
	switch s.State {
	case queue.InFlight:
		st.Deadline = s.Due
		if c, ok := stats.ClientOf(s.Owner); ok {
			st.Client = &holderView{c.ID, c.Hostname, c.RemoteAddress}
		}
	case queue.Deferred:
		st.Due = s.Due
	case queue.DeadMessages:
		st.Died = s.Due
	}
	return st
}

// message shows one message and where it stands in each channel of its topic. If
// the topic is not named, it is found by the ID.
func (a *api) message(r *http.Request, q url.Values) (any, error) {
	topic := "" // none
	if q.Has("topic") {
		var err error
		if topic, err = httpapi.NameArgument(q, "topic", "INVALID_TOPIC"); err != nil {
			return nil, err
		}
	}
	id, err := idArgument(q, "id")
	if err != nil {
		return nil, err
	}
	show, err := showArgument(q)
	if err != nil {
		return nil, err
	}
	t, m, all, err := a.findMessage(r, topic, id)
	if err != nil {
		return nil, refusal(err)
	}
	return struct {
		ID        string `json:"id"`
		Timestamp int64  `json:"timestamp,omitempty"`
		bodyView
		Channels []inChannel `json:"channels"`
		Topic    string      `json:"topic_name"`
	}{formatID(id), m.Published, showBody(m.Body, show), standings(id, all), t.Name()}, nil
}

// findMessage finds a message of a topic; without a name, whose ever it is.
func (a *api) findMessage(r *http.Request, topic string, id uint64) (t *broker.Topic, m broker.Seen, all []broker.Standing, err error) {
	if topic == "" {
		t, m, all, err = a.Broker.FindMessage(r.Context(), id)
		if err != nil && r.Context().Err() != nil {
			return t, m, all, httpapi.Errorf(http.StatusServiceUnavailable, "BUSY: %s", r.Context().Err())
		}
		if err == nil { // the policy has been asked about no topic so far
			err = httpapi.Ask(r, a.Policy, access.Look, t.Name(), "")
		}
		return t, m, all, err
	}
	if t, err = a.Broker.Find(topic); err == nil {
		m, all, err = t.Message(id)
	}
	return t, m, all, err
}

// inChannel is where a message stands in a channel.
type inChannel struct {
	Channel string `json:"channel_name"`
	standing
}

func standings(id uint64, all []broker.Standing) []inChannel {
	channels := []inChannel{} // [] in JSON when there are none
	for _, s := range all {
		st := standing{State: word(s.State)}
		switch {
		case s.Seen.ID == id:
			st = stands(s.Seen)
		case s.State == queue.Ready.String(): // never delivered
			st.Attempts = new(uint16)
		}
		channels = append(channels, inChannel{s.Channel, st})
	}
	return channels
}

// onDead returns a handler that does something to one dead message of a channel,
// or to all, and answers to how many.
func (a *api) onDead(do func(t *broker.Topic, channel string, id uint64, all bool) (int, error)) httpapi.Handler {
	return func(r *http.Request, q url.Values) (any, error) {
		topic, channel, err := httpapi.ChannelArguments(q)
		if err != nil {
			return nil, err
		}
		id, all, err := whichArguments(q)
		if err != nil {
			return nil, err
		}
		t, err := a.Broker.Find(topic)
		if err != nil {
			return nil, refusal(err)
		}
		n, err := do(t, channel, id, all)
		httpapi.Count(r, n)
		return struct {
			Count int `json:"count"`
		}{n}, refusal(err)
	}
}

// whichArguments reads an ID, or that all are meant, but not both.
func whichArguments(q url.Values) (id uint64, all bool, err error) {
	if !q.Has("all") {
		id, err = idArgument(q, "id")
		return id, false, err
	}
	if q.Get("all") != "true" {
		return 0, false, invalid("all", "must be true, or left out")
	}
	if q.Has("id") {
		return 0, false, invalid("all", "cannot be together with id")
	}
	return 0, true, nil
}

// seek moves a channel to a place in its topic's log.
func (a *api) seek(_ *http.Request, q url.Values) (any, error) {
	topic, channel, err := httpapi.ChannelArguments(q)
	if err != nil {
		return nil, err
	}
	to, err := placeArgument(q, "to")
	if err != nil {
		return nil, err
	}
	t, err := a.Broker.Find(topic)
	if err == nil {
		err = t.Seek(channel, to)
	}
	return nil, refusal(err)
}
