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
	runBytes = 64 << 10
	// pendingLimit is how many bytes of answers may wait for a client that
	// does not read them before nothing more is read from it.
	pendingLimit = 1 << 20
)

// output is what waits to be written: answers, errors, heartbeats.
type output struct {
	mu      sync.Mutex // guards pending and ended; never held across a write
	pending []byte
	ended   bool // nothing more will come

	drained chan struct{} // signalled when pending was taken

	// Owned by whoever writes.
	spare    []byte
	again    []byte    // frames made anew
	deadline time.Time // as armed
	patience time.Duration
}

// end tells the delivering goroutine to end once everything is written.
func (o *output) end() {
	o.mu.Lock()
	o.ended = true
	o.mu.Unlock()
}

// take returns what waits, to be written before the next take.
func (o *output) take() (pending []byte, ended bool) {
	o.mu.Lock()
	pending, ended = o.pending, o.ended
	o.pending = o.spare[:0]
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
		if len(pending) == 0 {
			return nil
		}
		return s.write(pending)
	}
	for {
		s.out.mu.Lock()
		waiting := len(s.out.pending)
		s.out.mu.Unlock()
		if waiting > 0 {
			s.consumer.Wake()
		}
		if waiting <= pendingLimit {
			return nil
		}
		select {
		case <-s.out.drained:
		case <-s.delivered:
			return net.ErrClosed
		}
	}
}

// write writes bufs within the client's patience: one heartbeat interval.
func (s *session) write(bufs ...[]byte) error {
	if s.out.patience > 0 {
		// Arming a deadline costs about as much as a small write, so it is armed
		// anew only when half of it is gone.
		if now := time.Now(); s.out.deadline.Sub(now) < s.out.patience/2 {
			s.out.deadline = now.Add(s.out.patience)
			if err := s.conn.SetWriteDeadline(s.out.deadline); err != nil {
				return err
			}
		}
	}
	if len(bufs) == 1 {
		_, err := s.conn.Write(bufs[0])
		return err
	}
	nb := net.Buffers(bufs)
	_, err := nb.WriteTo(s.conn)
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
			if len(pending) == 0 {
				return nil
			}
			_, err := s.conn.Write(pending) // within what finish allows
			return err
		}
		ok, gone := s.consumer.Next(&run, runBytes)
		if err := s.send(pending, &run, ok); err != nil {
			return err
		}
		switch {
		case errors.Is(gone, broker.ErrGone):
			return io.EOF
		case ok || len(pending) > 0:
			continue
		}
		<-s.consumer.Awake()
	}
}

// send writes answers and a run of messages.
func (s *session) send(pending []byte, run *queue.Run, ok bool) error {
	frames := run.Frames
	if ok && len(run.Again) > 0 {
		s.out.again = s.out.again[:0]
		for _, m := range run.Again {
			s.out.again = m.Append(s.out.again)
		}
		frames = s.out.again
		if cap(s.out.again) > 1<<20 {
			s.out.again = nil
		}
	}
	switch {
	case len(pending) > 0 && ok:
		return s.write(pending, frames)
	case len(pending) > 0:
		return s.write(pending)
	case ok:
		return s.write(frames)
	}
	return nil
}
