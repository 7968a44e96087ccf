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

type call struct {
	when  int64
	topic *Topic
}

type calls []call

func (c calls) Len() int           { return len(c) }
func (c calls) Less(i, j int) bool { return c[i].when < c[j].when }
func (c calls) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *calls) Push(x any)        { *c = append(*c, x.(call)) }
func (c *calls) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	(*c)[last] = call{}
	*c = (*c)[:last]
	return x
}

// at asks for a look at t at the given time. A topic asks again only for an
// earlier time, and forgets calls that come before the last time it asked for.
func (k *keeper) at(t *Topic, when int64) {
	k.mu.Lock()
	heap.Push(&k.calls, call{when, t})
	first := k.calls[0].when == when
	k.mu.Unlock()
	if first {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
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
	return heap.Pop(&k.calls).(call).topic, 0
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
