package api_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/drain"
	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Small limits, so that tests can exceed them.
const (
	maxMsgSize  = 10_000
	maxBodySize = 50_000
)

// daemon is the API over a broker that runs until the end of the test, which
// then checks the books of all topics.
type daemon struct {
	t       testing.TB
	broker  *broker.Broker
	config  api.Config
	handler http.Handler
	stop    func() // checks the books and stops it, once
}

// start makes a daemon with what adjust, if not nil, does to its settings.
func start(t testing.TB, adjust func(*broker.Settings, *api.Config)) *daemon {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	settings := broker.Settings{
		DataPath: t.TempDir(), MemoryMessages: 1 << 20, MemoryBytes: 1 << 30,
		FileBytes: 1 << 20, SyncEvery: 1000, SyncTimeout: time.Second, MaxMsgTimeout: time.Hour, Log: log,
	}
	config := api.Config{
		Clients: func() []session.Client { return nil },
		Log:     log,
		Bounds:  api.Bounds{MaxMsgSize: maxMsgSize, MaxBodySize: maxBodySize, MaxReqTimeout: time.Hour},
		Info: func() api.Info {
			return api.Info{
				BroadcastAddress: "a.example", Hostname: "a", TCPPort: 4150, HTTPPort: 4151, StartTime: time.Now().UTC(),
				MaxHeartbeatInterval: time.Minute, MaxOutputBufferSize: 64 << 10, MaxOutputBufferTimeout: 30 * time.Second,
				MaxDeflateLevel: 6, TopologyZone: "z", TopologyRegion: "r",
			}
		},
	}
	if adjust != nil {
		adjust(&settings, &config)
	}
	b, err := broker.Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	config.Broker, config.Drain = b, drain.New(b, log)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		for _, topic := range b.Topics() {
			topic.View(func(core *queue.Topic) {
				if err := core.Audit(); err != nil {
					t.Error(err)
				}
			})
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	d := &daemon{t, b, config, api.New(config), stop}
	t.Cleanup(stop)
	return d
}

// send sends a request; body is a string, an io.Reader of unknown length, or
// nil.
func (d *daemon) send(method, path string, body any) *httptest.ResponseRecorder {
	var r *http.Request
	switch body := body.(type) {
	case nil:
		r = httptest.NewRequest(method, path, nil)
	case string:
		r = httptest.NewRequest(method, path, strings.NewReader(body))
	case io.Reader:
		r = httptest.NewRequest(method, path, io.NopCloser(body))
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w
}

// expect sends a request and checks the answer.
func (d *daemon) expect(method, path string, body any, status int, answer string) {
	d.t.Helper()
	w := d.send(method, path, body)
	if got := w.Body.String(); w.Code != status || got != answer {
		d.t.Errorf("%s %s: %d %s, want %d %s", method, path, w.Code, got, status, answer)
	}
}

func (d *daemon) expectTopics(want ...string) {
	d.t.Helper()
	var got []string
	for _, t := range d.broker.Topics() {
		got = append(got, t.Name())
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("topics are %q, want %q", got, want)
	}
}

func (d *daemon) topic(name string) *broker.Topic {
	d.t.Helper()
	t, err := d.broker.Topic(d.t.Context(), name)
	if err != nil {
		d.t.Fatal(err)
	}
	return t
}

// drain takes and finishes what topic's channel c can deliver now.
func (d *daemon) drain(topic string) (bodies []string) {
	d.t.Helper()
	k, err := d.topic(topic).Subscribe("c", nil, broker.Membership{Timeout: time.Minute})
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() {
		if err := k.Close(); err != nil {
			d.t.Error(err)
		}
	}()
	k.SetReady(1 << 20)
	var run queue.Run
	for {
		ok, err := k.Next(&run, 1<<20)
		if err != nil {
			d.t.Fatal(err)
		}
		if !ok {
			return bodies
		}
		frames := slices.Clone(run.Frames)
		for _, again := range run.Again {
			frames = again.Append(frames)
		}
		for _, m := range parse(d.t, frames) {
			id, _ := protocol.ParseID(m.ID[:])
			k.Finish([]uint64{id}, func(_ int, err error) { d.t.Error(err) })
			bodies = append(bodies, string(m.Body))
		}
	}
}

func parse(t testing.TB, frames []byte) (messages []protocol.Message) {
	t.Helper()
	r := strings.NewReader(string(frames))
	for r.Len() > 0 {
		_, data, err := protocol.ReadFrame(r, nil, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		m, err := protocol.ParseMessage(data)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	return messages
}

// connection stands for a session.
type connection struct{ client session.Client }

func (c *connection) Client() session.Client { return c.client }
