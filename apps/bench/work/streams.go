package work

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/millrace-mq/millrace/apps/bench/load"
	"github.com/millrace-mq/millrace/apps/bench/report"
)

// channelNames returns n names.
func channelNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("c%d", i))
	}
	return names
}

// batches is the stream of the workloads that publish batches.
func (b *bench) batches(topic string) load.Stream {
	return load.Stream{Topic: topic, Producers: b.Producers, Batch: b.Batch, Size: b.Size, Window: b.Window, Layers: b.layers}
}

// publishing publishes to a topic whose channel nobody consumes.
func (b *bench) publishing(ctx context.Context) ([]report.Result, error) {
	return b.onlyPublish(ctx, "publish", b.batches)
}

// single publishes message by message.
func (b *bench) single(ctx context.Context) ([]report.Result, error) {
	return b.onlyPublish(ctx, "single", func(topic string) load.Stream {
		return load.Stream{Topic: topic, Producers: b.Connections, Batch: 1, Size: b.Size, Window: b.InFlight, Layers: b.layers}
	})
}

// waiting publishes message by message, each connection waiting for the answer:
// what commits in groups are for.
func (b *bench) waiting(ctx context.Context) ([]report.Result, error) {
	return b.onlyPublish(ctx, "waiting", func(topic string) load.Stream {
		return load.Stream{Topic: topic, Producers: b.Waiters, Batch: 1, Size: b.Size, Window: 1, Layers: b.layers}
	})
}

// posting publishes message by message over HTTP, each connection waiting for
// the answer.
func (b *bench) posting(ctx context.Context) ([]report.Result, error) {
	if b.target.HTTP == "" {
		return nil, errors.New("http: the broker has no HTTP address")
	}
	var m meter
	err := b.passes(ctx, &m, channelNames(1), func(ctx context.Context, topic string) error {
		var progress load.Progress
		ps, err := load.OpenPosts(ctx, b.target.HTTP, topic, b.Conns, b.Size, &progress)
		if err != nil {
			return err
		}
		defer ps.Close()
		waiting := func() string { return "the broker to answer publishes over HTTP" }
		return b.time(&m, func() error {
			return progress.Watch(ctx, b.Stall, waiting, func(ctx context.Context) error {
				n, err := ps.Run(ctx, b.Messages, b.duration())
				m.messages += n
				return err
			})
		})
	})
	return []report.Result{b.result("http", m)}, err
}

func (b *bench) onlyPublish(ctx context.Context, work string, stream func(topic string) load.Stream) ([]report.Result, error) {
	var m meter
	err := b.passes(ctx, &m, channelNames(1), func(ctx context.Context, topic string) error {
		_, err := b.publish(ctx, &m, stream(topic))
		return err
	})
	return []report.Result{b.result(work, m)}, err
}

// draining consumes a backlog; only that is timed.
func (b *bench) draining(ctx context.Context) ([]report.Result, error) {
	var untimed, m meter
	err := b.passes(ctx, &m, channelNames(1), func(ctx context.Context, topic string) error {
		return b.fillAndDrain(ctx, topic, &untimed, &m)
	})
	return []report.Result{b.result("drain", m)}, err
}

// spill does both halves of draining for a broker with little memory for
// messages, and gives both rates.
func (b *bench) spill(ctx context.Context) ([]report.Result, error) {
	var in, out meter
	err := b.passes(ctx, &out, channelNames(1), func(ctx context.Context, topic string) error {
		return b.fillAndDrain(ctx, topic, &in, &out)
	})
	return []report.Result{b.result("spill, publish", in), b.result("spill, drain", out)}, err
}

func (b *bench) fillAndDrain(ctx context.Context, topic string, in, out *meter) error {
	published := []int64{b.Messages} // the null broker needs no backlog
	if !b.target.Null {
		var err error
		if published, err = b.publish(ctx, in, b.batches(topic)); err != nil {
			return err
		}
	}
	return b.drain(ctx, out, topic, published)
}

// both publishes and consumes at once.
func (b *bench) both(ctx context.Context) ([]report.Result, error) {
	return b.publishAndConsume(ctx, "both", 1)
}

