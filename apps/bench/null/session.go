package null

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"net"
	"sync"

	"github.com/millrace-mq/millrace/protocol"
)

const readSize = 1 << 20

// session is one connection: its reader parses and answers, its deliverer
// sends messages, so that neither waits for the other's socket.
type session struct {
	conn net.Conn

	// Owned by the reader: what the commands of one read come to.
	answer []byte
	gained int64 // credit
	rdy    int64 // the last RDY, of all reads
	cls    bool

	mu     sync.Mutex // guards below; never held while writing
	wake   *sync.Cond
	credit int64 // messages that may still be sent
	state  delivery
}

type delivery int

const (
	delivering delivery = iota
	closing             // CLS was read: confirm it, then send nothing more
	ended               // the connection is gone
)

// serve runs the connection until it or ctx ends.
func serve(ctx context.Context, c net.Conn, d deliveries) {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	s := &session{conn: c}
	s.wake = sync.NewCond(&s.mu)
	var wg sync.WaitGroup
	wg.Go(func() { s.deliver(d) })
	s.read()
	s.update(func() { s.state = ended })
	_ = c.Close()
	wg.Wait()
}

func (s *session) update(change func()) {
	s.mu.Lock()
	change()
	s.mu.Unlock()
	s.wake.Signal()
}

// read handles what each read brings as one and answers it with one write.
func (s *session) read() {
	buf := make([]byte, readSize)
	used, magic := 0, false
	for {
		n, err := s.conn.Read(buf[used:])
		if err != nil {
			return
		}
		used += n
		rest := buf[:used]
		if !magic {
			if used < len(protocol.MagicV2) {
				continue
			}
			if string(rest[:len(protocol.MagicV2)]) != protocol.MagicV2 {
				return
			}
			rest, magic = rest[len(protocol.MagicV2):], true
		}
		rest, fault := s.commands(rest)
		if !s.flush() || fault {
			return
		}
		used = copy(buf, rest)
		if used == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

// flush sends the answers and only then gives the deliverer what was gained, so
// that no message overtakes the answer to SUB.
func (s *session) flush() bool {
	if len(s.answer) > 0 {
		if _, err := s.conn.Write(s.answer); err != nil {
			return false
		}
		s.answer = s.answer[:0]
	}
	if s.gained != 0 || s.cls {
		s.update(func() {
			s.credit += s.gained
			if s.cls {
				s.state = closing
			}
		})
		s.gained, s.cls = 0, false
	}
	return true
}

const finSize = len("FIN ") + protocol.IDLength + len("\n")

// commands handles every whole command in b and returns what is left. A fault
// is an error to be sent and to end with.
func (s *session) commands(b []byte) (rest []byte, fault bool) {
	for {
		for len(b) >= finSize && b[0] == 'F' && b[finSize-1] == '\n' {
			s.gained++
			b = b[finSize:]
		}
		newline := bytes.IndexByte(b, '\n')
		if newline < 0 {
			if len(b) >= protocol.MaxLine {
				return nil, true
			}
			return b, false
		}
		line, err := protocol.ParseLine(b[:newline])
		var body []byte
		after := b[newline+1:]
		if err == nil && line.Body {
			size, whole := 0, false
			if size, whole, err = bodySize(after); err == nil && !whole {
				return b, false
			} else if err == nil {
				body, after = after[4:4+size], after[4+size:]
			}
		}
		if err == nil {
			err = s.command(line, body)
		}
		if err != nil {
			s.answer = protocol.AppendFrame(s.answer, protocol.FrameError, err.Error())
			return nil, true
		}
		b = after
	}
}

// bodySize reads the size that precedes a body; whole says that all of both
// is there.
func bodySize(b []byte) (size int, whole bool, err *protocol.Error) {
	if len(b) < 4 {
		return 0, false, nil
	}
	// #nosec G115 -- numbers that the bench itself has drawn or counted, never negative
	size = int(int32(binary.BigEndian.Uint32(b)))
	if size <= 0 || size > protocol.DefaultMaxBodySize {
		return 0, false, protocol.Errorf(protocol.EBadBody, "invalid body size %d", size)
	}
	return size, len(b) >= 4+size, nil
}

func (s *session) command(line protocol.Line, body []byte) *protocol.Error {
	switch line.Verb {
	case protocol.MPub:
		if _, _, err := protocol.CheckBatch(body, protocol.DefaultMaxMessageSize, protocol.DefaultMaxBodySize); err != nil {
			return err
		}
		s.ok()
	case protocol.Pub, protocol.DPub, protocol.Sub, protocol.Auth:
		s.ok()
	case protocol.Identify:
		answer, err := json.Marshal(protocol.IdentifyResponse{MaxRdyCount: maxRDY, Version: Version})
		if err != nil {
			return protocol.Errorf(protocol.EIdentifyFailed, "IDENTIFY failed %v", err)
		}
		s.answer = protocol.AppendFrame(s.answer, protocol.FrameResponse, answer)
	case protocol.Rdy:
		n, ok := protocol.ParseCount(line.Args[0])
		if !ok || n > maxRDY {
			return protocol.Errorf(protocol.EInvalid, "RDY count %s out of range 0-%d", line.Args[0], maxRDY)
		}
		s.gained, s.rdy = s.gained+n-s.rdy, n
	case protocol.Fin:
		s.gained++
	case protocol.Cls:
		s.cls = true
	}
	return nil
}

func (s *session) ok() {
	s.answer = protocol.AppendFrame(s.answer, protocol.FrameResponse, protocol.OK)
}

// deliver sends messages while there is credit, until the connection or the
// subscription ends.
func (s *session) deliver(d deliveries) {
	for {
		s.mu.Lock()
		for s.state == delivering && s.credit <= 0 {
			s.wake.Wait()
		}
		run, n := d.run(max(0, s.credit))
		s.credit -= n
		state := s.state
		s.mu.Unlock()
		switch state {
		case ended:
			return
		case closing:
			_, _ = s.conn.Write(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.CloseWait))
			return
		}
		if _, err := s.conn.Write(run); err != nil {
			_ = s.conn.Close() // ends the reader
			return
		}
	}
}
