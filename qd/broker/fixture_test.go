package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a broker that is Run, and what a test does with it.
type running struct {
	*Broker
	t    testing.TB
	stop func() error // orderly, once
	log  *logBook
}

// logBook keeps what is logged.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logBook) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

func settings(dir string) Settings {
	return Settings{
		DataPath: dir, MemoryMessages: 1 << 30, MemoryBytes: 1 << 40, FileBytes: 1 << 20,
		SyncEvery: 1000, SyncTimeout: time.Hour, MaxMsgTimeout: 15 * time.Minute,
		Log: slog.New(slog.DiscardHandler),
	}
}

// start opens and runs a broker. It is stopped at the end of the test, if the
// test has not.
func start(t testing.TB, dir string, change func(*Settings)) *running {
	t.Helper()
	s := settings(dir)
	book := new(logBook)
	s.Log = slog.New(slog.NewTextHandler(io.MultiWriter(book), nil))
	if change != nil {
		change(&s)
	}
	b, err := Open(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.Run(ctx) })
	r := &running{Broker: b, t: t, log: book}
	r.stop = sync.OnceValue(func() error {
		b.Refuse()
		b.Halt()
		cancel()
		wg.Wait()
		return b.Close()
	})
	t.Cleanup(func() {
		r.audit()
		if err := r.stop(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return r
}

// audit checks the books of all topics.
func (r *running) audit() {
	r.t.Helper()
	for _, t := range r.Topics() {
		t.View(func(core *queue.Topic) {
			if err := core.Audit(); err != nil {
				r.t.Error(err)
			}
		})
	}
}

func (r *running) topic(name string) *Topic {
	r.t.Helper()
	t, err := r.Topic(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return t
}

// body returns a message that bears a number.
func body(number, size int) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(number)), make([]byte, size)...)
}

// publish publishes messages numbered from from up to but not including to, in
// batches.
func publish(t testing.TB, topic *Topic, from, to, size int) {
	t.Helper()
	for from < to {
		var batch [][]byte
		for ; from < to && len(batch) < 100; from++ {
			batch = append(batch, body(from, size))
		}
		if err := topic.Publish(batch); err != nil {
			t.Fatal(err)
		}
	}
}

// got is a message as a consumer sees it.
type got struct {
	id       uint64
	number   int
	attempts uint16
}

// client is a subscribed connection.
type client struct {
	*Consumer
	t   testing.TB
	run queue.Run
}

func subscribe(t testing.TB, topic *Topic, channel string, ready int) *client {
	t.Helper()
	k, err := topic.Subscribe(channel, nil, Membership{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	k.SetReady(ready)
	return &client{Consumer: k, t: t}
}

// poll returns what there is now.
func (c *client) poll() (messages []got) {
	c.t.Helper()
	ok, err := c.Next(&c.run, 64<<10)
	if err != nil {
		c.t.Fatal(err)
	}
	if !ok {
		return nil
	}
	frames := c.run.Frames
	for _, a := range c.run.Again {
		frames = a.Append(slices.Clip(frames))
	}
	for len(frames) > 0 {
		size := 4 + binary.BigEndian.Uint32(frames)
		m, err := protocol.ParseMessage(frames[8:size])
		if err != nil {
			c.t.Fatal(err)
		}
		id, _ := protocol.ParseID(m.ID[:])
		messages = append(messages, got{id, int(binary.BigEndian.Uint64(m.Body)), m.Attempts})
		frames = frames[size:]
	}
	return messages
}

// receive waits for n messages, or for more if a run has more.
func (c *client) receive(n int) (messages []got) {
	c.t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		for more := c.poll(); len(more) > 0; more = c.poll() {
			messages = append(messages, more...)
			if len(messages) >= n {
				return messages
			}
		}
		select {
		case <-c.Awake():
		case <-timeout:
			c.t.Fatalf("%d messages came of %d", len(messages), n)
		}
	}
}

// consume receives and finishes n messages at least.
func (c *client) consume(n int) (messages []got) {
	c.t.Helper()
	for len(messages) < n {
		some := c.receive(1)
		c.finish(some)
		messages = append(messages, some...)
	}
	return messages
}

func (c *client) finish(messages []got) {
	c.t.Helper()
	ids := make([]uint64, len(messages))
	for i, m := range messages {
		ids[i] = m.id
	}
	c.Finish(ids, func(i int, err error) { c.t.Errorf("FIN of message %d: %v", messages[i].number, err) })
}

// close disconnects.
func (c *client) close() {
	c.t.Helper()
	c.Release(&c.run)
	if err := c.Close(); err != nil {
		c.t.Error(err)
	}
}

// inOrder checks that messages are those numbered from from on, first
// deliveries all.
func inOrder(t testing.TB, messages []got, from int) {
	t.Helper()
	for i, m := range messages {
		if m.number != from+i || m.attempts != 1 {
			t.Fatalf("message %d of %d is number %d with attempts %d; it should be number %d", i, len(messages), m.number, m.attempts, from+i)
		}
	}
}

// figures of a channel.
func figures(topic *Topic, channel string) string {
	text := "none"
	topic.View(func(core *queue.Topic) {
		if c := core.Channel(channel); c != nil {
			text = fmt.Sprintf("depth %d, in flight %d, deferred %d", c.Depth(), c.InFlight(), c.Deferred())
		}
	})
	return text
}

// onDisk is how many messages a channel has on disk, those of the topic
// included.
func onDisk(topic *Topic, channel string) (n int) {
	topic.View(func(core *queue.Topic) {
		if c := core.Channel(channel); c != nil {
			n = c.DiskDepth()
		} else {
			n = core.DiskDepth()
		}
	})
	return n
}

// rest waits until the topic's disk worker has nothing to do.
func (r *running) rest(topic *Topic) {
	r.t.Helper()
	for {
		topic.mu.Lock()
		working, progress := topic.working, topic.progress
		topic.mu.Unlock()
		if !working {
			return
		}
		<-progress
	}
}

func mustFail(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%v, not %v", err, want)
	}
}
