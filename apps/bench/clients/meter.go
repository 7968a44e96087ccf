package clients

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/broker"
)

// meter adds up what passes took.
type meter struct {
	messages    int64
	elapsed     time.Duration
	cpu, broker time.Duration
	bytes       uint64
	objects     uint64
	inProcess   bool // what was allocated is known
}

// time runs f, which returns how many messages it was about, and adds what it took.
func (m *meter) time(t broker.Target, f func() (int64, error)) error {
	var before, after runtime.MemStats
	own0, of0 := usage(t)
	runtime.ReadMemStats(&before)
	start := time.Now()
	n, err := f()
	m.elapsed += time.Since(start)
	runtime.ReadMemStats(&after)
	own1, of1 := usage(t)
	m.messages += n
	m.inProcess = true
	m.cpu += own1 - own0
	m.broker += of1 - of0
	m.bytes += after.TotalAlloc - before.TotalAlloc
	m.objects += after.Mallocs - before.Mallocs
	return err
}

// usage is the CPU time of this process and of the broker; 0 where it is not known.
func usage(t broker.Target) (own, of time.Duration) {
	proc := os.DirFS("/proc")
	if u, err := broker.ReadUsage(proc, os.Getpid()); err == nil {
		own = u.CPU
	}
	if t.PID != 0 {
		if u, err := broker.ReadUsage(proc, t.PID); err == nil {
			of = u.CPU
		}
	}
	return own, of
}

func (m *meter) row() Row {
	n := float64(m.messages)
	return Row{
		Messages: m.messages, Seconds: m.elapsed.Seconds(), Rate: n / m.elapsed.Seconds(),
		CPU: m.cpu.Seconds() * 1e6 / n, BrokerCPU: m.broker.Seconds() * 1e6 / n,
		Bytes: float64(m.bytes) / n, Objects: float64(m.objects) / n, allocates: m.inProcess,
	}
}

// channel is that of every topic.
const channel = "c"

// passes repeats pass, each time with a topic of its own, until m has measured for
// long enough.
func (b *Bench) passes(ctx context.Context, t broker.Target, m *meter, pass func(ctx context.Context, topic string) error) error {
	// Untimed preparations may take several times as long, but not for ever.
	last := time.Now().Add(6 * b.duration())
	for first := true; first || m.elapsed < b.duration() && time.Now().Before(last); first = false {
		topic := "bench-clients-" + strings.ToLower(rand.Text()[:8])
		if err := t.CreateTopic(ctx, topic, channel); err != nil {
			return err
		}
		err := pass(ctx, topic)
		if gone := t.DeleteTopic(ctx, topic); err == nil {
			err = gone
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// counted is what a broker says of a topic and its channel.
type counted struct {
	Messages int64 `json:"message_count"` // published
	Channels []struct {
		Depth    int64 `json:"depth"`
		InFlight int64 `json:"in_flight_count"`
		Requeued int64 `json:"requeue_count"`
		TimedOut int64 `json:"timeout_count"`
	} `json:"channels"`
}

// audit asks the broker whether it has counted what was published and, of it, has
// so much left.
func audit(ctx context.Context, t broker.Target, topic string, published, left int64) error {
	u := url.URL{Scheme: "http", Host: t.HTTP, Path: "/stats", RawQuery: url.Values{"format": {"json"}, "topic": {topic}}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the broker what it has counted: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Topics []counted `json:"topics"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || len(answer.Topics) != 1 || len(answer.Topics[0].Channels) != 1 {
		return fmt.Errorf("asking the broker what it has counted: %s, %d topics, %w", resp.Status, len(answer.Topics), err)
	}
	has := answer.Topics[0]
	c := has.Channels[0]
	if has.Messages != published || c.Depth+c.InFlight != left || c.Requeued+c.TimedOut > 0 {
		return fmt.Errorf("the broker has counted %d messages of the %d published, and has %d left of %d; %d were requeued, %d timed out",
			has.Messages, published, c.Depth+c.InFlight, left, c.Requeued, c.TimedOut)
	}
	return nil
}
