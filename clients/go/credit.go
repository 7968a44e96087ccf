package millrace

import (
	"cmp"
	"slices"
	"time"
)

// How MaxInFlight is divided among lines.
//
// Each line has one credit at least, if they are no more than half of what there
// is. The rest goes to those that have traffic: a line is hungry when it has used
// up what it had, and the hungry share evenly what the others leave, which is
// what exceeds twice the most that they have lately had in flight. Nothing moves
// while nobody is hungry, so that an idle Reader sends nothing.
//
// With more lines than that, credit for nothing is too dear when somebody wants
// it. A line that has had it for a probe and brought no message rests, and its
// credit goes to the one that has waited longest for a turn; one that brings
// messages keeps it for a turn, and for as long as nobody waits. What those who
// take turns leave goes to the hungry as above. A rest ends soon enough that a
// message waits for about a second at most, and late enough that half of the
// time is left to lines with messages.
//
// Credit taken from a line is not given to another before the first has answered
// what it holds, or a slow handler would collect messages from every daemon.
const (
	turnLength = 20 * time.Millisecond  // what a line with messages may keep while others wait
	probeLeast = 5 * time.Millisecond   // what an idle one may; twice its round trip, if that is longer
	restLeast  = 200 * time.Millisecond // from a fruitless probe to the next one
	restMost   = time.Second            // unless the probes of all take longer than half of that
)

// share is one line's part of the credit, and what speaks for giving it more.
type share struct {
	ready    int // messages that the daemon may have in flight with us
	inFlight int // messages that it has
	limit    int // the most that it takes as ready
	peak     int // the most that it had in flight since the last division
	hungry   bool
	probe    time.Duration
	heard    time.Time // when it last brought a message, or had its last one answered
	given    time.Time // since when it has had credit, if it has
	due      time.Time // from when on it is to have its turn, if it has none
	lapses   time.Time // when the daemon has taken back what is in flight, if no more comes

	// Used within a division.
	claim claim
	aim   int // what it is to have once others have let go
}

// claim is what a line's wish for a first credit rests upon, the strongest first.
type claim uint8

const (
	inTurn  claim = iota // the turn, or the probe, is not over
	waiting              // the turn is due
	holding              // the turn is over, and messages still come
	spare                // nothing comes
)

// divide divides total credits among lines: it sets their ready, given and due.
// It returns when it is to be called again even if nothing happens until then;
// zero means never.
func divide(lines []*share, total int, now time.Time) (again time.Time) {
	crowded := 2*len(lines) > total && len(lines) > 1
	if content(lines, total) {
		return again
	}
	for _, s := range lines {
		s.stake(crowded, now)
	}
	order := slices.Clone(lines)
	slices.SortStableFunc(order, func(a, b *share) int {
		return cmp.Or(cmp.Compare(a.claim, b.claim), a.compare(b))
	})
	aim(order, total)
	letGo(lines, total, now)
	take(order, total, now)
	if total == 0 {
		return again
	}
	if crowded {
		return nextLook(lines, now)
	}
	// Those who have more than one credit for what was in flight long ago show at the next look.
	if slices.ContainsFunc(lines, func(s *share) bool { return s.hungry }) &&
		slices.ContainsFunc(lines, func(s *share) bool { return !s.hungry && s.ready > 1 }) {
		return now.Add(2 * probeLeast)
	}
	return again
}

// content reports whether all is given out, and nobody wants it otherwise.
func content(lines []*share, total int) bool {
	given, possible := 0, 0
	for _, s := range lines {
		if s.hungry || s.ready == 0 {
			return false
		}
		given += s.ready
		possible += s.limit
	}
	return given == min(total, possible)
}

// stake finds what a line's claim is.
func (s *share) stake(crowded bool, now time.Time) {
	switch {
	case s.ready == 0 && s.due.After(now):
		s.claim = spare
	case s.ready == 0:
		s.claim = waiting
	case !crowded:
		s.claim = inTurn
	case s.inFlight == 0 && !now.Before(s.probeEnd()):
		s.claim = spare
	case !s.served() || now.Before(s.given.Add(turnLength)):
		s.claim = inTurn
	default:
		s.claim = holding
	}
}

