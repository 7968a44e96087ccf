package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// feed makes batches of what is read, and hands them to every sink.
type feed struct {
	inputs  *inputs
	framing framing
	decoder decoder
	keeping bool // records may have to be kept as they were read
	limit   int  // records of a batch
	pace    pace
	sinks   []sink
	refuse  func(p piece, err error) // told of a record that cannot be published

	open     []*batch          // that gather, oldest first
	topics   map[string]*batch // the same, by topic
	size     int               // bytes of all of them
	usual    int               // records that the next one will probably have
	messages int64             // handed to the sinks
	line     int64             // of the last record that was read
}

// run feeds the sinks until the inputs end, or until ctx ends: what was read by then
// is still handed on, without the half of a record. The error is why it did not come
// to the end, if it did not.
func (f *feed) run(ctx context.Context) error {
	for i := range f.inputs.names {
		if err := f.stream(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (f *feed) stream(ctx context.Context, i int) error {
	stream, done, err := f.inputs.open(ctx, i, f.line)
	if err != nil {
		return err
	}
	defer done()
	r := &records{framing: f.framing, in: stream, name: title(f.inputs.names[i])}
	before := f.line
	for {
		p, ok := r.take()
		f.line = before + r.line
		if ok {
			p.line += before
			f.record(ctx, p)
			continue
		}
		// A batch never waits for input: what is there when a read would be next, goes.
		f.flush(ctx)
		if err := r.fetch(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// record adds a record to the batch that it belongs to.
func (f *feed) record(ctx context.Context, p piece) {
	if p.data == nil {
		f.refuse(p, tooLong(p.size, f.decoder.limit))
		return
	}
	m, err := f.decoder.decode(p.data)
	if err != nil {
		f.refuse(p, err)
		return
	}
	if len(m.body) == 0 {
		return // as with an empty line, there is nothing to publish
	}
	b := f.gathering(m.topic)
	switch {
	case b != nil && !b.fits(len(m.body), f.limit),
		len(f.open) > 0 && f.size+len(m.body)+4 > maxBatchBytes: // of all topics together
		f.flush(ctx)
		b = nil
	}
	if b == nil {
		b = newBatch(m.topic, f.usual)
		f.usual = 0 // others that gather beside it are smaller
		f.open = append(f.open, b)
		f.topics[m.topic] = b
	}
	b.add(m.body, p.line)
	f.size += len(m.body) + 4
	if f.keeping && f.decoder.wrapped {
		b.kept = append(b.kept, p.data)
	}
}

// gathering returns the batch for a topic, or nil.
func (f *feed) gathering(topic string) *batch {
	if len(f.open) == 1 { // of one topic, nearly always
		if f.open[0].topic == topic {
			return f.open[0]
		}
		return nil
	}
	return f.topics[topic]
}

// flush hands on what has gathered, at the pace that is asked for: at once, if ctx
// has ended.
func (f *feed) flush(ctx context.Context) {
	for _, b := range f.open {
		sleep(ctx, f.pace.wait(len(b.bodies), time.Now()))
		f.usual = max(f.usual, len(b.bodies))
		b.left.Store(int64(len(b.bodies) * len(f.sinks)))
		for _, s := range f.sinks {
			s.input() <- b // received always, even by a sink that has failed
		}
		f.messages += int64(len(b.bodies))
	}
	clear(f.open)
	clear(f.topics)
	f.open, f.size = f.open[:0], 0
}

// stopped says what was left out because reading ended early; nil for a run that
// ended well.
func (f *feed) stopped(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errInterrupted):
		if f.line == 0 {
			return errors.New("nothing of the input was published")
		}
		return fmt.Errorf("what follows %s was not published", f.inputs.where(f.line))
	}
	return fmt.Errorf("%w: what precedes that, %d messages, was read", err, f.messages)
}
