package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A daemon that is told to end is left by its publishers, none of whose messages
// fails, and lookupds do not offer it to others; consumers still find it, and it
// ends when they have finished all that it has.
func TestClusterDrain(t *testing.T) {
	t.Parallel()
	c := newCluster(t, flags{qd: []string{"--drain-timeout=10m"}})
	c.consume(orders)
	stopReaders, stopWriters := c.read(c.readers), c.produce()
	q := c.daemons[1]
	there, anywhere := c.newWriter(orders, 1, q), c.newWriter(orders, 1, q, c.daemons[0])
	stopThere := c.together([]func(context.Context){there.run})
	stored, stopAnywhere := c.neverFails(anywhere)
	c.watch()
	c.settle()

	open := c.hold(c.readers[0])
	c.eventually("a backlog", func() bool { return c.readers[0].channel.unfinished(there.lane) > 100 })
	c.world.breaks(q.name())
	began := time.Now()
	c.must(q.signal(syscall.SIGTERM))
	for _, l := range c.lookups {
		c.eventually(l.name()+" to offer it no longer", func() bool { return c.listed(l, "/producers/available").count(q) == 0 })
		took := time.Since(began)
		t.Logf("%s offers it no longer after %v", l.name(), took.Round(time.Millisecond))
		if took > offeredWithin {
			t.Errorf("%s offered it for %v, more than %v", l.name(), took, offeredWithin)
		}
		if got := c.listed(l, "/lookup?topic="+orders); got.count(q) != 1 || got.count(c.daemons[0]) != 1 {
			t.Errorf("%s says to consumers %+v, want all daemons", l.name(), got)
		}
	}
	before := stored.Load()
	c.eventually("messages to be stored elsewhere", func() bool { return stored.Load() >= before+100 })
	var progress struct {
		State    string
		Messages int
	}
	c.must(c.ask(q, "GET", "/drain", nil, &progress))
	if progress.State != "draining" || progress.Messages == 0 {
		t.Errorf("GET /drain says %+v while a reader holds messages", progress)
	}
	open()
	c.must(q.ended())
	stopThere()
	for _, r := range c.readers {
		if left := r.channel.unfinished(there.lane); left > 0 {
			t.Errorf("it ended, and %s has not got %d messages", r.channel.name, left)
		}
	}
	c.must(q.start())
	c.world.heals(q.name())
	c.finish(func() { stopWriters(); stopAnywhere() }, stopReaders)
}

// hold keeps a reader from handling anything until open is called.
func (c *cluster) hold(r *reader) (open func()) {
	r.gate.Lock()
	open = sync.OnceFunc(r.gate.Unlock)
	c.t.Cleanup(open) // before those who wait for the reader to end
	return open
}

// neverFails has a writer publish until stop is called, and fails the test if a
// publish does. stored is how many are stored.
func (c *cluster) neverFails(w *writer) (stored *atomic.Int64, stop func()) {
	stored = new(atomic.Int64)
	return stored, c.together([]func(context.Context){func(ctx context.Context) {
		defer w.Close()
		for pause(ctx, beat) {
			if err := w.publish(context.WithoutCancel(ctx)); err != nil {
				c.t.Errorf("a publish failed: %v", err)
				return
			}
			stored.Add(1)
		}
	}})
}

// listed returns a list of a lookupd.
func (c *cluster) listed(l *node, path string) lookupAnswer {
	c.t.Helper()
	answer, err := get[lookupAnswer](l, path)(c.t.Context())
	c.must(err)
	return answer
}
