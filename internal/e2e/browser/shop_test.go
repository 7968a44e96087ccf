package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

// longest is a topic of as many bytes as a name may have.
const longest = "warehouse.eu-central-1.picking.assignments.of-forklifts-at-night"

// newShop starts a house whose two daemons hold what a shop's may, the good and the
// bad: a channel that is busy, one that is paused, one that nobody consumes, dead
// messages, deferred ones, and consumers that are slow or ask for nothing.
func newShop(t *testing.T, flags ...string) *house {
	t.Helper()
	h := newHouse(t, 2, flags...)
	fill(h)
	return h
}

// fill makes topics and channels, publishes to them, and consumes.
func fill(h *house) {
	h.t.Helper()
	for n := range h.qds {
		for _, c := range []struct{ topic, channel string }{
			{"orders", "billing"}, {"orders", "shipping"}, {"orders", "archive"}, {"payments", "ledger"}, {"payments", "fraud"},
			{"emails", "sender"}, {"images", "resize"}, {"stock", "warehouse"}, {"clicks", "analytics"}, {"clicks", "tail#ephemeral"},
			{longest, longest}, {"audit-trail", "archive"},
		} {
			h.post(n, "/topic/create", "", "topic", c.topic)
			h.post(n, "/channel/create", "", "topic", c.topic, "channel", c.channel)
		}
		h.post(n, "/channel/policy", "", "topic", "payments", "channel", "ledger", "max_attempts", "2")
	}
	h.pause()
	for n := range h.qds {
		h.mpub(n, "orders", 60, order)
		h.mpub(n, "payments", 6, payment)
		h.mpub(n, "images", 20, image)
		h.mpub(n, "clicks", 400, click)
		h.mpub(n, "returns", 7, order)
		h.mpub(n, longest, 3, image)
		h.post(n, "/pub", order(1), "topic", "emails", "defer", "3000000")
		h.post(n, "/pub", order(2), "topic", "emails", "defer", "1800000")
	}
	h.consumers()
}

// pause pauses a channel over the admin, so that it is in the audit log.
func (h *house) pause() {
	h.t.Helper()
	h.act(`{"action":"pause-channel","targets":[{"topic":"orders","channel":"shipping"}],"args":{"reason":"the carrier has an outage, ticket 4711","for":"50m"}}`)
}

// act does something over the admin's API, and returns the number of its entry in the
// audit log.
func (h *house) act(request string) string {
	h.t.Helper()
	r, err := http.Post(h.base+"/api/actions", "application/json", strings.NewReader(request))
	if err != nil {
		h.t.Fatal(err)
	}
	defer r.Body.Close()
	var answer struct{ Entry string }
	b, err := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusOK || errors.Join(err, json.Unmarshal(b, &answer)) != nil {
		h.t.Fatalf("%s: %s %s", request, r.Status, b)
	}
	return answer.Entry
}

// consumers starts one of each kind. All of them end with the test.
func (h *house) consumers() {
	fine := func(context.Context, *millrace.Message) error { return nil }
	for n := range 2 {
		h.consume("orders", "billing", fmt.Sprint("billing-", n), fine)
	}
	h.consume("payments", "fraud", "fraud-1", fine)
	h.consume("stock", "warehouse", "warehouse-1", fine)
	h.consume("clicks", "analytics", "analytics-1", fine)
	h.consume("payments", "ledger", "ledger-1", func(context.Context, *millrace.Message) error { return errors.New("the ledger is closed") })
	h.consume("images", "resize", "resize-1", func(context.Context, *millrace.Message) error { return millrace.ErrAnswerLater })
	idle := h.consume("emails", "sender", "sender-1", fine)
	idle.Pause()
}

// consume runs a consumer until the test ends.
func (h *house) consume(topic, channel, name string, handle millrace.HandlerFunc) *millrace.Reader {
	h.t.Helper()
	config := millrace.ReaderConfig{
		Topic: topic, Channel: channel, Handler: handle, MaxInFlight: 10, RequeueDelay: -1, TouchFor: -1, ShutdownTimeout: time.Second,
		Connection: millrace.Connection{ClientID: name, Hostname: name + ".shop.internal"},
	}
	for _, q := range h.qds {
		config.Addresses = append(config.Addresses, tcpOf(q))
	}
	r, err := millrace.NewReader(config)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); err != nil && ctx.Err() == nil {
			h.t.Errorf("the consumer %s: %v", name, err)
		}
	})
	h.t.Cleanup(func() { cancel(); wg.Wait() })
	return r
}

// mpub publishes so many bodies to a topic of the nth daemon.
func (h *house) mpub(n int, topic string, messages int, body func(int) string) {
	h.t.Helper()
	var lines []string
	for i := range messages {
		lines = append(lines, body(i*len(h.qds)+n))
	}
	h.post(n, "/mpub", strings.Join(lines, "\n"), "topic", topic)
}

func order(i int) string {
	return fmt.Sprintf(`{"order":"A-%d","customer":"c-%d","items":%d,"total":"%d.90","currency":"EUR","state":"placed"}`, 100_042+i, 7_000+i*37%900, i%4+1, 12+i*13%80)
}

func payment(i int) string {
	return fmt.Sprintf(`{"payment":"p-%d","order":"A-%d","method":"card","amount":"%d.90"}`, 88_100+i, 100_042+i, 12+i*13%80)
}

func image(i int) string {
	return fmt.Sprintf(`{"bucket":"product-images","key":"2026/11/%08x.jpg","widths":[320,640,1280]}`, uint32(i+1)*2_654_435_761)
}

func click(i int) string {
	return fmt.Sprintf(`{"session":"s-%d","page":"/products/%d","ms":%d}`, 9_000+i*71%500, i*17%300, 20+i*7%400)
}

// get asks for JSON.
func (h *house) get(at string, into any) {
	h.t.Helper()
	r, err := http.Get(at)
	if err != nil {
		h.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusOK || errors.Join(err, json.Unmarshal(b, into)) != nil {
		h.t.Fatalf("GET %s: %s %v %.500s", at, r.Status, err, b)
	}
}

// settled waits until a channel has so many messages in a state, and returns the IDs of
// some of them.
func (h *house) settled(topic, channel, state string, least int) []string {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var answer struct{ Messages []struct{ ID string } }
		h.get(h.base+"/api/messages?"+query([]string{"topic", topic, "channel", channel, "state", state}), &answer)
		if n := len(answer.Messages); n >= least {
			ids := make([]string, n)
			for i, m := range answer.Messages {
				ids[i] = m.ID
			}
			return ids
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s/%s has %d messages that are %s, want %d", topic, channel, len(answer.Messages), state, least)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
