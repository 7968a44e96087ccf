package messages

import "time"

// answer is a message as a qd's API tells it: of a list, or found by its ID.
type answer struct {
	ID         string  `json:"id"`
	Topic      string  `json:"topic_name"`
	Timestamp  int64   `json:"timestamp"`
	Size       int64   `json:"size"`
	Text       *string `json:"body"`
	Base64     []byte  `json:"body_base64"`
	Truncated  bool    `json:"truncated"`
	Unreadable bool    `json:"unreadable"`
	standing
	Channels []struct {
		Channel string `json:"channel_name"`
		standing
	} `json:"channels"`
}

// standing is where it stands in a channel, as told.
type standing struct {
	State    string `json:"state"`
	Attempts *int   `json:"attempts"`
	Due      int64  `json:"due"`
	Deadline int64  `json:"deadline"`
	Died     int64  `json:"died"`
	Reason   string `json:"reason"`
	Client   *struct {
		ID            string `json:"client_id"`
		Hostname      string `json:"hostname"`
		RemoteAddress string `json:"remote_address"`
	} `json:"client"`
}

// message makes a Message of what node has told. A body is dropped if it is to be
// masked, whatever the node sent.
func (a *answer) message(node, topic, channel string, masked bool) Message {
	m := Message{
		Node: node, Topic: topic, Channel: channel, ID: a.ID, Published: at(a.Timestamp), Standing: a.standing.read(),
		Body: Body{Size: a.Size, Truncated: a.Truncated, Unreadable: a.Unreadable, Masked: masked},
	}
	if topic == "" {
		m.Topic = a.Topic
	}
	switch {
	case masked:
		m.Truncated = false
	case a.Text != nil:
		m.Bytes = []byte(*a.Text)
	case !a.Unreadable:
		m.Bytes = append([]byte{}, a.Base64...)
	}
	for i := range a.Channels {
		c := &a.Channels[i]
		m.Channels = append(m.Channels, InChannel{c.Channel, c.standing.read()})
	}
	return m
}

func (s *standing) read() Standing {
	r := Standing{
		State: s.State, Attempts: -1, Due: at(s.Due), Deadline: at(s.Deadline), Died: at(s.Died), Reason: s.Reason,
	}
	if s.Attempts != nil {
		r.Attempts = *s.Attempts
	}
	if c := s.Client; c != nil {
		r.Holder = &Holder{c.ID, c.Hostname, c.RemoteAddress}
	}
	return r
}

// at is a time as daemons tell it, in nanoseconds since 1970.
func at(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
