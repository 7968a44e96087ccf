package httpapi

import "sync/atomic"

// Budget is an amount of memory that requests share, so that however many come
// at once, those who take more than there is are refused rather than the daemon
// ended by the kernel.
type Budget struct{ left atomic.Int64 }

// NewBudget returns a budget of so many bytes.
func NewBudget(bytes int64) *Budget {
	b := new(Budget)
	b.left.Store(bytes)
	return b
}

// Take takes n bytes, or nothing and returns false if there is less.
func (b *Budget) Take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

// Give gives n bytes back.
func (b *Budget) Give(n int64) { b.left.Add(n) }
