package httpapi

import (
	"net/http"
	"sync"

	"github.com/millrace-mq/millrace/internal/limit"
)

// Budget is an amount of memory that requests share, so that however many come
// at once, those who take more than there is are refused rather than the daemon
// ended by the kernel. Nobody gets more of it than is left for all others: who
// takes what he can and keeps it leaves half, the next one half of that.
type Budget struct {
	mu    sync.Mutex // guards what follows
	all   int64
	left  int64
	taken map[Remote]int64 // by those who have some
	given chan struct{}    // closed at the next Give; nil if nobody has asked for it
}

// NewBudget returns a budget of so many bytes.
func NewBudget(bytes int64) *Budget {
	return &Budget{all: bytes, left: bytes, taken: make(map[Remote]int64)}
}

// Take takes n bytes for who, or nothing and returns false. Who has none yet may
// have all that is left.
func (b *Budget) Take(who Remote, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	has := b.taken[who]
	if n > b.left || has > 0 && has+n > b.left-n {
		return false
	}
	b.left -= n
	b.taken[who] = has + n
	return true
}

// Give gives back n bytes of those that who has taken.
func (b *Budget) Give(who Remote, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
	if b.taken[who] -= n; b.taken[who] == 0 {
		delete(b.taken, who)
	}
	if b.given != nil {
		close(b.given)
		b.given = nil
	}
}

// AtLeast makes it a budget of so many bytes, if it has fewer.
func (b *Budget) AtLeast(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if more := bytes - b.all; more > 0 {
		b.all, b.left = bytes, b.left+more
	}
}

// Given returns a channel that is closed when bytes are given back. Who waits
// for some asks for it before he tries to take them, or else he may miss it.
func (b *Budget) Given() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.given == nil {
		b.given = make(chan struct{})
	}
	return b.given
}

// Remote is where requests come from, as far as whoever sends them cannot choose
// it at will.
type Remote = limit.Remote

// RemoteOf returns where r comes from.
func RemoteOf(r *http.Request) Remote { return limit.RemoteOf(r.RemoteAddr) }
