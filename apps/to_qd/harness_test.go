package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/logtest"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/lookupd"
	"github.com/millrace-mq/millrace/qd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take, on a machine that is busy.
const patience = time.Minute

// serving is a daemon that runs in this process.
type serving struct {
	tcp, http string
	stop      func()
}

// startQD runs a qd until the test, or stop, ends it.
func startQD(t *testing.T, change func(*qd.Settings)) *serving {
	t.Helper()
	s := qd.Defaults()
	s.TCPAddress, s.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
	s.DataPath, s.StopTimeout, s.MinFreeDisk = t.TempDir(), 0, 0
	if change != nil {
		change(&s)
	}
	d, err := qd.Listen(s, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, d.TCPAddr(), d.HTTPAddr(), d.Run)
}

func startLookupd(t *testing.T) *serving {
	t.Helper()
	s := lookupd.DefaultSettings()
	s.TCPAddress, s.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
	d, err := lookupd.Listen(s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, d.TCPAddr(), d.HTTPAddr(), d.Run)
}

func serve(t *testing.T, tcp, http net.Addr, run func(context.Context) error) *serving {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(stop)
	return &serving{tcp: tcp.String(), http: http.String(), stop: stop}
}

// call asks a daemon over HTTP, and fails the test if it refuses.
func call(t *testing.T, method, address string, body string) []byte {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s %v", method, address, response.Status, answer, err)
	}
	return answer
}

// channel makes a channel, and its topic.
func (d *serving) channel(t *testing.T, topic, channel string) {
	t.Helper()
	call(t, "POST", d.http+"/topic/create?topic="+topic, "")
	call(t, "POST", d.http+"/channel/create?topic="+topic+"&channel="+channel, "")
}

// publish publishes bodies.
func (d *serving) publish(t *testing.T, topic string, bodies ...string) {
	t.Helper()
	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{d.tcp}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for some := range slices.Chunk(bodies, 1000) {
		var all [][]byte
		for _, b := range some {
			all = append(all, []byte(b))
		}
		if err := w.PublishMany(t.Context(), topic, all); err != nil {
			t.Fatal(err)
		}
	}
}

// stats are what a daemon tells of a channel.
type stats struct {
	Depth    int `json:"depth"`
	InFlight int `json:"in_flight_count"`
	Deferred int `json:"deferred_count"`
	Timeouts int `json:"timeout_count"`
	Requeues int `json:"requeue_count"`
	Messages int `json:"message_count"`
}

func (d *serving) stats(t *testing.T, topic, channel string) stats {
	t.Helper()
	var answer struct {
		Topics []struct {
			Name     string `json:"topic_name"`
			Channels []struct {
				Name string `json:"channel_name"`
				stats
			}
		}
	}
	if err := json.Unmarshal(call(t, "GET", d.http+"/stats?format=json&include_clients=false&topic="+topic, ""), &answer); err != nil {
		t.Fatal(err)
	}
	for _, topic := range answer.Topics {
		for _, c := range topic.Channels {
			if c.Name == channel {
				return c.stats
			}
		}
	}
	return stats{Depth: -1}
}

// empty reports whether a channel has nothing left.
func (d *serving) empty(t *testing.T, topic, channel string) bool {
	s := d.stats(t, topic, channel)
	return s.Depth+s.InFlight == 0
}

// until waits for a condition.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !met(); time.Sleep(20 * time.Millisecond) { // real daemons and connections: no fake clock
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// running is a to_qd that runs.
type running struct {
	cancel context.CancelFunc
	status chan int
	log    logtest.Lines
}

// start runs to_qd until stopped.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel, status: make(chan int, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.status <- itself.Run(ctx, append([]string{"--log-format=text"}, args...), program.Stdio{In: strings.NewReader(""), Out: io.Discard, Err: &r.log})
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	return r
}

// stop ends it as Ctrl-C does, and checks that it is content.
func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	r.ended(t, 0)
}

// ended waits until it ends, with a status.
func (r *running) ended(t *testing.T, want int) {
	t.Helper()
	select {
	case got := <-r.status:
		if got != want {
			t.Fatalf("status %d, want %d\n%s", got, want, r.log.String())
		}
	case <-time.After(patience):
		t.Fatalf("it does not end\n%s", r.log.String())
	}
}

// sink consumes a channel, and keeps the bodies in the order in which they came.
type sink struct {
	mu   sync.Mutex
	came []string
}

func (d *serving) sink(t *testing.T, topic, channel string) *sink {
	t.Helper()
	d.channel(t, topic, channel)
	s := new(sink)
	r, err := millrace.NewReader(millrace.ReaderConfig{
		Topic: topic, Channel: channel, Addresses: []string{d.tcp}, MaxInFlight: 1000,
		Handler: millrace.HandlerFunc(func(_ context.Context, m *millrace.Message) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.came = append(s.came, string(m.Body))
			return nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Run(ctx) // fails only if it cannot begin
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return s
}

// bodies are those that have come.
func (s *sink) bodies() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.came)
}

// audit waits until all of want have come, and reports how many came again, and whether the
// first of each came in the order of want. What is none of want fails the test.
func (s *sink) audit(t *testing.T, want []string) (again int, ordered bool) {
	t.Helper()
	place := make(map[string]int)
	for i, b := range want {
		place[b] = i
	}
	seen := make([]bool, len(want))
	ordered = true
	distinct, looked, next := 0, 0, 0
	for deadline := time.Now().Add(patience); distinct < len(want); time.Sleep(20 * time.Millisecond) { // as in until
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d have come", distinct, len(want))
		}
		bodies := s.bodies()
		for _, b := range bodies[looked:] {
			i, ok := place[b]
			switch {
			case !ok:
				t.Fatalf("%.100q is none of those that were sent", b)
			case seen[i]:
				again++
			default:
				ordered = ordered && i == next
				next = i + 1
				seen[i] = true
				distinct++
			}
		}
		looked = len(bodies)
	}
	return again, ordered
}

// numbered are n bodies, all unlike.
func numbered(n int) (bodies []string) {
	for i := range n {
		bodies = append(bodies, fmt.Sprintf(`{"n":%d,"user":{"id":%d},"even":%v}`, i, i%10, i%2 == 0))
	}
	return bodies
}
