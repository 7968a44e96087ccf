// #nosec G115 -- counts of messages and clients: never negative.

package millrace

import (
	"errors"
	"fmt"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// verdict is what a daemon's refusal says about the batch that it refused.
type verdict uint8

const (
	never    verdict = iota // it would be refused again
	oneOfIt                 // one of its messages is, or all of them together are, what the daemon does not take
	notNow                  // certainly not stored, but this or another daemon may take it
	maybeNot                // some of it may be stored
)

// judge tells what an error frame means for the batch that it answers. whole is
// whether the daemon stores batches as a whole.
func judge(e *protocol.Error, whole bool) verdict {
	switch e.Code {
	case protocol.EBadMessage, protocol.EBadBody:
		return oneOfIt
	case protocol.EPubFailed, protocol.EDPubFailed:
		return notNow
	case protocol.EAuthFailed: // the daemon could not ask whether we may
		return notNow
	case protocol.EMPubFailed:
		// An nsqd may have queued some of it, but not one that drains: that is ours.
		if whole || e.Draining() {
			return notNow
		}
		return maybeNot
	}
	return never
}

// refusedLocked decides what becomes of a batch that a daemon has refused, and
// reports whether the daemon should be left aside for a while.
func (w *Writer) refusedLocked(b *pubBatch, l *lane, e *protocol.Error) (aside bool) {
	at := fmt.Errorf("%s: %w", l.address, e)
	switch v := judge(e, l.extension != nil && l.extension.WholeBatches); {
	case v == notNow:
		b.lane = nil
		w.againLocked(b, at)
		return true
	case v == maybeNot:
		b.lane = nil
		w.uncertainLocked(b, &UncertainError{l.address, e})
		return true
	case v == oneOfIt && len(b.entries) > 1:
		b.lane = nil
		if w.config.RetryFor < 0 && b.replay == nil {
			// Most of it is in order, but who sends it again must be who asked for it.
			w.settleLocked(b, w.unavailableLocked(b, at))
		} else {
			rest := w.halve(b)
			w.againLocked(rest, at)
			w.againLocked(b, at)
		}
	case b.replay != nil && e.Code == protocol.EUnauthorized:
		// Who published it was told that it is kept: it waits for the right to come back.
		w.againLocked(b, at)
		return true
	default:
		w.settleLocked(b, w.refusedError(b, &RefusedError{b.topic, l.address, e}))
	}
	return false
}

// halve takes the second half of a batch away, and returns it.
func (w *Writer) halve(b *pubBatch) (rest *pubBatch) {
	half := len(b.entries) / 2
	return b.take(func(i int, _ *entry) bool { return i >= half }, func() *pubBatch { return w.part(b) })
}

// withinLimitsLocked refuses what is known to be over a daemon's limits, and
// reports whether b is to be sent as it is.
func (w *Writer) withinLimitsLocked(l *lane, b *pubBatch) bool {
	limits := l.extension
	if limits == nil {
		return true
	}
	refuse := func(b *pubBatch, format string, args ...any) {
		w.settleLocked(b, w.refusedError(b, &RefusedError{b.topic, l.address, fmt.Errorf(format, args...)}))
	}
	if most := int(limits.MaxMsgSize); most > 0 && b.largest > most {
		over := b.take(func(_ int, e *entry) bool { return b.whole || e.size.bytes > most }, func() *pubBatch { return w.part(b) })
		refuse(over, "a message of %d bytes is over the daemon's limit, %d", over.largest, most)
		if over == b {
			return false
		}
	}
	if most := time.Duration(limits.MaxReqTimeout) * time.Millisecond; most > 0 && !b.due.IsZero() && time.Until(b.due) > most {
		refuse(b, "the delay is over the daemon's limit, %v", most)
		return false
	}
	if most := int(limits.MaxBodySize); most > 0 && b.size.messages > 1 && len(b.mpub()) > most {
		if b.whole {
			refuse(b, "a batch of %d bytes is over the daemon's limit, %d", len(b.mpub()), most)
		} else {
			for _, half := range []*pubBatch{w.halve(b), b} { // none of it was sent: this is no second attempt
				w.ready.pushBack(half)
				w.beginWaitLocked(half)
			}
		}
		return false
	}
	return true
}

// againLocked has a batch that is certainly not stored tried again, if it may
// be. err is why it was not.
func (w *Writer) againLocked(b *pubBatch, err error) {
	b.lane, b.cause = nil, err
	// Who has stopped waiting was told.
	if left := b.take(func(_ int, e *entry) bool { return e.ctx == nil }, func() *pubBatch { return w.part(b) }); left != nil {
		w.dropLocked(left)
		if left == b {
			return
		}
	}
	late := w.config.RetryFor > 0 && !time.Now().Before(b.began.Add(w.config.RetryFor))
	switch {
	case w.ending, b.replay != nil && w.closed, b.replay == nil && (w.config.RetryFor < 0 || late):
		w.failLocked(b)
	case w.spool.active && b.replay == nil:
		w.stats.Retried += uint64(b.size.messages)
		w.spoolLocked(b)
	default:
		w.stats.Retried += uint64(b.size.messages)
		w.ready.pushBack(b)
		w.beginWaitLocked(b)
	}
}

// uncertainLocked decides what becomes of a batch that may be stored.
func (w *Writer) uncertainLocked(b *pubBatch, err *UncertainError) {
	b.doubt = err
	if b.replay != nil || w.config.RetryUncertain && w.config.RetryFor >= 0 && !w.ending {
		w.againLocked(b, err.Err)
		return
	}
	w.settleLocked(b, err)
}

// failLocked ends the trying of a batch that is not on its way: it goes to the
// spool, or nobody takes it.
func (w *Writer) failLocked(b *pubBatch) {
	if w.config.Spool != nil && b.replay == nil {
		w.spoolLocked(b)
		return
	}
	var err error
	if w.ending {
		err = ErrClosed
	}
	w.settleLocked(b, w.unavailableLocked(b, err))
}

// unavailableLocked is the error of a batch that no daemon took until err ended
// the trying, nil if it was the number of attempts.
func (w *Writer) unavailableLocked(b *pubBatch, err error) error {
	cause := b.cause
	if cause == nil {
		cause = w.troubleLocked()
	}
	if b.doubt != nil {
		return &UncertainError{b.doubt.Address, because(b.doubt.Err, cause, err)}
	}
	return &UnavailableError{b.topic, because(cause, err)}
}

// refusedError is e, unless an earlier attempt may have stored the batch.
func (w *Writer) refusedError(b *pubBatch, e *RefusedError) error {
	if b.doubt != nil {
		return &UncertainError{b.doubt.Address, because(b.doubt.Err, e)}
	}
	return e
}

// settleLocked makes err the outcome of a batch, which the Writer then forgets.
func (w *Writer) settleLocked(b *pubBatch, err error) {
	b.stopWaiting()
	w.count(b, err)
	for i := range b.entries {
		if wait := b.entries[i].wait; wait != nil {
			wait.batch = nil
			w.after.waiters = append(w.after.waiters, decided{wait, err})
		}
	}
	if b.replay != nil {
		w.replayedLocked(b, err)
		w.forgetLocked(b)
		return
	}
	if w.config.OnPublish != nil {
		w.after.published = append(w.after.published, b.published(err))
	}
	w.room.answer(b.size, b.callbacks)
	if b.callbacks.messages == 0 {
		w.forgetLocked(b)
		return
	}
	w.told = append(w.told, outcome{b, err})
	token(w.outcomes)
}

// dropLocked forgets a batch that everybody was told of already.
func (w *Writer) dropLocked(b *pubBatch) {
	b.stopWaiting()
	w.room.answer(b.size, load{})
	w.forgetLocked(b)
}

// forgetLocked ends a batch that everybody was told of.
func (w *Writer) forgetLocked(b *pubBatch) {
	if g := b.generation; g != nil {
		g.left--
		for len(w.generations) > 1 && w.generations[0].left == 0 {
			close(w.generations[0].reached)
			w.generations = w.generations[1:]
		}
	}
	// Memory that is still being written from must not be used again.
	if (b.lane == nil || b.loose) && cap(b.wire) <= 2*w.config.BatchBytes {
		w.batches.Put(b)
	}
}

// count adds the messages of a batch to the statistics, but for those whose
// publishers were told before.
func (w *Writer) count(b *pubBatch, err error) {
	if _, refused := errors.AsType[*RefusedError](err); b.replay != nil && !refused {
		return // they were counted when they were put into the spool, and may still be there
	}
	n := uint64(0)
	for i := range b.entries {
		if e := &b.entries[i]; e.ctx != nil {
			n += uint64(e.size.messages)
		}
	}
	switch err.(type) {
	case nil:
		w.stats.Published += n
	case *RefusedError:
		w.stats.Refused += n
	case *UncertainError:
		w.stats.Uncertain += n
	default:
		w.stats.Unavailable += n
	}
}

func (b *pubBatch) published(err error) Published {
	p := Published{Topic: b.topic, Messages: b.size.messages, Bytes: b.size.bytes, Took: time.Since(b.began), Err: err}
	if b.lane != nil {
		p.Address = b.lane.address
	} else if e, ok := errors.AsType[*UncertainError](err); ok {
		p.Address = e.Address
	}
	return p
}