// served reports whether a line has brought something since it has credit.
func (s *share) served() bool { return s.inFlight > 0 || s.heard.After(s.given) }

// probeEnd is when a line with credit is idle, if nothing comes until then.
func (s *share) probeEnd() time.Time {
	if s.heard.After(s.given) {
		return s.heard.Add(s.probe)
	}
	return s.given.Add(s.probe)
}

// compare orders lines of the same claim.
func (s *share) compare(other *share) int {
	switch s.claim {
	case waiting:
		return s.due.Compare(other.due)
	case holding: // who has had it for longest lets go first
		return other.given.Compare(s.given)
	case spare: // nobody gains by its moving
		if s.ready > 0 || other.ready > 0 {
			return cmp.Compare(min(other.ready, 1), min(s.ready, 1))
		}
		return s.due.Compare(other.due)
	}
	return 0
}

// aim finds what each line is to have, given lines in the order of their claims.
func aim(order []*share, total int) {
	for _, s := range order {
		s.aim = 0
		if total > 0 && s.claim != spare {
			s.aim = 1
			total--
		}
	}
	total = fill(order, total, (*share).want)
	for _, s := range order {
		if total > 0 && s.aim == 0 {
			s.aim = 1
			total--
		}
	}
	fill(order, total, func(s *share) int { return s.limit })
}

// want is how much a line with traffic can use.
func (s *share) want() int {
	switch {
	case s.hungry:
		return s.limit
	case s.ready <= 4*s.peak: // near enough to twice the peak: not every change of traffic is one of credit
		return s.ready
	}
	return min(max(2*s.peak, 1), s.limit)
}

// fill gives total to lines that have something, evenly, up to what each wants.
// It returns what is left.
func fill(lines []*share, total int, want func(*share) int) (left int) {
	for total > 0 {
		open := 0
		for _, s := range lines {
			if s.aim > 0 && s.aim < want(s) {
				open++
			}
		}
		if open == 0 {
			break
		}
		part := max(1, total/open)
		for _, s := range lines {
			if s.aim > 0 && total > 0 {
				more := max(0, min(part, total, want(s)-s.aim))
				s.aim += more
				total -= more
			}
		}
	}
	return total
}

// letGo takes from lines what exceeds their aim.
func letGo(lines []*share, total int, now time.Time) {
	rest := restFor(lines, total)
	for _, s := range lines {
		if s.aim >= s.ready {
			continue
		}
		s.ready = s.aim
		if s.ready == 0 {
			s.due = now
			if s.claim == spare {
				s.due = now.Add(rest)
			}
		}
	}
}

// restFor is how long a line rests that had credit for nothing.
func restFor(lines []*share, total int) time.Duration {
	if total == 0 {
		return 0
	}
	var probes time.Duration
	for _, s := range lines {
		probes += s.probe
	}
	tour := turnLength * time.Duration(len(lines)) / time.Duration(total)
	return max(restLeast, min(tour, restMost), 2*probes/time.Duration(total))
}

// take gives lines what they aim at, as far as nobody has it any more.
func take(order []*share, total int, now time.Time) {
	free := total
	for _, s := range order {
		free -= max(s.ready, s.inFlight)
	}
	for _, s := range order {
		taken := max(s.ready, s.inFlight)
		next := min(s.aim, taken+free)
		if free < 0 || next <= s.ready {
			continue
		}
		if s.ready == 0 {
			s.given = now
		}
		s.ready = next
		free -= max(next, s.inFlight) - taken
	}
}

// nextLook is when the first line's turn, probe or rest ends.
func nextLook(lines []*share, now time.Time) (first time.Time) {
	for _, s := range lines {
		ends := s.due
		if s.ready > 0 {
			ends = s.probeEnd()
			if turn := s.given.Add(turnLength); s.served() && turn.After(now) && (s.inFlight > 0 || turn.Before(ends)) {
				ends = turn
			}
		}
		if ends.After(now) && (first.IsZero() || ends.Before(first)) {
			first = ends
		}
	}
	return first
}
