// #nosec G115 -- numbers of a made-up cluster, small and never negative.

package clustertest

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// routeOurs routes what stock nsqd does not have.
func (n *Node) routeOurs(m *http.ServeMux) {
	m.HandleFunc("POST /topic/policy", n.change("/topic/policy", func(_ *Daemon, t *Topic, _ *Channel, q url.Values) { t.setPolicy(q) }))
	m.HandleFunc("POST /channel/policy", n.change("/channel/policy", func(_ *Daemon, _ *Topic, c *Channel, q url.Values) {
		c.MaxAttempts, _ = strconv.Atoi(q.Get("max_attempts"))
	}))
	m.HandleFunc("POST /channel/seek", n.change("/channel/seek", func(_ *Daemon, t *Topic, c *Channel, q url.Values) {
		c.Depth = 0
		if q.Get("to") != "latest" {
			c.Depth = int64(t.Messages)
		}
	}))
	m.HandleFunc("GET /channel/messages", n.messages)
	m.HandleFunc("GET /message", n.message)
	m.HandleFunc("POST /message/revive", n.onMessages(false, func(_ *Daemon, _ *Topic, c *Channel, m *Message, _ url.Values) bool {
		m.State, m.Attempts, m.Reason, m.Due = "ready", 0, "", time.Time{}
		c.Depth++
		c.Revived++
		return true
	}))
	m.HandleFunc("POST /message/delete", n.onMessages(false, func(_ *Daemon, _ *Topic, c *Channel, _ *Message, _ url.Values) bool {
		c.Deleted++
		return false
	}))
	m.HandleFunc("POST /message/copy", n.onMessages(true, func(d *Daemon, _ *Topic, _ *Channel, m *Message, q url.Values) bool {
		d.Topic(q.Get("to")).Publish(1, len(m.Body))
		return true
	}))
	m.HandleFunc("POST /message/move", n.onMessages(true, func(d *Daemon, _ *Topic, c *Channel, m *Message, q url.Values) bool {
		d.Topic(q.Get("to")).Publish(1, len(m.Body))
		c.Deleted++
		return false
	}))
	m.HandleFunc("POST /client/disconnect", n.disconnect)
	m.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) {
		n.Change(func(d *Daemon) { reply(w, map[string]any{"settings": d.Config}) })
	})
	m.HandleFunc("GET /drain", func(w http.ResponseWriter, _ *http.Request) {
		n.Change(func(d *Daemon) { reply(w, d.drainProgress()) })
	})
	m.HandleFunc("POST /drain", func(w http.ResponseWriter, r *http.Request) {
		n.Change(func(d *Daemon) {
			d.State, d.DrainSince = "draining", time.Now()
			if within, err := time.ParseDuration(r.URL.Query().Get("timeout")); err == nil {
				d.Deadline = d.DrainSince.Add(within)
			}
			reply(w, d.drainProgress())
		})
	})
}

func (t *Topic) setPolicy(q url.Values) {
	number := func(name string, to *int64) {
		if q.Has(name) {
			*to, _ = strconv.ParseInt(q.Get(name), 10, 64)
		}
	}
	number("retention_bytes", &t.Policy.RetentionBytes)
	number("max_messages", &t.Policy.MaxMessages)
	number("max_bytes", &t.Policy.MaxBytes)
	if q.Has("retention_age") {
		t.Policy.RetentionAge, _ = time.ParseDuration(q.Get("retention_age"))
	}
	if q.Has("overflow") {
		t.Policy.Overflow = q.Get("overflow")
	}
	if q.Has("durability") {
		t.Durability = q.Get("durability")
	}
}

// view is a message as the API shows it, with at most show bytes of its body.
func (m *Message) view(show int) map[string]any {
	v := map[string]any{
		"id": m.ID, "timestamp": m.Published.UnixNano(), "state": m.State, "attempts": m.Attempts, "size": len(m.Body),
	}
	if m.Reason != "" {
		v["reason"] = m.Reason
	}
	if key := map[string]string{"deferred": "due", "in_flight": "deadline", "dead": "died"}[m.State]; key != "" {
		v[key] = m.Due.UnixNano()
	}
	if m.State == "in_flight" {
		v["client"] = map[string]any{"client_id": m.Client, "hostname": m.Client, "remote_address": "192.0.2.1:50000"}
	}
	body := m.Body[:min(len(m.Body), show)]
	if len(body) < len(m.Body) {
		v["truncated"] = true
	}
	if utf8.Valid(body) {
		v["body"] = string(body)
	} else {
		v["body_base64"] = body
	}
	return v
}

