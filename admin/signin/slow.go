package signin

import (
	"context"
	"runtime"
	"sync"
	"time"
)

const (
	maxTracked = 4096 // addresses, and users, that failures are remembered of
	forgetting = 15 * time.Minute
	longWait   = time.Minute
)

// failures counts attempts that failed, by somebody or something, and says how long
// it has to wait for the next. It has no clock and no lock: its owner has.
type failures struct {
	free int // so many cost nothing; each more doubles the wait, from a second up to a minute
	of   map[string]*record
}

type record struct {
	failed int
	last   time.Time // of attempts
	until  time.Time // none is made before
}

func newFailures(free int) *failures { return &failures{free: free, of: make(map[string]*record)} }

// wait is how long there must be no attempt from now on.
func (f *failures) wait(key string, now time.Time) time.Duration {
	if r := f.of[key]; r != nil {
		return max(0, r.until.Sub(now))
	}
	return 0
}

// begin counts an attempt as failed. That is put right by succeed: if it were counted
// only when it has failed, thousands could be made at once.
func (f *failures) begin(key string, now time.Time) {
	r := f.of[key]
	if r == nil {
		f.makeRoom()
		r = new(record)
		f.of[key] = r
	}
	if now.Sub(r.last) > forgetting {
		*r = record{}
	}
	r.failed++
	r.last = now
	if more := r.failed - f.free; more > 0 {
		r.until = now.Add(min(time.Second<<min(more-1, 10), longWait))
	}
}

// succeed says that an attempt was right.
func (f *failures) succeed(key string) {
	if r := f.of[key]; r != nil {
		r.failed = max(0, r.failed-1)
		r.until = time.Time{}
	}
}

// forget says that all is well again.
func (f *failures) forget(key string) { delete(f.of, key) }

// makeRoom drops the one whose last attempt is longest ago.
func (f *failures) makeRoom() {
	if len(f.of) < maxTracked {
		return
	}
	var oldest string
	var at time.Time
	for key, r := range f.of {
		if oldest == "" || r.last.Before(at) {
			oldest, at = key, r.last
		}
	}
	delete(f.of, oldest)
}

// slow slows down who guesses passwords: from one address, and of one user from many.
// The wait for a user does not apply where he has been right before, or else anybody
// could keep him out.
type slow struct {
	mu        sync.Mutex // guards what follows
	addresses *failures
	users     *failures
	places    map[[2]string]bool // user and address: he was right there
}

func newSlow() *slow {
	return &slow{addresses: newFailures(20), users: newFailures(5), places: make(map[[2]string]bool)}
}

// wait returns how long there must be no attempt.
func (s *slow) wait(address, user string, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waitLocked(address, user, now)
}

func (s *slow) waitLocked(address, user string, now time.Time) time.Duration {
	wait := s.addresses.wait(address, now)
	if !s.at(user, address) {
		wait = max(wait, s.users.wait(user, now))
	}
	return wait
}

// at reports whether a user has been right at an address.
func (s *slow) at(user, address string) bool {
	return s.places[[2]string{user, address}]
}

// begin returns how long to wait before an attempt, or counts it and returns 0.
func (s *slow) begin(address, user string, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := s.waitLocked(address, user, now); wait > 0 {
		return wait
	}
	s.addresses.begin(address, now)
	if !s.at(user, address) {
		s.users.begin(user, now)
	}
	return 0
}

// succeed says that the attempt was right. The address goes on being counted for others:
// who has a password of his own must not be able to guess for ever.
func (s *slow) succeed(address, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses.succeed(address)
	s.users.forget(user)
	if len(s.places) >= maxTracked {
		clear(s.places) // all are counted as from elsewhere until they are right again
	}
	s.places[[2]string{user, address}] = true
}

// waitAt returns how long there must be no attempt from an address, where it is not known
// before who it is that signs in.
func (s *slow) waitAt(address string, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addresses.wait(address, now)
}

// failedAt counts an attempt of nobody in particular.
func (s *slow) failedAt(address string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses.begin(address, now)
}

// undo says that the attempt was not made.
func (s *slow) undo(address, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses.succeed(address)
	if !s.at(user, address) {
		s.users.succeed(user)
	}
}

// turns bounds how many passwords are compared at once: each takes a processor, and
// memory.
type turns struct {
	free    chan struct{}
	waiting chan struct{}
}

const (
	maxWaiting = 64
	turnWait   = 10 * time.Second
)

func newTurns() *turns {
	return &turns{free: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), waiting: make(chan struct{}, maxWaiting)}
}

// take waits for a turn, and reports whether there is one. Who has one gives it back.
func (t *turns) take(ctx context.Context) bool {
	select {
	case t.waiting <- struct{}{}:
		defer func() { <-t.waiting }()
	default:
		return false
	}
	timer := time.NewTimer(turnWait)
	defer timer.Stop()
	select {
	case t.free <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (t *turns) give() { <-t.free }
