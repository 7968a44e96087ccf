package sampler

import (
	"context"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/fleet"
)

const (
	// shelfRoom is how many answers about clients are kept at most, and dusty how long after
	// they were last asked for.
	shelfRoom = 64
	dusty     = 30 * time.Second
)

// shelf keeps what was read about clients, so that many who look at the same cost one
// reading. What is being read is read for all who ask meanwhile, and goes on if the first
// of them gives up.
type shelf struct {
	period time.Duration
	ctx    context.Context // of all readings
	cancel context.CancelFunc
	wg     sync.WaitGroup // of readings

	mu     sync.Mutex // guards what follows; not held while somebody reads
	books  map[clientsOf]*book
	closed bool
}

// book is what was read. It does not change once done is closed.
type book struct {
	done    chan struct{}
	clients []fleet.Client
	results []audit.Result

	// Guarded by the shelf's mu:
	until time.Time // when it is to be read again; zero while it is read
	asked time.Time // last
}

func newShelf(period time.Duration) *shelf {
	s := &shelf{period: period, books: make(map[clientsOf]*book)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// close ends all readings, and waits for them. From then on nothing is read.
func (s *shelf) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}

// take returns the book about what key names, which read reads if there is none, or it is
// too old. Before is the one before, nil if there is none.
func (s *shelf) take(key clientsOf, read func(ctx context.Context, before *book) ([]fleet.Client, []audit.Result)) *book {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	before := s.books[key]
	if before != nil && (before.until.IsZero() || now.Before(before.until)) {
		before.asked = now
		return before
	}
	b := &book{done: make(chan struct{}), asked: now}
	if s.closed {
		b.results = []audit.Result{{Node: key.node, Error: "this program is about to end"}}
		close(b.done)
		return b
	}
	s.makeRoom()
	s.books[key] = b
	s.wg.Go(func() {
		b.clients, b.results = read(s.ctx, before)
		s.mu.Lock()
		b.until = time.Now().Add(s.period)
		s.mu.Unlock()
		close(b.done)
	})
	return b
}

// sweep drops what nobody has asked for lately.
func (s *shelf) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, b := range s.books {
		if now.Sub(b.asked) > dusty {
			delete(s.books, key)
		}
	}
}

// makeRoom drops the one that was asked for longest ago if there is no room for another.
func (s *shelf) makeRoom() {
	var oldest clientsOf
	for key, b := range s.books {
		if o := s.books[oldest]; o == nil || b.asked.Before(o.asked) {
			oldest = key
		}
	}
	if len(s.books) >= shelfRoom {
		delete(s.books, oldest)
	}
}
