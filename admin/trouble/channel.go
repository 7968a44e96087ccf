package trouble

import (
	"fmt"
	"math"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
)

// findChannel finds what is wrong with a channel. Of what keeps its backlog from being
// delivered, only the first thing is told.
func (f *Finder) findChannel(t *fleet.Topic, c *fleet.Channel) {
	var b before
	c.DrainedIn = 0
	if c.Depth > 0 {
		b = f.before(keyOf(c))
		c.DrainedIn = f.drainedIn(b, c.Depth)
	}
	about := cause{Trouble: fleet.Trouble{Topic: t.Name, Channel: c.Name}, weight: c.Depth, topic: t, channel: c}
	switch {
	case c.Paused:
		f.findPaused(about, c, b)
	case c.Depth > 0 && c.Clients == 0:
		f.findNoConsumer(about, c, b)
	case c.Depth > 0:
		f.findStuck(about, c, b)
	}
	if c.Timeout > 0 {
		f.findTimeouts(about, c)
	}
	if c.Requeue > 0 {
		f.findRequeues(about, c)
	}
	if c.Dead > 0 {
		f.findDead(about, c)
	}
}

func keyOf(c *fleet.Channel) history.Key { return history.Key{Topic: c.Topic, Channel: c.Name} }

func (f *Finder) findPaused(about cause, c *fleet.Channel, b before) {
	on := 0
	for i := range c.Nodes {
		on += one(c.Nodes[i].Paused)
	}
	about = f.paused(about, c.Pause, on, len(c.Nodes), c.Depth)
	if g := f.growth(b, c.Depth); g.grew || g.near && f.stood(about) == fleet.Warning {
		about.Severity = fleet.Warning
		about.Reason += ", and " + g.String()
	}
	f.see(about)
}

func (f *Finder) findNoConsumer(about cause, c *fleet.Channel, b before) {
	about.Kind, about.Severity = "no-consumer", fleet.Warning
	if g := f.growth(b, c.Depth); g.grew || g.near && f.stood(about) == fleet.Failure {
		about.Severity = fleet.Failure
		about.Reason = g.String() + ", and no consumer is connected"
	} else {
		about.Reason = counted(c.Depth, "message") + waits(c.Depth) + ", and no consumer is connected"
	}
	f.see(about)
}

func waits(n int64) string {
	if n == 1 {
		return " waits"
	}
	return " wait"
}

// findStuck finds a backlog of which nothing is done though there are consumers, or
// less than comes in.
func (f *Finder) findStuck(about cause, c *fleet.Channel, b before) {
	if c.Out == 0 && c.Timeout <= 0 && c.Requeue <= 0 {
		stuck := about
		stuck.Kind, stuck.Severity, stuck.lasting = "stuck", fleet.Warning, f.set.Stuck
		stuck.Reason = f.stuckReason(c)
		f.see(stuck)
		if f.stands("stuck", c.Topic, c.Name, "") {
			return
		}
	}
	about.Kind, about.Severity = "growing", fleet.Warning
	g := f.growth(b, c.Depth)
	if !g.grew && !(g.near && f.stood(about) != 0) {
		return
	}
	about.Reason = fmt.Sprintf("%s, with %s connected", g, counted(c.Clients, "consumer"))
	if c.In > c.Out && c.Out >= 0 {
		about.Reason += fmt.Sprintf(": %s come in, %s are finished", rate(c.In), rate(c.Out))
	}
	f.see(about)
}

func (f *Finder) stuckReason(c *fleet.Channel) string {
	since := f.now
	if st := f.standing[id{"stuck", c.Topic, c.Name, ""}]; st != nil {
		since = st.trouble.Since
	}
	text := fmt.Sprintf("nothing was finished for %s, though %s%s and %s connected", age(f.now.Sub(since)),
		counted(c.Depth, "message"), waits(c.Depth), are(c.Clients, "consumer"))
	if c.InFlight == 0 {
		return text + "; none takes any"
	}
	return text + "; they hold " + count(c.InFlight)
}

func are(n int, thing string) string {
	if n == 1 {
		return "1 " + thing + " is"
	}
	return counted(n, thing) + " are"
}

func (f *Finder) findTimeouts(about cause, c *fleet.Channel) {
	about.Kind = "timeouts"
	f.findFailing(about, c, history.Timeout, f.set.TimeoutsPerMinute/60, f.set.TimeoutShare, "time out")
}

func (f *Finder) findRequeues(about cause, c *fleet.Channel) {
	about.Kind = "requeues"
	f.findFailing(about, c, history.Requeue, f.set.RequeuesPerMinute/60, f.set.RequeueShare, "are requeued")
}

// findFailing compares the mean of a rate over the last minute with what was delivered
// in it. Without history it is the rates of the last seconds.
func (f *Finder) findFailing(about cause, c *fleet.Channel, m history.Metric, least, part float64, verb string) {
	if f.stands(about.Kind, c.Topic, c.Name, "") {
		least, part = least/2, part/2
	}
	mean := func(m history.Metric, now float64) float64 {
		if v := f.h.Mean(keyOf(c), m, f.now.Add(-time.Minute), f.now); !math.IsNaN(v) {
			return v
		}
		return max(now, 0)
	}
	timeouts, requeues, out := mean(history.Timeout, c.Timeout), mean(history.Requeue, c.Requeue), mean(history.Out, c.Out)
	failing := timeouts
	if m == history.Requeue {
		failing = requeues
	}
	delivered := timeouts + requeues + out
	if failing < least || failing < part*delivered {
		return
	}
	about.Severity = fleet.Warning
	about.weight = int64(failing * 600)
	about.Reason = fmt.Sprintf("%s %s, %s of what is delivered", rate(failing), verb, share(failing/delivered))
	before := f.h.Mean(keyOf(c), m, f.now.Add(-f.set.GrowIn-time.Minute), f.now.Add(-f.set.GrowIn))
	if !math.IsNaN(before) {
		about.Reason += fmt.Sprintf("; %s ago it was %s", age(f.set.GrowIn), rate(before))
	}
	f.see(about)
}

func (f *Finder) findDead(about cause, c *fleet.Channel) {
	about.Kind, about.Severity, about.weight = "dead", fleet.Note, c.Dead
	about.Reason = counted(c.Dead, "dead message")
	was := []float64{0}
	f.h.Values(keyOf(c), history.Dead, []time.Time{f.now.Add(-time.Hour)}, was)
	// History is exact to a thousandth.
	if came := float64(c.Dead) - was[0]; came >= 1 && came > was[0]/1000 {
		about.Severity = fleet.Warning
		if came = math.Round(came); int64(came) < c.Dead {
			about.Reason += "; " + count(int64(came)) + " of them came in the last hour"
		} else {
			about.Reason += ", all of the last hour"
		}
	}
	f.see(about)
}
