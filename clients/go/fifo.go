package millrace

import "iter"

// fifo is a queue in a ring that grows. The zero value is empty.
type fifo[T any] struct {
	ring  []T // its length is a power of two, or zero
	first int
	count int
}

func (f *fifo[T]) push(v T) {
	if f.count == len(f.ring) {
		ring := make([]T, max(16, 2*len(f.ring)))
		n := copy(ring, f.ring[f.first:])
		copy(ring[n:], f.ring[:f.first])
		f.ring, f.first = ring, 0
	}
	f.ring[(f.first+f.count)&(len(f.ring)-1)] = v
	f.count++
}

func (f *fifo[T]) peek() (v T, ok bool) {
	if f.count == 0 {
		return v, false
	}
	return f.ring[f.first], true
}

// drop removes the first of a queue that is not empty.
func (f *fifo[T]) drop() {
	var none T
	f.ring[f.first] = none // for the collector
	f.first = (f.first + 1) & (len(f.ring) - 1)
	f.count--
}

// all yields what is queued, in order.
func (f *fifo[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for i := range f.count {
			if !yield(f.ring[(f.first+i)&(len(f.ring)-1)]) {
				return
			}
		}
	}
}
