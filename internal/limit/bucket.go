// Package limit is what keeps one client from taking what is there for all: how many
// connections there may be, how fast may be published, how much somebody may make.
//
// What decides has no clock and no I/O: the time is given, in nanoseconds from some
// moment on that lies at least Burst before the first one given.
package limit

import (
	"math"
	"math/bits"
	"time"
)

// Burst is how long a rate may be saved up: who was silent for so long may take at
// once what is allowed in that time.
const Burst = time.Second

// Rate is how many of something may be taken in a second; 0 is any number.
type Rate int64

// Bucket is what somebody has taken at a rate: a token bucket, kept as the time at
// which it is empty, neither owing nor owed. The zero Bucket is full.
//
// As long as it owes nothing, as much as one likes can be taken at once, and is owed from
// then on. So a batch that is larger than Burst allows for goes through, on the average
// nobody gets more than the rate, and there is nothing that could never be taken.
type Bucket int64

// Wait is how long nothing can be taken.
func (b Bucket) Wait(now int64) time.Duration { return time.Duration(max(0, int64(b)-now)) }

// Full reports whether the bucket is as if nothing had ever been taken.
func (b Bucket) Full(now int64) bool { return int64(b) <= now-int64(Burst) }

// Take takes n, which is not negative, whether the bucket owes or not.
func (b *Bucket) Take(now int64, r Rate, n int64) {
	if r <= 0 {
		return
	}
	from := max(int64(*b), now-int64(Burst))
	*b = Bucket(from + min(took(r, n), math.MaxInt64-from))
}

// took is how long n take at a rate, in nanoseconds, no less than one.
func took(r Rate, n int64) int64 {
	// #nosec G115 -- n is a count of bytes or messages, never negative, and r is above 0: see Take
	load, rate := uint64(n), uint64(r)
	high, low := bits.Mul64(load, uint64(time.Second))
	low, carry := bits.Add64(low, rate-1, 0)
	high += carry
	if high >= rate {
		return math.MaxInt64
	}
	t, _ := bits.Div64(high, low, rate)
	// #nosec G115 -- at most MaxInt64
	return int64(min(t, math.MaxInt64))
}
