package metrics_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/metrics"
	"github.com/millrace-mq/millrace/qd/peers"
	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/session"
	"github.com/millrace-mq/millrace/qd/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemon is /metrics over a broker that runs until the end of the test.
type daemon struct {
	t       testing.TB
	broker  *broker.Broker
	source  *stats.Source
	handler http.Handler
}

// start runs one with topics of level memory, of which so many have series.
func start(t testing.TB, maxTopics int) *daemon {
	t.Helper()
	b, err := broker.Open(broker.Settings{
		DataPath: t.TempDir(), MemoryMessages: 1000, MemoryBytes: 1 << 30, MinFree: 1 << 20, FileBytes: 1 << 20, SyncEvery: 1000,
		SyncTimeout: time.Hour, MaxMsgTimeout: time.Hour, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		for _, topic := range b.Topics() {
			topic.View(func(core *queue.Topic) {
				if err := core.Audit(); err != nil {
					t.Error(err)
				}
			})
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	clients := func() []session.Client {
		return []session.Client{
			{State: protocol.StateInit, PubCounts: map[string]uint64{"orders": 1}},
			{State: protocol.StateSubscribed}, {State: protocol.StateSubscribed}, {State: protocol.StateClosing},
		}
	}
	links := func() []peers.Link {
		return []peers.Link{{Address: "k:4160", Linked: true}, {Address: "l:4160", Failures: 3}}
	}
	source := &stats.Source{Broker: b, Clients: clients, Lookupds: links, Failures: new(access.Failures), Started: time.Now()}
	return &daemon{t, b, source, metrics.Handler(source, maxTopics, slog.New(slog.DiscardHandler))}
}

func (d *daemon) topic(name string, channels ...string) *broker.Topic {
	d.t.Helper()
	t, err := d.broker.Topic(context.Background(), name)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, c := range channels {
		if err := t.CreateChannel(c); err != nil {
			d.t.Fatal(err)
		}
	}
	return t
}

func (d *daemon) publish(topic string, n int) {
	d.t.Helper()
	bodies := slices.Repeat([][]byte{[]byte("body")}, n)
	if err := d.topic(topic).Publish(bodies); err != nil {
		d.t.Fatal(err)
	}
}

// drain finishes all messages of a channel; but requeues the first, until an hour
// from now, if so asked.
func (d *daemon) drain(topic, channel string, requeue bool) {
	d.t.Helper()
	k, err := d.topic(topic).Subscribe(channel, nil, broker.Membership{Timeout: time.Minute})
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() {
		if err := k.Close(); err != nil {
			d.t.Error(err)
		}
	}()
	k.SetReady(1000)
	var run queue.Run
	defer k.Release(&run)
	for {
		ok, err := k.Next(&run, 1<<20)
		if err != nil {
			d.t.Fatal(err)
		}
		if !ok {
			return
		}
		var ids []uint64
		for r := strings.NewReader(string(run.Frames)); r.Len() > 0; {
			_, data, err := protocol.ReadFrame(r, nil, 1<<20)
			if err != nil {
				d.t.Fatal(err)
			}
			m, err := protocol.ParseMessage(data)
			if err != nil {
				d.t.Fatal(err)
			}
			id, _ := protocol.ParseID(m.ID[:])
			ids = append(ids, id)
		}
		if requeue {
			requeue = false
			if err := k.Requeue(ids[0], time.Hour); err != nil {
				d.t.Error(err)
			}
			ids = ids[1:]
		}
		k.Finish(ids, func(_ int, err error) { d.t.Error(err) })
	}
}

// get scrapes, and returns the answer.
func (d *daemon) get(header ...string) *httptest.ResponseRecorder {
	d.t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w
}

// scrape returns the values of the series, by name and labels.
func (d *daemon) scrape() map[string]float64 {
	d.t.Helper()
	w := d.get()
	if w.Code != http.StatusOK {
		d.t.Fatalf("%d %s", w.Code, w.Body)
	}
	all := make(map[string]float64)
	for line := range strings.Lines(w.Body.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if at < 0 || err != nil {
			d.t.Fatalf("%q: %v", line, err)
		}
		series := line[:at]
		if _, twice := all[series]; twice {
			d.t.Errorf("%s is there twice", series)
		}
		all[series] = v
	}
	return all
}
