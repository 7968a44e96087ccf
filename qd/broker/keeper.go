package broker

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// keeper is the daemon's sense of time: one goroutine that looks at each topic
// when the topic has asked for it. Topics without deadlines cost nothing.
type keeper struct {
	now func() int64

	mu    sync.Mutex
	calls calls
	wake  chan struct{} // the earliest call has changed
}

// call is a topic's place on the clock. A topic has one, so that however often
// it asks for an earlier time, later calls do not pile up.
type call struct {
	when  int64
	topic *Topic
	place int // in calls, from 1 on; 0 when it is not there
}

type calls []*call

func (c calls) Len() int           { return len(c) }
func (c calls) Less(i, j int) bool { return c[i].when < c[j].when }
func (c calls) Swap(i, j int) {
	c[i], c[j] = c[j], c[i]
	c[i].place, c[j].place = i+1, j+1
}

func (c *calls) Push(x any) {
	*c = append(*c, x.(*call))
	x.(*call).place = len(*c)
}

func (c *calls) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	(*c)[last] = nil
	*c = (*c)[:last]
	x.place = 0
	return x
}

// at asks for a look at the call's topic at the given time, and no other.
func (k *keeper) at(c *call, when int64) {
	k.mu.Lock()
	c.when = when
	if c.place == 0 {
		heap.Push(&k.calls, c)
	} else {
		heap.Fix(&k.calls, c.place-1)
	}
	first := c.place == 1
	k.mu.Unlock()
	if first {
		signal(k.wake)
	}
}

// forget takes a call off the clock.
func (k *keeper) forget(c *call) {
	k.mu.Lock()
	if c.place != 0 {
		heap.Remove(&k.calls, c.place-1)
	}
	k.mu.Unlock()
}

// due removes and returns the first call if its time has come; else it returns
// how long that will be, or 0 when there is none.
func (k *keeper) due() (t *Topic, wait time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.calls) == 0 {
		return nil, 0
	}
	if wait := k.calls[0].when - k.now(); wait > 0 {
		return nil, time.Duration(wait)
	}
	return heap.Pop(&k.calls).(*call).topic, 0
}

func (k *keeper) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		t, wait := k.due()
		if t != nil {
			t.tick()
			continue
		}
		var fire <-chan time.Time
		if wait > 0 {
			timer.Reset(wait)
			fire = timer.C
		}
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-fire:
		}
	}
}
