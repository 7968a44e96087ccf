package httpapi

import (
	"container/list"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// maxStrangers is how many connections may be open at once that have not sent the
// header of a request yet. Each costs some 15 KB and a file, for ten seconds.
const maxStrangers = 4096

// strangers are the connections that have not. When there are too many, the one that
// came first is closed: a client sends its header within milliseconds, so it is
// answered however many others say nothing. It is safe for concurrent use.
type strangers struct {
	log *Sparing

	n      atomic.Int32 // so that requests need no lock while there are none
	mu     sync.Mutex   // guards what follows
	queue  list.List    // of net.Conn, in the order in which they came
	places map[net.Conn]*list.Element
	ended  bool // nobody stays any more
}

func newStrangers(log *Sparing) *strangers {
	return &strangers{log: log, places: make(map[net.Conn]*list.Element)}
}

// enter takes a connection in, and closes the oldest if there are too many.
func (s *strangers) enter(c net.Conn) {
	s.mu.Lock()
	s.places[c] = s.queue.PushBack(c)
	s.n.Add(1)
	ended := s.ended
	s.mu.Unlock()
	if ended {
		s.end()
		return
	}
	if oldest := s.oldest(maxStrangers); oldest != nil {
		s.log.Warn("too many connections ask nothing: the oldest are closed", "from", oldest.RemoteAddr())
		_ = socketOf(oldest).Close() // without TLS's farewell, which may take time
	}
}

// oldest takes out the one that came first, if there are more than most; else it
// returns nil.
func (s *strangers) oldest(most int) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.places) <= most {
		return nil
	}
	c := s.queue.Front().Value.(net.Conn)
	s.remove(c)
	return c
}

// end closes all of them, and whoever still comes. A server that shuts down answers
// nobody who had not asked before, but waits for him.
func (s *strangers) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	for c := s.oldest(0); c != nil; c = s.oldest(0) {
		_ = socketOf(c).Close()
	}
}

// roomyListener takes files from strangers when there are none left to accept with.
type roomyListener struct {
	net.Listener
	strangers *strangers
}

// Accept returns the error all the same: net/http waits a moment after it, within which
// what was closed is given back.
func (l roomyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		// Of the older half: whoever came a moment ago is about to ask.
		for range min(64, l.strangers.n.Load()/2) {
			if oldest := l.strangers.oldest(0); oldest != nil {
				_ = socketOf(oldest).Close()
			}
		}
	}
	return c, err
}

// leave takes a connection out, if it is in: it has asked something, or has ended.
func (s *strangers) leave(c net.Conn) {
	if s.n.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(c)
}

// remove needs mu.
func (s *strangers) remove(c net.Conn) {
	if place := s.places[c]; place != nil {
		s.queue.Remove(place)
		delete(s.places, c)
		s.n.Add(-1)
	}
}
