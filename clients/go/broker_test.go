package millrace

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// broker is a small V2 daemon with one queue for every topic, whatever the
// channel. Everything it was told is kept for tests to look at.
type broker struct {
	t          testing.TB
	address    string
	maxRdy     int64
	msgTimeout time.Duration
	offers     offers

	// intercept, if set, sees each command first and reports whether it dealt
	// with it. It runs on the session's goroutine.
	intercept func(s *session, l protocol.Line, body []byte) bool

	wg sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	sessions map[*session]bool
	queue    map[string][]stored
	lastID   uint64
	finished []string // bodies
	requeued []string // bodies and delays
	late     int      // answers to what was not in flight
	maxOut   int      // most messages that were ever in flight, over all brokers that share it
	inFlight int
}

type stored struct {
	id       protocol.MessageID
	attempts uint16
	body     string
}

type session struct {
	*broker
	nc        net.Conn
	identify  protocol.IdentifyRequest
	lastHeard time.Time

	// Guarded by broker.mu.
	out      []byte
	wake     sync.Cond
	ended    bool
	silent   bool // sends nothing any more
	topic    string
	ready    int
	closing  bool
	inFlight map[protocol.MessageID]stored
	commands []string
}

func newBroker(t testing.TB) *broker {
	return &broker{
		t: t, maxRdy: 2500, msgTimeout: time.Minute,
		sessions: map[*session]bool{}, queue: map[string][]stored{},
	}
}

// startBroker starts a broker that ends with the test.
func startBroker(t testing.TB, l net.Listener) *broker {
	b := newBroker(t)
	b.start(l)
	t.Cleanup(b.stop)
	return b
}

func (b *broker) start(l net.Listener) {
	b.mu.Lock()
	b.listener, b.address = l, l.Addr().String()
	b.mu.Unlock()
	b.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			b.wg.Go(func() { b.serve(nc) })
		}
	})
}

// stop ends the broker as a crash would: without a word. Its messages stay.
func (b *broker) stop() {
	b.mu.Lock()
	_ = b.listener.Close()
	for s := range b.sessions {
		_ = s.nc.Close()
	}
	b.mu.Unlock()
	b.wg.Wait()
}

func (b *broker) put(topic string, bodies ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, body := range bodies {
		b.lastID++
		b.queue[topic] = append(b.queue[topic], stored{protocol.FormatID(b.lastID), 0, body})
	}
	b.deliverLocked()
}

// bodies returns what is queued in a topic.
func (b *broker) bodies(topic string) (list []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.queue[topic] {
		list = append(list, m.body)
	}
	return list
}

func (b *broker) finishedBodies() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.finished)
}

func (b *broker) each(f func(s *session)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.sessions {
		f(s)
	}
}

func (b *broker) serve(nc net.Conn) {
	s := &session{broker: b, nc: nc, inFlight: map[protocol.MessageID]stored{}}
	s.wake.L = &b.mu
	b.mu.Lock()
	b.sessions[s] = true
	b.mu.Unlock()
	b.wg.Go(s.writeLoop)
	beat := make(chan struct{})
	defer close(beat)
	err := s.readLoop(beat)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		s.sendLocked(protocol.AppendFrame(nil, protocol.FrameError, err.Error()))
	}
	s.ended = true
	s.wake.Signal()
	delete(b.sessions, s)
	left := slices.SortedFunc(maps.Values(s.inFlight), func(x, y stored) int { return cmp.Compare(x.id.String(), y.id.String()) })
	b.inFlight -= len(left)
	b.queue[s.topic] = append(left, b.queue[s.topic]...)
	b.deliverLocked()
}

func (s *session) writeLoop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.out) == 0 && !s.ended {
			s.wake.Wait()
		}
		if len(s.out) == 0 {
			_ = s.nc.Close()
			return
		}
		out := s.out
		s.out = nil
		s.mu.Unlock()
		_, err := s.nc.Write(out)
		s.mu.Lock()
		if err != nil {
			s.ended, s.out = true, nil
		}
	}
}

func (s *session) sendLocked(b []byte) {
	if !s.silent {
		s.out = append(s.out, b...)
		s.wake.Signal()
	}
}

func (s *session) send(t protocol.FrameType, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendLocked(protocol.AppendFrame(nil, t, data))
}

func (s *session) ok() { s.send(protocol.FrameResponse, protocol.OK) }

func (s *session) readLoop(ended chan struct{}) *protocol.Error {
	in := bufio.NewReader(s) // through the layers that greet puts upon nc
	magic := make([]byte, 4)
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != protocol.MagicV2 {
		return nil
	}
	state := protocol.StateInit
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			return nil
		}
		l, perr := protocol.ParseLine([]byte(strings.TrimSuffix(text, "\n")))
		if perr == nil {
			perr = l.Check(state)
		}
		if perr != nil {
			return perr
		}
		var body []byte
		if l.Body {
			var size [4]byte
			if _, err := io.ReadFull(in, size[:]); err != nil {
				return nil
			}
			body = make([]byte, binary.BigEndian.Uint32(size[:]))
			if _, err := io.ReadFull(in, body); err != nil {
				return nil
			}
		}
		s.mu.Lock()
		s.commands = append(s.commands, strings.TrimSuffix(text, "\n"))
		s.lastHeard = time.Now()
		intercept := s.intercept
		s.mu.Unlock()
		if intercept != nil && intercept(s, l, body) {
			continue
		}
		if err := s.execute(l, body, ended); err != nil {
			return err
		}
		switch l.Verb {
		case protocol.Sub:
			state = protocol.StateSubscribed
		case protocol.Cls:
			state = protocol.StateClosing
		}
	}
}

