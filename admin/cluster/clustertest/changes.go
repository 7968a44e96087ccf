package clustertest

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// hostPort is where the daemon is, as it says itself.
func (s *Server) hostPort() (string, int) {
	host, port, _ := net.SplitHostPort(s.address)
	n, _ := strconv.Atoi(port)
	return host, n
}

func (n *Node) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /stats", n.stats)
	m.HandleFunc("GET /info", n.info)
	m.HandleFunc("GET /ping", n.ping)
	m.HandleFunc("POST /pub", n.publish)
	m.HandleFunc("POST /mpub", n.publish)
	for path, do := range map[string]func(d *Daemon, t *Topic, c *Channel, q url.Values){
		"/topic/pause":     func(_ *Daemon, t *Topic, _ *Channel, q url.Values) { t.Paused, t.Pause = true, pauseOf(q) },
		"/topic/unpause":   func(_ *Daemon, t *Topic, _ *Channel, _ url.Values) { t.Paused, t.Pause = false, Pause{} },
		"/topic/empty":     func(_ *Daemon, t *Topic, _ *Channel, _ url.Values) { t.Depth, t.OnDisk = 0, 0 },
		"/topic/delete":    func(d *Daemon, t *Topic, _ *Channel, _ url.Values) { delete(d.Topics, t.Name) },
		"/channel/pause":   func(_ *Daemon, _ *Topic, c *Channel, q url.Values) { c.Paused, c.Pause = true, pauseOf(q) },
		"/channel/unpause": func(_ *Daemon, _ *Topic, c *Channel, _ url.Values) { c.Paused, c.Pause = false, Pause{} },
		"/channel/empty":   func(_ *Daemon, _ *Topic, c *Channel, _ url.Values) { c.empty() },
		"/channel/delete":  func(_ *Daemon, t *Topic, c *Channel, _ url.Values) { delete(t.Channels, c.Name) },
		"/topic/create":    func(*Daemon, *Topic, *Channel, url.Values) {},
		"/channel/create":  func(*Daemon, *Topic, *Channel, url.Values) {},
	} {
		m.HandleFunc("POST "+path, n.change(path, do))
	}
	if !n.Stock {
		n.routeOurs(m)
	}
	m.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "NOT_FOUND") })
	return m
}

// change answers a request that is about a topic, or a channel, which the path says.
func (n *Node) change(path string, do func(d *Daemon, t *Topic, c *Channel, q url.Values)) http.HandlerFunc {
	create, ofChannel := strings.HasSuffix(path, "/create"), strings.HasPrefix(path, "/channel")
	return func(w http.ResponseWriter, r *http.Request) {
		n.Change(func(d *Daemon) {
			q := r.URL.Query()
			t, c, status, code := find(d, q, ofChannel, create)
			if code != "" {
				refuse(w, status, code)
				return
			}
			do(d, t, c, q)
		})
	}
}

// find is the topic that the arguments name, and its channel if one is wanted.
func find(d *Daemon, q url.Values, ofChannel, create bool) (t *Topic, c *Channel, status int, code string) {
	topic, channel := q.Get("topic"), q.Get("channel")
	switch {
	case !q.Has("topic"):
		return nil, nil, http.StatusBadRequest, "MISSING_ARG_TOPIC"
	case create && !protocol.ValidName(topic):
		return nil, nil, http.StatusBadRequest, "INVALID_TOPIC"
	case ofChannel && !q.Has("channel"):
		return nil, nil, http.StatusBadRequest, "MISSING_ARG_CHANNEL"
	case ofChannel && create && !protocol.ValidName(channel):
		return nil, nil, http.StatusBadRequest, "INVALID_ARG_CHANNEL"
	}
	if t = d.Topics[topic]; t == nil && (!create || ofChannel) {
		return nil, nil, http.StatusNotFound, "TOPIC_NOT_FOUND"
	}
	if create {
		t = d.Topic(topic)
	}
	if !ofChannel {
		return t, nil, 0, ""
	}
	if create {
		return t, t.Channel(channel), 0, ""
	}
	if c = t.Channels[channel]; c == nil {
		return nil, nil, http.StatusNotFound, "CHANNEL_NOT_FOUND"
	}
	return t, c, 0, ""
}

// empty drops what could be delivered; as on nsqd, what is deferred and in flight too.
func (c *Channel) empty() {
	c.Depth, c.OnDisk, c.InFlight, c.Deferred = 0, 0, 0, 0
	kept := c.Listed[:0]
	for _, m := range c.Listed {
		if m.State == "dead" {
			kept = append(kept, m)
		}
	}
	c.Listed = kept
}

// pauseOf reads what is said with a pause. Times that cannot be read are none.
func pauseOf(q url.Values) Pause {
	p := Pause{Reason: q.Get("reason"), By: q.Get("by"), Since: time.Now()}
	if d, err := time.ParseDuration(q.Get("for")); err == nil {
		p.Until = p.Since.Add(d)
	}
	if t, err := time.Parse(time.RFC3339Nano, q.Get("until")); err == nil {
		p.Until = t
	} else if n, err := strconv.ParseInt(q.Get("until"), 10, 64); err == nil {
		if n < 1e15 { // ms
			n *= 1e6
		}
		p.Until = time.Unix(0, n)
	}
	return p
}

// publish takes messages: they can be looked at afterwards.
func (n *Node) publish(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	topic := r.URL.Query().Get("topic")
	if !protocol.ValidName(topic) {
		refuse(w, http.StatusBadRequest, "INVALID_TOPIC")
		return
	}
	n.Change(func(d *Daemon) {
		if d.State == "draining" {
			refuse(w, http.StatusServiceUnavailable, "DRAINING: this daemon takes no more messages; publish to another")
			return
		}
		t := d.Topic(topic)
		bodies := [][]byte{body}
		if r.URL.Path == "/mpub" {
			bodies = nil
			for line := range strings.Lines(string(body)) {
				bodies = append(bodies, []byte(strings.TrimSuffix(line, "\n")))
			}
		}
		state := "ready"
		if ms, err := strconv.Atoi(r.URL.Query().Get("defer")); err == nil && ms > 0 {
			state = "deferred"
		}
		for _, b := range bodies {
			t.Messages++
			t.Bytes += uint64(len(b))
			if len(t.Channels) == 0 {
				t.Depth++
			}
			for _, c := range t.Channels {
				d.Show(c, state, b)
			}
		}
		reply(w, "OK")
	})
}
