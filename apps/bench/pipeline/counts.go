package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// askEvery is how often the broker is asked how far it is: seldom enough to cost
// nothing beside the messages, and a small part of what is measured.
const askEvery = 5 * time.Millisecond

// counts are what the broker says of the topic and its channel.
type counts struct {
	Published int64 `json:"message_count"`
	Depth     int64 `json:"depth"` // not yet in the channel
	Channels  []struct {
		Depth    int64 `json:"depth"`
		InFlight int64 `json:"in_flight_count"`
		Deferred int64 `json:"deferred_count"`
		Clients  int64 `json:"client_count"`
	} `json:"channels"`
}

// left is how many messages are not finished.
func (c counts) left() int64 {
	return c.Depth + c.Channels[0].Depth + c.Channels[0].InFlight + c.Channels[0].Deferred
}

// subscribed waits until to_file is a client of the channel.
func (p *pass) subscribed(ctx context.Context, file *process) error {
	return p.until(ctx, file, func(c counts) bool { return c.Channels[0].Clients > 0 })
}

// finished waits until all messages were published, and none is left.
func (p *pass) finished(ctx context.Context, file *process) error {
	return p.until(ctx, file, func(c counts) bool { return c.Published >= p.Lines && c.left() == 0 })
}

// until asks the broker until it says what is wanted. It fails when to_file ends, or
// nothing changes for too long.
func (p *pass) until(ctx context.Context, file *process, wanted func(counts) bool) error {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	var state [3]int64
	for changed := time.Now(); ; {
		c, err := p.ask(ctx)
		if err != nil {
			return fmt.Errorf("asking the broker what it has counted: %w", err)
		}
		if wanted(c) {
			return nil
		}
		if now := [3]int64{c.Published, c.left(), c.Channels[0].Clients}; now != state {
			state, changed = now, time.Now()
		}
		if time.Since(changed) > p.Stall {
			return fmt.Errorf("nothing happened for %v while %d of %d messages were published, and %d of these not finished",
				p.Stall, c.Published, p.Lines, c.left())
		}
		select {
		case <-tick.C:
		case <-file.done:
			return unexpected(file, file.err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (p *pass) ask(ctx context.Context) (c counts, err error) {
	u := url.URL{Scheme: "http", Host: p.broker.HTTP, Path: "/stats", RawQuery: url.Values{"format": {"json"}, "topic": {p.topic}}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return c, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return c, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Topics []counts `json:"topics"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return c, fmt.Errorf("%s: %w", resp.Status, err)
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Channels) != 1 {
		return c, fmt.Errorf("%s: topic %s with its channel is not in the answer", resp.Status, p.topic)
	}
	return answer.Topics[0], nil
}
