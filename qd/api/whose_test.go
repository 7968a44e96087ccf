package api_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
)

// create makes a topic with channel c.
func (d *daemon) create(topic string) {
	d.t.Helper()
	d.do("/topic/create?topic="+topic, nil)
	d.do("/channel/create?channel=c&topic="+topic, nil)
}

// page returns the first page of a state of a channel.
func (d *daemon) page(topic, channel, state string) []seen {
	d.t.Helper()
	var p seenPage
	d.get(fmt.Sprintf("/channel/messages?topic=%s&channel=%s&state=%s&limit=1000", topic, channel, state), &p)
	return p.Messages
}

// whole is what GET /message answers.
type whole struct {
	seen
	Topic    string `json:"topic_name"`
	Channels []struct{ State string }
}

// A message is found without its topic being named: of topics that are interleaved,
// and after restarts, from before them, too.
func TestMessageOfAnyTopic(t *testing.T) {
	m := newMedium(t)
	const topics = 20
	of := make(map[string]string) // topics by ID
	for life := range 4 {
		d := m.start(t, nil)
		for i := range topics {
			topic := fmt.Sprint("t", i)
			if life == 0 {
				d.create(topic)
			}
			if life > 0 && i%3 == life%3 {
				continue // no new extent in this life
			}
			d.do("/mpub?topic="+topic, fmt.Sprintf("%s a%d\n%s b%d", topic, life, topic, life))
			d.do("/pub?defer=3600000&topic="+topic, topic+" later")
		}
		for i := range topics {
			for _, state := range []string{"ready", "deferred"} {
				for _, s := range d.page(fmt.Sprint("t", i), "c", state) {
					of[s.ID] = fmt.Sprint("t", i)
				}
			}
		}
		for id, topic := range of {
			var got whole
			d.get("/message?id="+id, &got)
			if got.Topic != topic || got.Body == nil || (*got.Body)[:len(topic)+1] != topic+" " || len(got.Channels) != 1 {
				t.Fatalf("in life %d, %s of %s is found as %+v", life, id, topic, got)
			}
		}
		d.stop()
	}
	d := m.start(t, nil)
	d.do("/topic/delete?topic=t3", nil)
	for id, topic := range of {
		if topic == "t3" {
			d.expect("GET", "/message?id="+id, nil, 404, code("MESSAGE_NOT_FOUND"))
		}
	}
}

// At level memory it is those that are parked or in flight.
func TestMessageOfAnyTopicInMemory(t *testing.T) {
	d := start(t, nil)
	d.limited()
	d.create("other")
	d.do("/pub?topic=other", "y")
	id := d.bury("x")
	var got whole
	d.get("/message?id="+id, &got)
	if got.Topic != "t" || *got.Body != "x" || got.Channels[0].State != "dead" {
		t.Errorf("%+v", got)
	}
	k := d.read("other", "c", "k", time.Minute)
	defer k.close()
	d.get("/message?id="+k.take(1)[0].ID.String(), &got)
	if got.Topic != "other" || *got.Body != "y" || got.Channels[0].State != "in_flight" {
		t.Errorf("%+v", got)
	}
}

// only lets one topic be consumed, and who names none.
type only struct{ topic string }

func (o only) Allow(_ context.Context, _ access.Who, action access.Action, topic, _ string) error {
	if action == access.Look && topic != "" && topic != o.topic {
		return errors.New("not that one")
	}
	return nil
}

// Who does not name the topic sees no more than who does.
func TestMessageOfAnyTopicAsksThePolicy(t *testing.T) {
	d := newMedium(t).start(t, func(_ *broker.Settings, c *api.Config) { c.Policy = only{"mine"} })
	for _, topic := range []string{"mine", "theirs"} {
		d.create(topic)
		d.do("/pub?topic="+topic, "x")
	}
	var mine whole
	d.get("/message?id="+d.page("mine", "c", "ready")[0].ID, &mine)
	if mine.Topic != "mine" {
		t.Errorf("%+v", mine)
	}
	theirs := d.topic("theirs")
	all, err := theirs.Messages("c", 0, 0, 1)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	d.expect("GET", fmt.Sprintf("/message?id=%016x", all[0].ID), nil, 403, code("FORBIDDEN: not that one"))
}
