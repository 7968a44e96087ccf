package lookupd

import (
	lists "container/list"
	"io"
	"sync"
)

// maxStrangers is how many connections may be open at once that have not
// identified themselves. As many daemons can come back at once; and a thousand
// silent ones cost a few megabytes.
const maxStrangers = 1024

// lobby holds the connections that have not identified themselves. When it is
// full, the one that came first has to go: a daemon says who it is within
// milliseconds, so it gets in however many others say nothing. It is safe for
// concurrent use.
type lobby struct {
	mu    sync.Mutex
	queue lists.List // of *stranger, in the order in which they came
}

// stranger is a connection in the lobby.
type stranger struct {
	conn  io.Closer
	place *lists.Element // guarded by lobby.mu; nil once it is out
}

// enter lets a connection in, and closes the oldest if there are too many.
func (l *lobby) enter(conn io.Closer) *stranger {
	s := &stranger{conn: conn}
	l.mu.Lock()
	s.place = l.queue.PushBack(s)
	l.mu.Unlock()
	l.closeOldest(maxStrangers)
	return s
}

// closeOldest closes the oldest connection if there are more than most, and
// reports whether it has.
func (l *lobby) closeOldest(most int) bool {
	oldest := l.takeOldest(most)
	if oldest == nil {
		return false
	}
	_ = oldest.conn.Close()
	return true
}

func (l *lobby) takeOldest(most int) *stranger {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue.Len() <= most {
		return nil
	}
	oldest := l.queue.Front().Value.(*stranger)
	l.remove(oldest)
	return oldest
}

// leave takes a connection out, because it has identified itself or has ended.
// It reports whether it was in: if not, it was closed to make room.
func (l *lobby) leave(s *stranger) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.place == nil {
		return false
	}
	l.remove(s)
	return true
}

// remove needs mu.
func (l *lobby) remove(s *stranger) {
	l.queue.Remove(s.place)
	s.place = nil
}

// holds reports whether s is in.
func (l *lobby) holds(s *stranger) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.place != nil
}

// len is how many there are.
func (l *lobby) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.Len()
}
