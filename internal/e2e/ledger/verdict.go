package ledger

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Verdict is the result of an audit.
type Verdict struct {
	Published    int // messages that were attempted
	Acknowledged int
	Missing      int   // acknowledged messages that a channel has not finished; counted per channel
	Repeats      []int // for each end of a life, how many deliveries there were after it of what had been finished before
	// Oldest is the longest time between the sending of a FIN and a kill that made
	// its message come again.
	Oldest time.Duration
	Late   int      // deliveries again of what was finished after it had timed out
	Faults []string // promises that were broken, the first few of each kind and channel
	ends   []ending
	broken [faultKinds]int
}

// Broken is how many promises were broken, in all.
func (v *Verdict) Broken() int {
	n := 0
	for _, c := range v.broken {
		n += c
	}
	return n
}

// String is the verdict in a line.
func (v *Verdict) String() string {
	var kinds []string
	for kind, n := range v.broken {
		kinds = append(kinds, fmt.Sprintf("%d %s", n, faultNames[kind]))
	}
	repeats := 0
	for _, n := range v.Repeats {
		repeats += n
	}
	most := 0
	if len(v.Repeats) > 0 {
		most = slices.Max(v.Repeats)
	}
	kills := 0
	for _, e := range v.ends {
		if !e.orderly {
			kills++
		}
	}
	return fmt.Sprintf("%d kills, %d published, %d acknowledged; %s; %d finished ones repeated (%d at most after one kill), the oldest FIN %v before it",
		kills, v.Published, v.Acknowledged, strings.Join(kinds, ", "), repeats, most, v.Oldest.Round(time.Millisecond))
}

// Audit judges the books when everything is drained and nobody records any
// more. bound is how long before a kill something may have been done that the
// daemon has forgotten after it.
func (l *Ledger) Audit(bound time.Duration) *Verdict {
	v := &Verdict{Repeats: make([]int, len(l.ends)), ends: l.ends}
	for _, n := range l.lanes {
		v.Published += int(n.attempted.Load())
		v.Acknowledged += n.count
	}
	for _, c := range l.channels {
		c.mu.Lock()
		c.auditRepeats(v, bound)
		c.auditMissing()
		v.Missing += c.faults.count[lost]
		for kind, n := range c.faults.count {
			v.broken[kind] += n
		}
		v.Faults = append(v.Faults, c.faults.told...)
		c.mu.Unlock()
	}
	return v
}

// auditRepeats judges each message that came again. Under mu.
func (c *Channel) auditRepeats(v *Verdict, bound time.Duration) {
	l := c.ledger
	for _, r := range c.repeats {
		what := "was delivered"
		if r.finished {
			what = "was finished"
		}
		if c.refused[r.id] && r.finished {
			v.Late++
			continue
		}
		if r.lifeThen == r.life {
			c.faults.add(again, "%v %s in life %d and came again in it", r.key, what, r.life)
			continue
		}
		end := l.ends[r.lifeThen]
		if end.orderly {
			c.faults.add(again, "%v %s and came again after an orderly stop", r.key, what)
			continue
		}
		// What was done while the process was being killed is of age 0.
		age := max(0, end.at-time.Duration(r.before-1)*tick)
		if age > bound {
			c.faults.add(again, "%v %s %v before the kill that ended life %d, and came again in life %d", r.key, what, age, r.lifeThen, r.life)
		}
		if r.finished {
			v.Repeats[r.lifeThen]++
			v.Oldest = max(v.Oldest, age)
		}
	}
}

// auditMissing finds what was acknowledged and never finished. Under mu.
func (c *Channel) auditMissing() {
	for _, n := range c.ledger.lanes {
		if n.topic != c.topic {
			continue
		}
		n.mu.Lock()
		for seq, acked := range n.acked {
			if acked && !c.hasFinished(Key{n.number, seq}) {
				c.faults.add(lost, "%v", Key{n.number, seq})
			}
		}
		n.mu.Unlock()
	}
}

func (c *Channel) hasFinished(k Key) bool {
	return k.Lane < len(c.entries) && k.Seq < len(c.entries[k.Lane]) && c.entries[k.Lane][k.Seq].finished > 0
}
