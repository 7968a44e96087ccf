package session

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/queue"
)

const (
	// runBytes is about how much is delivered with one write: enough that the
	// system call does not count, little enough that consumers take turns.
	runBytes = 128 << 10
	// pendingLimit is how many bytes of answers may wait for a client that
	// does not read them before nothing more is read from it.
	pendingLimit = 1 << 20
)

// output is what waits to be written: answers, errors, heartbeats.
type output struct {
	mu      sync.Mutex // guards pending, ended and beaten; never held across a write
	pending []byte
	ended   bool // nothing more will come
	beaten  bool // an interval of the heartbeat has passed since take

	drained chan struct{} // signalled when pending was taken

	// Owned by whoever writes.
	spare    []byte
	again    []byte    // frames made anew
	deadline time.Time // as armed
	patience time.Duration
	rest     bool // the next flush of a compressor is followed by its Rest
}

// end tells the delivering goroutine to end once everything is written.
func (o *output) end() {
	o.mu.Lock()
	o.ended = true
	o.mu.Unlock()
}

// beat tells whoever writes that an interval of the heartbeat has passed.
func (o *output) beat() {
	o.mu.Lock()
	o.beaten = true
	o.mu.Unlock()
}

// take returns what waits, to be written before the next take.
func (o *output) take() (pending []byte, ended bool) {
	o.mu.Lock()
	pending, ended = o.pending, o.ended
	o.pending = o.spare[:0]
	o.rest, o.beaten = o.rest || o.beaten, false
	o.mu.Unlock()
	o.spare = pending
	if cap(o.spare) > 64<<10 {
		o.spare = nil
	}
	return pending, ended
}

// respond adds an answer, to be sent at the next flush.
func (s *session) respond(t protocol.FrameType, data string) {
	s.out.mu.Lock()
	s.out.pending = protocol.AppendFrame(s.out.pending, t, data)
	s.out.mu.Unlock()
}

// okays adds n times OK.
func (s *session) okays(n int) {
	s.out.mu.Lock()
	for range n {
		s.out.pending = append(s.out.pending, okFrame...)
	}
	s.out.mu.Unlock()
}

var okFrame = protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK)

// flush sends the answers, or has the delivering goroutine send them. It waits
// for a client that does not read.
func (s *session) flush() error {
	if s.consumer == nil {
		pending, _ := s.out.take()
		if len(pending) > 0 {
			if err := s.write(pending); err != nil {
				return err
			}
		}
		return s.push()
	}
	return s.awaitTaken(pendingLimit)
}

// awaitTaken has the delivering goroutine send the answers, and waits until it has
// taken them but for limit bytes. It writes what it has taken before it asks for
// messages.
func (s *session) awaitTaken(limit int) error {
	for {
		s.out.mu.Lock()
		waiting := len(s.out.pending)
		s.out.mu.Unlock()
		if waiting > 0 {
			s.consumer.Wake()
		}
		if waiting <= limit {
			return nil
		}
		select {
		case <-s.out.drained:
		case <-s.delivered:
			return net.ErrClosed
		}
	}
}

// write writes b within the client's patience: one heartbeat interval, or up to
// a half more. What a compressor keeps of it goes with push.
func (s *session) write(b []byte) error {
	if s.out.patience > 0 {
		// Arming a deadline costs about as much as a small write, so it is armed
		// anew only when less than the patience is left of it.
		if now := time.Now(); s.out.deadline.Sub(now) < s.out.patience {
			s.out.deadline = now.Add(s.out.patience + s.out.patience/2)
			if err := s.conn.SetWriteDeadline(s.out.deadline); err != nil {
				return err
			}
		}
	}
	_, err := s.to.Write(b)
	return err
}

// push writes what a compressor has kept, so that the client gets all that was
// written.
func (s *session) push() error {
	if s.pack == nil {
		return nil
	}
	err := s.pack.Flush()
	if s.out.rest {
		s.out.rest = false
		s.pack.Rest()
	}
	return err
}

// deliver sends messages as the channel has them and answers as they come,
// until the reading goroutine has ended or the connection fails. It is the
// only one that writes.
func (s *session) deliver() {
	defer close(s.delivered)
	if err := s.deliverAll(); err != nil {
		// The reader sees this as the end of the connection.
		if !errors.Is(err, io.EOF) {
			s.log.Debug("cannot deliver", "error", err)
		}
		_ = s.conn.Close()
	}
}

func (s *session) deliverAll() error {
	var run queue.Run
	defer s.consumer.Release(&run)
	for {
		pending, ended := s.out.take()
		if len(pending) > 0 {
			select {
			case s.out.drained <- struct{}{}:
			default:
			}
		}
		if ended {
			s.consumer.Yield()
			if len(pending) > 0 {
				if _, err := s.to.Write(pending); err != nil { // within what finish allows
					return err
				}
			}
			return s.push()
		}
		if len(pending) > 0 {
			// Messages must not wait for this one while it is busy writing.
			s.consumer.Yield()
			if err := s.write(pending); err != nil {
				return err
			}
		}
		ok, err := s.consumer.Next(&run, runBytes)
		switch {
		case errors.Is(err, broker.ErrGone):
			_ = s.push()
			return io.EOF
		case ok:
			err = s.write(s.frames(&run))
		case s.pack != nil && s.pack.Unflushed():
			// There is nothing more to compress with it, and it must not wait.
			s.consumer.Yield()
			err = s.push()
		default:
			<-s.consumer.Awake()
		}
		if err != nil {
			return err
		}
	}
}

// frames returns the run's frames as they are to be written.
func (s *session) frames(run *queue.Run) []byte {
	if len(run.Again) == 0 {
		return run.Frames
	}
	frames := s.out.again[:0]
	for _, m := range run.Again {
		frames = m.Append(frames)
	}
	s.out.again = frames
	if cap(frames) > 1<<20 {
		s.out.again = nil
	}
	return frames
}
