package work

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/load"
	"github.com/millrace-mq/millrace/apps/bench/report"
)

// The workloads of this file leave the broker mostly idle: they ask what a
// message waits, and what it costs to have topics.

// warmup precedes the samples of latency.
const warmup = 500 * time.Millisecond

// latencyRDY is what a client that follows NSQ's advice asks for.
const latencyRDY = 200

// latency publishes at a fixed rate to one consumer with a client's defaults.
func (b *bench) latency(ctx context.Context) (results []report.Result, err error) {
	err = b.withTopic(ctx, b.name, channelNames(1), func(ctx context.Context, topic string) error {
		var m meter
		l, err := b.measureLatency(ctx, &m, topic)
		if err != nil {
			return err
		}
		r := b.result("latency", m)
		r.Latency = report.Summarize(l.Sorted())
		results = append(results, r)
		return nil
	})
	return results, err
}

func (b *bench) measureLatency(ctx context.Context, m *meter, topic string) (*load.Latency, error) {
	var progress load.Progress
	l := load.NewLatency(b.Rate, warmup, b.duration())
	ch, err := load.OpenChannel(ctx, b.target.TCP, load.Subscription{
		Topic: topic, Channel: channelNames(1)[0], Consumers: 1, RDY: latencyRDY, Producers: 1, Layers: b.layers, Latency: l,
	}, &progress)
	if err != nil {
		return nil, err
	}
	defer ch.Close()
	var published int64
	err = b.time(m, func() error {
		return progress.Watch(ctx, b.Stall, ch.Describe, func(ctx context.Context) error {
			return load.Together(ctx, ch.Run, func(ctx context.Context) (err error) {
				stream := load.Stream{Topic: topic, Size: b.Size, Layers: b.layers}
				published, err = l.Publish(ctx, b.target.TCP, stream, &progress)
				ch.Expect(published)
				return err
			})
		})
	})
	if err != nil {
		return nil, err
	}
	m.messages, m.deliveries = published, published
	return l, b.audit([]*load.Channel{ch}, []int64{published})
}

// settle is what a broker is given to calm down after the topics were made.
const settle = 2 * time.Second

// idle makes topics and looks at what the broker costs while nothing happens.
func (b *bench) idle(ctx context.Context) (results []report.Result, err error) {
	if b.target.PID == 0 {
		return nil, errors.New("needs the broker's --pid")
	}
	made := 0
	defer func() {
		for i := range made {
			// The first failure ends it: a broker that hangs would cost a
			// timeout for each topic.
			if e := b.target.DeleteTopic(ctx, b.idleTopic(i)); e != nil {
				err = errors.Join(err, e)
				return
			}
		}
	}()
	for ; made < b.Topics; made++ {
		if err := b.target.CreateTopic(ctx, b.idleTopic(made), "c0"); err != nil {
			return nil, err
		}
	}
	if err := sleep(ctx, settle); err != nil {
		return nil, err
	}
	var m meter
	if err := b.time(&m, func() error { return sleep(ctx, b.duration()) }); err != nil {
		return nil, err
	}
	r := b.result("idle", m)
	r.CPUPercent = 100 * m.cpu.Seconds() / m.elapsed.Seconds()
	return []report.Result{r}, nil
}

func (b *bench) idleTopic(i int) string { return fmt.Sprintf("%s-%d", b.name, i) }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
