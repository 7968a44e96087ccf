package millrace

import (
	"fmt"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

func (l *line) readLoop() error {
	in := inbox{recycles: l.reader.config.BatchHandler != nil}
	for {
		n, err := l.Read(in.space())
		in.filled(n)
		if n > 0 {
			if err := l.receive(&in); err != nil {
				return fmt.Errorf("reading from %s: %w", l.address, err)
			}
		}
		if err != nil {
			return fmt.Errorf("reading from %s: %w", l.address, err)
		}
	}
}

// receive takes every complete frame from in. The messages among them lie
// together and go to the workers together.
func (l *line) receive(in *inbox) error {
	var p *parcel
	for {
		t, data, ok, err := in.next()
		switch {
		case err != nil:
			return err
		case !ok:
			l.deliver(p)
			return nil
		case t == protocol.FrameMessage:
			if p == nil {
				p = newParcel(l, in.page, 1+in.count())
			}
			if err := p.add(data); err != nil {
				return err
			}
		default:
			// What CLOSE_WAIT follows must be known to be in flight before it.
			l.deliver(p)
			p = nil
			if err := l.control(t, data); err != nil {
				return err
			}
		}
	}
}

// add appends the message that a frame holds. There is room.
func (p *parcel) add(frame []byte) error {
	m, err := protocol.ParseMessage(frame)
	if err != nil {
		return err
	}
	p.messages = p.messages[:len(p.messages)+1]
	p.messages[len(p.messages)-1] = Message{
		ID: m.ID, Timestamp: time.Unix(0, m.Timestamp), Attempts: m.Attempts, Body: m.Body,
		Address: p.line.address, line: p.line,
	}
	return nil
}

func (l *line) deliver(p *parcel) {
	if p == nil {
		return
	}
	p.at = time.Now()
	l.mu.Lock()
	l.arrivedLocked(len(p.messages), p.at)
	l.mu.Unlock()
	if !l.reader.queue.push(p) {
		p.giveBack()
	}
}

// control acts on a frame that is not a message.
func (l *line) control(t protocol.FrameType, data []byte) error {
	switch {
	case t == protocol.FrameError:
		return l.failed(protocol.ParseError(data))
	case t != protocol.FrameResponse:
		return fmt.Errorf("unknown %v", t)
	case string(data) == protocol.Heartbeat:
		l.nop()
		return nil
	case string(data) == protocol.CloseWait && l.closeAnswered():
		return nil
	case string(data) == protocol.OK && l.sought(nil):
		return nil
	}
	return fmt.Errorf("unexpected response %.40q", data)
}

// failed acts on an error that the daemon has sent. It returns those that end
// the connection.
func (l *line) failed(err *protocol.Error) error {
	switch {
	case err.Code == protocol.ESeekFailed && l.sought(err):
		return nil
	case err.Fatal():
		return err
	}
	// The message's timeout was faster; it comes again.
	l.reader.config.Log.Info("answer came too late", "node", l.address, "error", err)
	return nil
}
