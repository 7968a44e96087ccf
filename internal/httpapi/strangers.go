package httpapi

import (
	"container/list"
	"net"
	"sync"
	"sync/atomic"
)

// maxStrangers is how many connections may be open at once that have not sent the
// header of a request yet. Each costs some 15 KB and a file, for ten seconds.
const maxStrangers = 4096

// strangers are connections that nothing is owed to. When there are too many, the one that
// came first is closed: of those that have not asked yet, a client sends its header
// within milliseconds, so it is answered however many others say nothing. It is safe
// for concurrent use.
type strangers struct {
	most    int
	tooMany func(client net.Addr) // tells that it is closed

	n      atomic.Int32 // so that requests need no lock while there are none
	mu     sync.Mutex   // guards what follows
	queue  list.List    // of net.Conn, in the order in which they came
	places map[net.Conn]*list.Element
	ended  bool // nobody stays any more
}

func newStrangers(most int, tooMany func(client net.Addr)) *strangers {
	return &strangers{most: most, tooMany: tooMany, places: make(map[net.Conn]*list.Element)}
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
	if oldest := s.oldest(s.most); oldest != nil {
		s.tooMany(oldest.RemoteAddr())
		_ = socketOf(oldest).Close() // without TLS's farewell, which may take time
	}
}

// closeOldest closes the one that came first if there are more than most, and reports
// whether it has.
func (s *strangers) closeOldest(most int) bool {
	oldest := s.oldest(most)
	if oldest == nil {
		return false
	}
	_ = socketOf(oldest).Close()
	return true
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
	for s.closeOldest(0) {
	}
}

// closeSome closes some of the older half: whoever came a moment ago is about to ask.
func (s *strangers) closeSome() {
	for range min(64, s.n.Load()/2) {
		s.closeOldest(0)
	}
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
