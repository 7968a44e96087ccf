package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Subscription says how a channel is consumed.
type Subscription struct {
	Topic, Channel string
	Consumers      int // connections
	RDY            int // 0 is the most that the broker allows
	Producers      int // of the messages that will come
	Layers         Layers

	// Latency, if set, is given every delivery.
	Latency *Latency
}

// Channel is a channel with its consumers.
type Channel struct {
	sub       Subscription
	consumers []*consumer
	progress  *Progress

	received atomic.Int64
	expected atomic.Int64 // -1 until Expect
	enough   sync.Once    // all that was expected has come
}

// OpenChannel connects and subscribes. Nothing is delivered before Run.
func OpenChannel(ctx context.Context, addr string, s Subscription, progress *Progress) (*Channel, error) {
	ch := &Channel{sub: s, progress: progress}
	ch.expected.Store(-1)
	for range s.Consumers {
		c, err := dial(ctx, addr, s.Layers)
		if err != nil {
			ch.Close()
			return nil, err
		}
		ch.consumers = append(ch.consumers, &consumer{
			conn: c, frames: newFrames(c, readSize), channel: ch, tally: newTally(s.Producers),
		})
		if _, err := c.ask(protocol.AppendSub(nil, s.Topic, s.Channel)); err != nil {
			ch.Close()
			return nil, fmt.Errorf("subscribing to %s/%s: %w", s.Topic, s.Channel, err)
		}
	}
	return ch, nil
}

// Close ends consumers that were not run.
func (ch *Channel) Close() {
	for _, c := range ch.consumers {
		_ = c.conn.Close()
	}
}

// Expect sets how many deliveries end Run. It may be called while Run runs.
func (ch *Channel) Expect(n int64) {
	ch.expected.Store(n)
	if ch.received.Load() >= n {
		ch.finish()
	}
}

// Run consumes until the expected number of messages has come and the broker
// has confirmed, by CLOSE_WAIT, that it has taken every FIN.
func (ch *Channel) Run(ctx context.Context) error {
	var parts []func(context.Context) error
	for _, c := range ch.consumers {
		parts = append(parts, c.run)
	}
	return Together(ctx, parts...)
}

// Audit compares what came with published, the messages of each producer. It
// may be called after Run.
func (ch *Channel) Audit(published []int64) Audit {
	var tallies []*tally
	for _, c := range ch.consumers {
		tallies = append(tallies, c.tally)
	}
	return audit(published, tallies)
}

// Describe says how far the channel has come.
func (ch *Channel) Describe() string {
	if e := ch.expected.Load(); e >= 0 {
		return fmt.Sprintf("channel %s: %d of %d messages received", ch.sub.Channel, ch.received.Load(), e)
	}
	return fmt.Sprintf("channel %s: %d messages received", ch.sub.Channel, ch.received.Load())
}

func (ch *Channel) add(n int64) {
	ch.progress.Add(n)
	got := ch.received.Add(n)
	// Expect stores before it loads what was received, so one of the two
	// sees the other.
	if e := ch.expected.Load(); e >= 0 && got >= e {
		ch.finish()
	}
}

// finish wakes every consumer out of its read.
func (ch *Channel) finish() {
	ch.enough.Do(func() {
		for _, c := range ch.consumers {
			_ = c.conn.SetReadDeadline(time.Unix(1, 0))
		}
	})
}

// A FIN on the wire is its name, the ID and a newline.
const (
	finSize = len("FIN ") + protocol.IDLength + len("\n")
	finID   = len("FIN ")
)

type consumer struct {
	conn    *conn
	frames  *frames
	channel *Channel
	tally   *tally
	fins    []byte // FINs whose IDs are overwritten at each read
}

func (c *consumer) run(ctx context.Context) error {
	defer c.conn.during(ctx)()
	doing := fmt.Sprintf("consuming channel %s", c.channel.sub.Channel)
	rdy := c.channel.sub.RDY
	if rdy == 0 {
		rdy = max(1, int(c.conn.info.MaxRdyCount))
	}
	if _, err := c.conn.Write(protocol.AppendRdy(nil, rdy)); err != nil {
		return because(ctx, c.conn.lastWords(c.frames, err), doing)
	}
	var broken error
	c.conn.woken = func() error { // the channel has enough
		_, broken = c.conn.Write(protocol.AppendCls(nil))
		return broken
	}
	for {
		switch err := c.frames.fill(); {
		case broken != nil: // the socket takes nothing any more
			return because(ctx, c.conn.lastWords(c.frames, broken), doing)
		case err != nil:
			return because(ctx, err, doing)
		}
		n, closed, err := c.take()
		if err != nil {
			return because(ctx, err, doing)
		}
		if n > 0 {
			if _, err := c.conn.Write(c.fins[:n*finSize]); err != nil {
				return because(ctx, c.conn.lastWords(c.frames, err), doing)
			}
			c.channel.add(int64(n))
		}
		if closed {
			return nil
		}
	}
}

// take walks what was read. It leaves a FIN in fins for each of the n messages.
func (c *consumer) take() (n int, closed bool, err error) {
	if c.channel.sub.Latency != nil {
		c.channel.sub.Latency.arrive()
	}
	for {
		t, data, ok := c.frames.next()
		switch {
		case !ok:
			return n, closed, nil
		case t == protocol.FrameMessage && len(data) >= protocol.MessageHeaderSize+MinSize:
			c.message(n, data)
			n++
		case t == protocol.FrameError:
			return n, closed, refused(data)
		case t == protocol.FrameResponse && string(data) == protocol.Heartbeat:
			if _, err := c.conn.Write(protocol.AppendNop(nil)); err != nil {
				return n, closed, err
			}
		case t == protocol.FrameResponse && string(data) == protocol.CloseWait:
			closed = true
		default:
			return n, closed, fmt.Errorf("the broker sent an unexpected %s %.40q", t, data)
		}
	}
}

// message marks a message as seen and writes its FIN as the n-th.
func (c *consumer) message(n int, data []byte) {
	if (n+1)*finSize > len(c.fins) {
		for range max(n, 1024) {
			c.fins = protocol.AppendFin(c.fins, protocol.MessageID{})
		}
	}
	const id = protocol.IDOffset - protocol.FrameHeaderSize
	copy(c.fins[n*finSize+finID:], data[id:id+protocol.IDLength])
	body := data[protocol.MessageHeaderSize:]
	c.tally.add(binary.BigEndian.Uint64(body[tagOffset:]))
	if l := c.channel.sub.Latency; l != nil {
		l.record(binary.BigEndian.Uint64(body[dueOffset:]))
	}
}
