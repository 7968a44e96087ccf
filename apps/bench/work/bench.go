package work

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/broker"
	"github.com/millrace-mq/millrace/apps/bench/load"
	"github.com/millrace-mq/millrace/apps/bench/report"
)

// Work is one workload.
type Work struct {
	Name string
	// MemQueueSize is what the broker should be started with, given the
	// messages of a pass; 0 is the broker's default.
	MemQueueSize func(messages int64) int64
	// OnNull says that the null broker can do it too.
	OnNull bool

	run func(*bench, context.Context) ([]report.Result, error)
}

// Works lists the workloads in the order of a suite.
func Works() []Work {
	return []Work{
		{"publish", inMemory, true, (*bench).publishing},
		{"drain", inMemory, true, (*bench).draining},
		{"both", inMemory, true, (*bench).both},
		{"fanout", inMemory, true, (*bench).fanOut},
		{"single", inMemory, true, (*bench).single},
		{"waiting", inMemory, true, (*bench).waiting},
		{"http", inMemory, true, (*bench).posting},
		{"spill", spilling, false, (*bench).spill},
		{"latency", inMemory, false, (*bench).latency},
		{"idle", byDefault, false, (*bench).idle},
	}
}

// inMemory is room for a pass whose messages are rounded up to whole batches.
func inMemory(messages int64) int64 { return 2 * messages }
func spilling(int64) int64          { return 10_000 }
func byDefault(int64) int64         { return 0 }

// Run does the work on t and returns its figures, of which there may be
// several. Every message is accounted for: one that is lost or comes twice is
// an error, and so is a broker that stops answering.
func (w Work) Run(ctx context.Context, t broker.Target, s Settings) ([]report.Result, error) {
	if t.Null && !w.OnNull {
		return nil, fmt.Errorf("%s measures what the null broker does not do", w.Name)
	}
	if t.Null && s.layered() {
		return nil, errNoLayers
	}
	b := &bench{target: t, Settings: s, name: fmt.Sprintf("bench-%s-%s", w.Name, strings.ToLower(rand.Text()[:8]))}
	var err error
	if b.layers, err = s.layers(t); err != nil {
		return nil, err
	}
	results, err := w.run(b, ctx)
	if err != nil {
		return nil, err
	}
	return results, nil
}

// bench is one run of one workload.
type bench struct {
	Settings
	target broker.Target
	name   string // of the run; its topics begin with it
	layers load.Layers
}

// meter adds up what passes took.
type meter struct {
	messages, deliveries int64
	elapsed              time.Duration
	cpu, load            time.Duration // the broker's, ours
	resident, peak       int64
}

// time runs f and adds what it took.
func (b *bench) time(m *meter, f func() error) error {
	proc := os.DirFS("/proc")
	broker0, own0, err := b.usage(proc)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := f(); err != nil {
		return err
	}
	m.elapsed += time.Since(start)
	broker1, own1, err := b.usage(proc)
	if err != nil {
		return err
	}
	m.cpu += broker1.CPU - broker0.CPU
	m.load += own1.CPU - own0.CPU
	m.resident, m.peak = max(m.resident, broker1.Resident), broker1.Peak
	return nil
}

// result returns the figures of what was measured. CPU is per message that was
// published, whatever the number of its deliveries.
func (b *bench) result(work string, m meter) report.Result {
	r := report.Result{
		Work: work, Broker: b.target.Name,
		Messages: m.messages, Deliveries: m.deliveries, Seconds: m.elapsed.Seconds(),
		Resident: m.resident, Peak: m.peak,
	}
	if !b.layers.Plain() {
		r.Layers = b.layers.String()
	}
	if m.messages > 0 {
		r.Rate = float64(m.messages) / m.elapsed.Seconds()
		r.CPUPerMessage = m.cpu.Seconds() * 1e6 / float64(m.messages)
		r.LoadPerMessage = m.load.Seconds() * 1e6 / float64(m.messages)
	}
	return r
}

// passes repeats pass, each time with a topic of its own that has channels,
// until m has measured for long enough.
func (b *bench) passes(ctx context.Context, m *meter, channels []string, pass func(ctx context.Context, topic string) error) error {
	// Untimed preparations may take several times as long, but not for ever.
	last := time.Now().Add(4 * b.duration())
	for n := 0; m.elapsed < b.duration() && time.Now().Before(last); n++ {
		if err := b.withTopic(ctx, fmt.Sprintf("%s-%d", b.name, n), channels, pass); err != nil {
			return err
		}
	}
	return nil
}

// withTopic runs f with a topic that exists as long as f runs.
func (b *bench) withTopic(ctx context.Context, topic string, channels []string, f func(ctx context.Context, topic string) error) error {
	if err := b.target.CreateTopic(ctx, topic, channels...); err != nil {
		return err
	}
	err := f(ctx, topic)
	if gone := b.target.DeleteTopic(ctx, topic); err == nil {
		err = gone
	}
	return err
}

// audit checks, after a pass, that each channel got each message once.
func (b *bench) audit(channels []*load.Channel, published []int64) error {
	if b.target.Null {
		return nil
	}
	for _, ch := range channels {
		if err := ch.Audit(published).Err(); err != nil {
			return fmt.Errorf("wrong deliveries on %s: %w", ch.Describe(), err)
		}
	}
	return nil
}

func sum(counts []int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// usage reads what the broker, if its pid is known, and this process have used.
func (b *bench) usage(proc fs.FS) (of, own broker.Usage, err error) {
	if b.target.PID == 0 {
		return of, own, nil
	}
	if own, err = broker.ReadUsage(proc, os.Getpid()); err != nil {
		return of, own, err
	}
	of, err = broker.ReadUsage(proc, b.target.PID)
	return of, own, err
}
