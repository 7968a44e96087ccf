package browser

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// This file is what daemons say of themselves, and a consumer.

// figures is what /stats of a daemon tells that these tests look at.
type figures struct {
	Topics []struct {
		Name     string `json:"topic_name"`
		Depth    int
		Messages int `json:"message_count"`
		Paused   bool
		Pause    *pause
		Most     int64 `json:"max_messages"`
		Overflow string
		Channels []struct {
			Name        string `json:"channel_name"`
			Depth       int
			Deferred    int `json:"deferred_count"`
			Dead        int `json:"dead_count"`
			Paused      bool
			Pause       *pause
			MaxAttempts int `json:"max_attempts"`
			Clients     []struct {
				ID         string `json:"client_id"`
				Connection string
			}
		}
	}
}

type pause struct {
	Reason, By   string
	Since, Until int64
}

// stand is where a topic or channel stands, on one daemon or summed up.
type stand struct {
	There                                    int // daemons that have it
	Depth, Messages, Deferred, Dead, Clients int
	Paused                                   int // of those that have it
	Pause                                    pause
	MaxAttempts                              int
	Most                                     int64
	Overflow                                 string
}

// ask gets JSON.
func ask(t *testing.T, url string, into any) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %s %v", url, r.Status, body, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("GET %s: %v: %s", url, err, body)
	}
}

// topic is where a topic stands on some daemons, or all if none is named. Its channels
// are not counted.
func (h *house) topic(name string, on ...*program) stand { h.t.Helper(); return h.stand(name, "", on) }

// channel is where a channel stands.
func (h *house) channel(topic, name string, on ...*program) stand {
	h.t.Helper()
	return h.stand(topic, name, on)
}

func (h *house) stand(topic, channel string, on []*program) (s stand) {
	h.t.Helper()
	if len(on) == 0 {
		on = h.qds
	}
	for _, p := range on {
		var f figures
		ask(h.t, "http://"+p.http+"/stats?format=json&topic="+topic, &f)
		for _, t := range f.Topics {
			if t.Name != topic {
				continue
			}
			if channel == "" {
				s.There++
				s.Depth += t.Depth
				s.Messages += t.Messages
				s.Most, s.Overflow = t.Most, t.Overflow
				s.pause(t.Paused, t.Pause)
			}
			for _, c := range t.Channels {
				if c.Name != channel {
					continue
				}
				s.There++
				s.Depth += c.Depth
				s.Deferred += c.Deferred
				s.Dead += c.Dead
				s.Clients += len(c.Clients)
				s.MaxAttempts = c.MaxAttempts
				s.pause(c.Paused, c.Pause)
			}
		}
	}
	return s
}

func (s *stand) pause(paused bool, p *pause) {
	if paused {
		s.Paused++
	}
	if p != nil {
		s.Pause = *p
	}
}

// wait waits until something is so.
func wait(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not happen", what)
		}
		time.Sleep(20 * time.Millisecond) // other processes: there is no event for this
	}
}

// consumer is a connection that gets messages of a channel.
type consumer struct {
	t    *testing.T
	conn net.Conn
}

// subscribe connects a consumer that may hold so many messages. It ends with the test.
func subscribe(t *testing.T, address, topic, channel, id string, ready int) *consumer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	out := append([]byte("  V2"), protocol.AppendIdentify(nil, []byte(fmt.Sprintf(`{"client_id":%q,"hostname":"host-of-%s"}`, id, id)))...)
	out = protocol.AppendRdy(protocol.AppendSub(out, topic, channel), ready)
	if _, err := conn.Write(out); err != nil {
		t.Fatal(err)
	}
	return &consumer{t, conn}
}

// next waits for a message.
func (c *consumer) next() protocol.Message {
	c.t.Helper()
	for {
		kind, data, err := protocol.ReadFrame(c.conn, nil, 1<<20)
		if err != nil {
			c.t.Fatalf("the consumer gets no message: %v", err)
		}
		switch kind {
		case protocol.FrameResponse: // OK, or a heartbeat
			if _, err := c.conn.Write(protocol.AppendNop(nil)); err != nil {
				c.t.Fatal(err)
			}
		case protocol.FrameError:
			c.t.Fatalf("the consumer is told %s", data)
		case protocol.FrameMessage:
			m, err := protocol.ParseMessage(data)
			if err != nil {
				c.t.Fatal(err)
			}
			return m
		}
	}
}

// refuse gives back so many messages, as one that cannot work with them does.
func (c *consumer) refuse(messages int) {
	c.t.Helper()
	for range messages {
		if _, err := c.conn.Write(protocol.AppendReq(nil, c.next().ID, 0)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// bury makes a channel of a topic on all daemons whose so many messages on each are all
// dead: somebody has had each of them once, and could not work with it.
func (h *house) bury(topic, channel string, each int) {
	h.t.Helper()
	for i, q := range h.qds {
		h.post(i, "/topic/create", "", "topic", topic)
		h.post(i, "/channel/create", "", "topic", topic, "channel", channel, "max_attempts", "1")
		h.publish(i, topic, each)
		c := subscribe(h.t, tcpOf(q), topic, channel, "undertaker", each)
		c.refuse(each)
		wait(h.t, "dying", func() bool { return h.channel(topic, channel, q).Dead == each })
		c.conn.Close()
	}
}
