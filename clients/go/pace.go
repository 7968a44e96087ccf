package millrace

import "time"

// pace is the back-off of a whole Reader: after failures it stops for a while,
// then takes one message at a time until as many have succeeded as had failed.
// It has no clock and no lock.
type pace struct {
	first, longest time.Duration
	level          int       // failures that no success has made up for
	until          time.Time // the end of the last stop
}

// failed notes a handler's failure. What fails during a stop was delivered
// before it and says nothing new. The level grows with the stops only: those
// that cannot grow any more need not be made up for one by one.
func (p *pace) failed(now time.Time) {
	if p.level > 0 && now.Before(p.until) {
		return
	}
	if p.level == 0 || p.stop(p.level) < p.longest {
		p.level++
	}
	p.until = now.Add(p.stop(p.level))
}

// succeeded notes a handler's success.
func (p *pace) succeeded(now time.Time) {
	if p.level > 0 && !now.Before(p.until) {
		p.level--
	}
}

// stop is how long the level's stop is.
func (p *pace) stop(level int) time.Duration {
	d := p.first
	for range level - 1 {
		if d >= p.longest/2 {
			return p.longest
		}
		d *= 2
	}
	return min(d, p.longest)
}

// credit is how many of total messages may be in flight now, and until when that
// holds; zero means until something happens.
func (p *pace) credit(total int, now time.Time) (n int, until time.Time) {
	switch {
	case p.level == 0:
		return total, time.Time{}
	case now.Before(p.until):
		return 0, p.until
	}
	return 1, time.Time{}
}
