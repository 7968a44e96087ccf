package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/protocol"
)

// A publish has so many messages at most, and so many bytes, well below what daemons take as
// one command. A larger message goes alone.
const (
	batchMessages = 2000
	batchBytes    = protocol.DefaultMaxBodySize / 5
)

// A destination that takes nothing is tried again after the first of these, then after twice
// as long each time, up to the second. The Writer itself tries for tryFor first.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 2 * time.Second
	tryFor     = time.Second
)

// delivery is a worker's: messages, and what of them is published, used again for the next.
type delivery struct {
	messages []*millrace.Message
	bodies   [][]byte
	bytes    int
	late     time.Time // when the first of them is
	space    []byte    // of bodies made anew
}

// deliver publishes parcels in their order, and answers all messages in them. The error is
// that a message is refused, and has to end the program: then what is left was given back.
func (d *delivery) deliver(ctx context.Context, s *stream, parcels []*parcel) error {
	var failure error
	d.reset()
	for _, p := range parcels {
		address := ""
		for _, m := range p.messages {
			if m.Address != address && failure == nil && ctx.Err() == nil {
				address = m.Address
				failure = s.loops(ctx, address)
			}
			if failure != nil || ctx.Err() != nil {
				m.Requeue(0)
				s.counts.givenBack.Add(1)
				continue
			}
			if len(d.bodies) == batchMessages || d.bytes+len(m.Body) > batchBytes {
				failure = d.flush(ctx, s)
			}
			d.add(s, m, p.late)
		}
	}
	if failure == nil {
		return d.flush(ctx, s)
	}
	s.giveBack(d.messages)
	return failure
}

func (d *delivery) reset() {
	clear(d.messages)
	clear(d.bodies)
	d.messages, d.bodies, d.space, d.bytes = d.messages[:0], d.bodies[:0], d.space[:0], 0
}

// add puts m into the next publish, or finishes it if it is not to be sent.
func (d *delivery) add(s *stream, m *millrace.Message, late time.Time) {
	body, space, send, err := s.selection.choose(d.space, m.Body)
	d.space = space
	if !send {
		s.leaveOut(m, err)
		return
	}
	if len(d.messages) == 0 || late.Before(d.late) {
		d.late = late
	}
	d.messages, d.bodies = append(d.messages, m), append(d.bodies, body)
	d.bytes += len(body) + 4
}

func (d *delivery) flush(ctx context.Context, s *stream) error {
	if len(d.bodies) == 0 {
		return nil
	}
	err := s.publish(ctx, d.messages, d.bodies, d.late)
	d.reset()
	return err
}

// publish publishes bodies, and tries until that is acknowledged or ctx ends; then it answers the
// messages that they are of. From late on, the source is to have them back before it takes them, but for
// one, to find out with when the destination is there again; unless that loses the order. The error is that
// one is refused, and has to end the program.
func (s *stream) publish(ctx context.Context, messages []*millrace.Message, bodies [][]byte, late time.Time) error {
	failed := false
	defer func() {
		if failed {
			s.brake.end()
		}
	}()
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		if failed && len(messages) > 1 && !s.ordered() && !time.Now().Before(late) {
			s.giveBack(messages[1:])
			messages, bodies = messages[:1], bodies[:1]
		}
		err := s.out.PublishMany(ctx, s.to, bodies)
		switch {
		case err == nil:
			millrace.FinishAll(messages)
			s.counts.published(s, len(messages))
			return nil
		case !ofMessages(err):
			if isUncertain(err) {
				s.counts.uncertain.Add(int64(len(messages)))
			}
			if ctx.Err() != nil {
				continue // that is why it failed
			}
			if !failed {
				failed = true
				s.brake.begin()
			}
			s.brake.tell(err)
			sleep(ctx, wait)
		case len(messages) == 1:
			return s.refuse(messages[0], bodies[0], err)
		default:
			// One is too large, or all together are. The first half goes first, to keep the order.
			half := len(messages) / 2
			if err := s.publish(ctx, messages[:half], bodies[:half], late); err != nil {
				s.giveBack(messages[half:])
				return err
			}
			return s.publish(ctx, messages[half:], bodies[half:], late)
		}
	}
	s.giveBack(messages)
	return nil
}

// ofMessages reports whether a publish was refused for what is in it. Any other refusal, that of
// a right for instance, is of the destination, and may be mended there.
func ofMessages(err error) bool {
	refused, ok := errors.AsType[*millrace.RefusedError](err)
	if !ok || errors.Is(err, millrace.ErrMismatch) {
		return false
	}
	e, told := errors.AsType[*protocol.Error](refused)
	return !told || e.Code == protocol.EBadMessage || e.Code == protocol.EBadBody
}

func isUncertain(err error) bool {
	_, ok := errors.AsType[*millrace.UncertainError](err)
	return ok
}

// refuse does as settings say with a message that the destination does not take.
func (s *stream) refuse(m *millrace.Message, body []byte, err error) error {
	s.counts.refused.Add(1)
	about := []any{"id", m.ID, "bytes", len(body), "attempts", m.Attempts, "node", m.Address, "error", err}
	switch s.refused {
	case refusedDrop:
		s.log.Warn("the destination does not take a message, it is dropped", about...)
		m.Finish()
	case refusedRequeue:
		s.log.Warn("the destination does not take a message, it goes back to its channel for a while", about...)
		m.Requeue(-1)
	default:
		m.Requeue(0)
		return fmt.Errorf("message %s from %s (%d bytes) is refused: %w: it is back in channel; --refused=requeue or --refused=drop goes on without it", m.ID, m.Address, len(body), err)
	}
	return nil
}

// leaveOut finishes a message that is not to be sent. The error says that it is no JSON object.
func (s *stream) leaveOut(m *millrace.Message, err error) {
	if err != nil && s.counts.noJSON.Add(1) == 1 {
		s.log.Warn("a message is no JSON object, and is not sent; so are others, which are only counted", "id", m.ID, "node", m.Address, "error", err)
	}
	s.counts.leftOut.Add(1)
	m.Finish()
}

// giveBack gives back what was not acknowledged.
func (s *stream) giveBack(messages []*millrace.Message) {
	for _, m := range messages {
		m.Requeue(0)
	}
	s.counts.givenBack.Add(int64(len(messages)))
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