func shown(q url.Values) int {
	if n, err := strconv.Atoi(q.Get("body")); err == nil && n >= 0 {
		return n
	}
	return 1024
}

func (n *Node) messages(w http.ResponseWriter, r *http.Request) {
	n.Change(func(d *Daemon) {
		q := r.URL.Query()
		_, c, status, code := find(d, q, true, false)
		if code != "" {
			refuse(w, status, code)
			return
		}
		limit, err := strconv.Atoi(q.Get("limit"))
		if err != nil {
			limit = 100
		}
		page := []any{}
		last := ""
		for i := range c.Listed {
			m := &c.Listed[i]
			if m.State != q.Get("state") || m.ID <= q.Get("after") {
				continue
			}
			if len(page) == limit {
				reply(w, map[string]any{"messages": page, "next": last})
				return
			}
			page, last = append(page, m.view(shown(q))), m.ID
		}
		reply(w, map[string]any{"messages": page})
	})
}

func (n *Node) message(w http.ResponseWriter, r *http.Request) {
	n.Change(func(d *Daemon) {
		q := r.URL.Query()
		for _, topic := range slices.Sorted(maps.Keys(d.Topics)) {
			if q.Has("topic") && q.Get("topic") != topic {
				continue
			}
			for _, c := range d.Topics[topic].Channels {
				if i := slices.IndexFunc(c.Listed, func(m Message) bool { return m.ID == q.Get("id") }); i >= 0 {
					v := c.Listed[i].view(shown(q))
					in := maps.Clone(v)
					in["channel_name"] = c.Name
					v["topic_name"], v["channels"] = topic, []any{in}
					reply(w, v)
					return
				}
			}
		}
		refuse(w, http.StatusNotFound, "MESSAGE_NOT_FOUND")
	})
}

// onMessages answers a request that is about dead messages, or about any: one by its ID,
// or all of a state. do returns whether the message stays in the channel.
func (n *Node) onMessages(any bool, do func(d *Daemon, t *Topic, c *Channel, m *Message, q url.Values) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n.Change(func(d *Daemon) {
			q := r.URL.Query()
			t, c, status, code := find(d, q, true, false)
			if code != "" {
				refuse(w, status, code)
				return
			}
			count := 0
			for i := 0; i < len(c.Listed); i++ {
				m := &c.Listed[i]
				if !concerned(m, q, any) {
					continue
				}
				count++
				if !do(d, t, c, m, q) {
					c.Listed = slices.Delete(c.Listed, i, i+1)
					i--
				}
			}
			if count == 0 && q.Get("all") != "true" {
				refuse(w, http.StatusNotFound, fmt.Sprintf("MESSAGE_NOT_FOUND: there is no such message %.16s", q.Get("id")))
				return
			}
			reply(w, map[string]int{"count": count})
		})
	}
}

// concerned reports whether a request is about a message.
func concerned(m *Message, q url.Values, any bool) bool {
	state := q.Get("state")
	switch {
	case q.Get("all") != "true":
		return m.ID == q.Get("id") && (any || m.State == "dead")
	case state == "":
		return m.State == "dead"
	}
	return m.State == state
}

func (n *Node) disconnect(w http.ResponseWriter, r *http.Request) {
	n.Change(func(d *Daemon) {
		id := r.URL.Query().Get("connection")
		is := func(c Client) bool { return id != "" && c.Connection == id }
		found := slices.ContainsFunc(d.Producers, is)
		d.Producers = slices.DeleteFunc(d.Producers, is)
		for _, t := range d.Topics {
			for _, c := range t.Channels {
				found = found || slices.ContainsFunc(c.Clients, is)
				c.Clients = slices.DeleteFunc(c.Clients, is)
			}
		}
		if !found {
			refuse(w, http.StatusNotFound, "CLIENT_NOT_FOUND")
		}
	})
}

func (d *Daemon) drainProgress() map[string]any {
	messages, flying, consumers := int64(0), int64(0), 0
	for _, t := range d.Topics {
		messages += t.Depth
		for _, c := range t.Channels {
			messages += c.Depth + c.InFlight + c.Deferred
			flying += c.InFlight
			consumers += len(c.Clients)
		}
	}
	return map[string]any{
		"state": d.State, "messages": messages, "in_flight": flying, "consumers": consumers,
		"since": nanoseconds(d.DrainSince), "deadline": nanoseconds(d.Deadline),
	}
}
