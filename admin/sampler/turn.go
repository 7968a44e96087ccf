package sampler

import (
	"io"
	"runtime"
	"time"
)

// turns are for work on answers. There are fewer than processors: fifty daemons that answer
// at the same time must not keep pages waiting. Nobody has a turn while he waits for a
// daemon.
type turns chan struct{}

func newTurns() turns { return make(turns, max(1, runtime.GOMAXPROCS(0)/2)) }

// turn is one who works, and what his work has cost so far.
type turn struct {
	turns
	began time.Time
	cost  time.Duration
}

func (t *turn) take() {
	t.turns <- struct{}{}
	t.began = time.Now()
}

func (t *turn) give() {
	t.cost += time.Since(t.began)
	<-t.turns
}

// yielding gives the turn to others while it reads.
type yielding struct {
	from io.Reader
	turn *turn
}

func (y *yielding) Read(p []byte) (int, error) {
	y.turn.give()
	defer y.turn.take()
	return y.from.Read(p)
}
