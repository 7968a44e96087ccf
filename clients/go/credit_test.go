package millrace

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

func slowly(h Handler) HandlerFunc {
	return func(ctx context.Context, m *Message) error {
		time.Sleep(100 * time.Microsecond)
		return h.Handle(ctx, m)
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct{ total, n int }{{200, 1}, {200, 3}, {7, 7}, {10, 4}} {
		sum, least, most := 0, c.total, 0
		for i := range c.n {
			s := share(c.total, c.n, i)
			sum, least, most = sum+s, min(least, s), max(most, s)
		}
		if sum != c.total || most-least > 1 || least < 1 {
			t.Errorf("%d over %d: sum %d, %d to %d", c.total, c.n, sum, least, most)
		}
	}
}

// TestRotate lets daemons take and answer messages at random and checks that
// credit is never exceeded, that none is left unused, and that each has turns.
func TestRotate(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		total := 1 + rnd.IntN(5)
		lines := make([]credit, total+1+rnd.IntN(20))
		turns := make([]int, len(lines))
		from := 0
		for step := range 400 {
			from = rotate(lines, total, from, step%2 == 0)
			given, taken := 0, 0
			for i := range lines {
				c := &lines[i]
				given += c.ready
				taken += max(c.ready, c.inFlight)
				turns[i] += c.ready
			}
			if given > total || taken != total {
				t.Fatalf("seed %d: of %d credits %d are given and %d taken", seed, total, given, taken)
			}
			for i := range lines {
				c := &lines[i]
				if c.inFlight > 0 && rnd.IntN(2) == 0 {
					c.inFlight = 0
				} else if c.ready > 0 && rnd.IntN(2) == 0 {
					c.inFlight = 1
				}
			}
		}
		for i, n := range turns {
			if n == 0 {
				t.Fatalf("seed %d: line %d of %d never had credit", seed, i, len(lines))
			}
		}
	}
}