// fanOut publishes to several channels, each of which is consumed.
func (b *bench) fanOut(ctx context.Context) ([]report.Result, error) {
	return b.publishAndConsume(ctx, "fanout", b.Channels)
}

func (b *bench) publishAndConsume(ctx context.Context, work string, channels int) ([]report.Result, error) {
	var m meter
	names := channelNames(channels)
	err := b.passes(ctx, &m, names, func(ctx context.Context, topic string) error {
		return b.exchange(ctx, &m, topic, names)
	})
	return []report.Result{b.result(work, m)}, err
}

// publish streams a pass of messages and times it, from the first write to the
// last answer.
func (b *bench) publish(ctx context.Context, m *meter, s load.Stream) (published []int64, err error) {
	var progress load.Progress
	ps, err := load.OpenProducers(ctx, b.target.TCP, s, &progress)
	if err != nil {
		return nil, err
	}
	defer ps.Close()
	waiting := func() string { return "the broker to answer publishes" }
	err = b.time(m, func() error {
		return progress.Watch(ctx, b.Stall, waiting, func(ctx context.Context) error {
			published, err = ps.Run(ctx, b.Messages, b.duration())
			return err
		})
	})
	m.messages += sum(published)
	return published, err
}

// drain consumes what was published and times it, from the first RDY to the
// broker's word that it took the last FIN.
func (b *bench) drain(ctx context.Context, m *meter, topic string, published []int64) error {
	var progress load.Progress
	channels, err := b.subscribe(ctx, topic, channelNames(1), len(published), &progress)
	if err != nil {
		return err
	}
	defer closeAll(channels)
	channels[0].Expect(sum(published))
	err = b.time(m, func() error {
		return progress.Watch(ctx, b.Stall, channels[0].Describe, channels[0].Run)
	})
	if err != nil {
		return err
	}
	m.messages += sum(published)
	m.deliveries += sum(published)
	return b.audit(channels, published)
}

// exchange publishes a pass while every channel consumes, and times it until
// all of it was consumed everywhere.
func (b *bench) exchange(ctx context.Context, m *meter, topic string, names []string) error {
	var progress load.Progress
	ps, err := load.OpenProducers(ctx, b.target.TCP, b.batches(topic), &progress)
	if err != nil {
		return err
	}
	defer ps.Close()
	channels, err := b.subscribe(ctx, topic, names, b.Producers, &progress)
	if err != nil {
		return err
	}
	defer closeAll(channels)

	var published []int64
	parts := []func(context.Context) error{func(ctx context.Context) (err error) {
		if published, err = ps.Run(ctx, b.Messages/int64(len(names)), b.duration()); err != nil {
			return err
		}
		for _, ch := range channels {
			ch.Expect(sum(published))
		}
		return nil
	}}
	for _, ch := range channels {
		parts = append(parts, ch.Run)
	}
	err = b.time(m, func() error {
		return progress.Watch(ctx, b.Stall, describe(channels), func(ctx context.Context) error {
			return load.Together(ctx, parts...)
		})
	})
	if err != nil {
		return err
	}
	m.messages += sum(published)
	m.deliveries += sum(published) * int64(len(names))
	return b.audit(channels, published)
}

// subscribe opens every channel of a topic.
func (b *bench) subscribe(ctx context.Context, topic string, names []string, producers int, progress *load.Progress) (channels []*load.Channel, err error) {
	for _, name := range names {
		ch, err := load.OpenChannel(ctx, b.target.TCP, load.Subscription{
			Topic: topic, Channel: name, Consumers: b.Consumers, RDY: b.RDY, Producers: producers, Layers: b.layers,
		}, progress)
		if err != nil {
			closeAll(channels)
			return nil, err
		}
		channels = append(channels, ch)
	}
	return channels, nil
}

func closeAll(channels []*load.Channel) {
	for _, ch := range channels {
		ch.Close()
	}
}

func describe(channels []*load.Channel) func() string {
	return func() string {
		var all []string
		for _, ch := range channels {
			all = append(all, ch.Describe())
		}
		return strings.Join(all, ", ")
	}
}