func (s *session) execute(l protocol.Line, body []byte, ended chan struct{}) *protocol.Error {
	arg := string(l.Args[0])
	switch l.Verb {
	case protocol.Identify:
		return s.greet(body, ended)
	case protocol.Auth:
		if string(body) != s.offers.secret {
			return protocol.Errorf(protocol.EUnauthorized, "AUTH no authorizations found")
		}
		s.send(protocol.FrameResponse, `{"identity":"","identity_url":"","permission_count":1}`)
	case protocol.Sub:
		s.mu.Lock()
		s.topic = arg
		s.mu.Unlock()
		s.ok()
	case protocol.Pub, protocol.DPub:
		s.put(arg, string(body))
		s.ok()
	case protocol.MPub:
		n, _, err := protocol.CheckBatch(body, 1<<20, 5<<20)
		if err != nil {
			return err
		}
		rest := body[4:]
		for range n {
			var one []byte
			one, rest = protocol.Next(rest)
			s.put(arg, string(one))
		}
		s.ok()
	case protocol.Rdy:
		n, _ := protocol.ParseCount(l.Args[0])
		if n > s.maxRdy {
			return protocol.Errorf(protocol.EInvalid, "RDY count %d out of range 0-%d", n, s.maxRdy)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ready = int(n)
		s.deliverLocked()
	case protocol.Fin, protocol.Req:
		return s.answer(l)
	case protocol.Cls:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closing = true
		s.sendLocked(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.CloseWait))
	}
	return nil
}

func (s *session) greet(body []byte, ended chan struct{}) *protocol.Error {
	r, err := protocol.ParseIdentify(body)
	if err != nil || !r.FeatureNegotiation {
		s.t.Errorf("IDENTIFY %s: %v", body, err)
	}
	s.identify = r
	info := s.offers.to(r)
	info.MaxRdyCount, info.Version, info.MsgTimeout = s.maxRdy, protocol.Version, s.msgTimeout.Milliseconds()
	answer, _ := json.Marshal(info)
	if err := s.upgrade(info, answer); err != nil {
		return nil
	}
	interval := 30 * time.Second
	if r.HeartbeatInterval > 0 {
		interval = time.Duration(r.HeartbeatInterval) * time.Millisecond
	}
	s.wg.Go(func() { s.beat(interval, ended) })
	return nil
}

// beat sends heartbeats and cuts a client that says nothing for two of them.
func (s *session) beat(interval time.Duration, ended chan struct{}) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		late := time.Since(s.lastHeard) > 2*interval
		s.sendLocked(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.Heartbeat))
		s.mu.Unlock()
		if late {
			_ = s.nc.Close()
		}
	}
}

func (s *session) answer(l protocol.Line) *protocol.Error {
	id := protocol.MessageID(l.Args[0])
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.inFlight[id]
	if !ok {
		s.late++
		e := protocol.Errorf("E_"+l.Name+"_FAILED", "%s %s failed ID not in flight", l.Name, id)
		s.sendLocked(protocol.AppendFrame(nil, protocol.FrameError, e.Error()))
		return nil
	}
	delete(s.inFlight, id)
	s.broker.inFlight--
	if l.Verb == protocol.Fin {
		s.finished = append(s.finished, m.body)
	} else {
		s.requeued = append(s.requeued, fmt.Sprintf("%s %s", m.body, l.Args[1]))
		delay, _ := protocol.ParseMillis(l.Args[1])
		s.requeueLocked(s.topic, m, delay)
	}
	s.deliverLocked()
	return nil
}

func (b *broker) requeueLocked(topic string, m stored, delay time.Duration) {
	if delay == 0 {
		b.queue[topic] = append(b.queue[topic], m)
		return
	}
	time.AfterFunc(delay, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.queue[topic] = append(b.queue[topic], m)
		b.deliverLocked()
	})
}

func (b *broker) deliverLocked() {
	for s := range b.sessions {
		for !s.closing && !s.ended && s.topic != "" && len(s.inFlight) < s.ready && len(b.queue[s.topic]) > 0 {
			m := b.queue[s.topic][0]
			b.queue[s.topic] = b.queue[s.topic][1:]
			m.attempts++
			s.inFlight[m.id] = m
			b.inFlight++
			b.maxOut = max(b.maxOut, b.inFlight)
			n, _ := protocol.ParseID(m.id[:])
			s.sendLocked(protocol.AppendMessage(nil, 1, m.attempts, n, []byte(m.body)))
			if b.msgTimeout < time.Minute {
				s.expireAfter(m)
			}
		}
	}
}

// expireAfter takes a delivered message back after the broker's message timeout.
func (s *session) expireAfter(m stored) {
	time.AfterFunc(s.msgTimeout, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if got, ok := s.inFlight[m.id]; ok && got.attempts == m.attempts {
			delete(s.inFlight, m.id)
			s.broker.inFlight--
			s.queue[s.topic] = append(s.queue[s.topic], m)
			s.deliverLocked()
		}
	})
}
