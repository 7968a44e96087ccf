package trouble

import (
	"fmt"
	"math"
	"time"

	"github.com/millrace-mq/millrace/admin/history"
)

// growth is how a backlog came to be what it is.
type growth struct {
	from, to int64
	in       time.Duration
	grew     bool // enough to be a trouble
	near     bool // enough to stay one
}

func (g growth) String() string {
	return fmt.Sprintf("depth grew from %s to %s in %s", count(g.from), count(g.to), age(g.in))
}

// perSecond is how fast it grows; 0 if it does not.
func (g growth) perSecond() float64 {
	if g.in <= 0 || g.to <= g.from {
		return 0
	}
	return float64(g.to-g.from) / g.in.Seconds()
}

// looks is how often a Finder looks back at a backlog.
const looks = 4

// backs are how long ago it looks: a minute; and then first as long as matters, else
// what there is.
func (f *Finder) backs() [looks]time.Duration {
	return [looks]time.Duration{time.Minute, f.set.GrowIn, f.set.GrowIn / 2, 2 * time.Minute}
}

// before is a backlog's depth at these times; NaN where it is not known.
type before [looks]float64

func (f *Finder) before(k history.Key) (b before) {
	f.h.Values(k, history.Depth, f.ago[:], b[:])
	return b
}

// growth compares a backlog with what it was as long ago as is known, GrowIn at most.
func (f *Finder) growth(b before, depth int64) growth {
	g := growth{to: depth}
	recent := b[0]
	if depth < f.set.GrowBy/2 || math.IsNaN(recent) {
		return g
	}
	for i, back := range f.backs() {
		if was := b[i]; i > 0 && !math.IsNaN(was) {
			g.from, g.in = int64(was+0.5), back
			enough := max(float64(f.set.GrowBy), was*f.set.GrowShare)
			by, lately := float64(depth)-was, recent-was
			g.grew = by >= enough && lately >= enough/2
			g.near = by >= enough/2 && lately >= enough/4
			return g
		}
	}
	return g
}

// drainedIn is when a backlog will be gone if it goes on shrinking as it did in the
// last minutes; negative if it does not shrink, or no longer, or that is not known.
func (f *Finder) drainedIn(b before, depth int64) time.Duration {
	// History is exact to a thousandth: what is less is no trend.
	if recent := b[0]; float64(depth) > recent+recent/1000 {
		return -1
	}
	for _, i := range []int{3, 2, 0} { // two minutes, half of GrowIn, one minute
		was := b[i]
		shrunk := was - float64(depth)
		if math.IsNaN(was) || math.Abs(shrunk) <= was/1000 {
			continue
		}
		if shrunk < 0 {
			break
		}
		const longest = 10 * 365 * 24 * time.Hour
		return time.Duration(min(float64(depth)/shrunk*float64(f.backs()[i]), float64(longest)))
	}
	return -1
}
