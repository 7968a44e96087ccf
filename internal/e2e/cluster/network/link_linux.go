package network

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"time"
)

// Link is how packets fare from one host to another, in that direction alone.
// The zero Link lets everything pass at once.
type Link struct {
	Cut   bool          // nothing passes, and nobody is told
	Delay time.Duration // of every packet; they keep their order
	Loss  float64       // the part of the packets that is lost at random, 0 to 1
}

// drops reports whether a packet is lost on the link.
func (l *Link) drops(random *rand.Rand) bool {
	return l.Cut || l.Loss > 0 && random.Float64() < l.Loss
}

// maxUnderWay is how many packets may be delayed at a time, in all; what comes
// then is lost, as in a switch whose queue is full.
const maxUnderWay = 16 << 10

// packet is one that is delayed.
type packet struct {
	due   time.Time
	order uint64 // of coming, among those that are due together
	to    *Host
	data  []byte
}

// packets is a heap, the one that is due first on top.
type packets []packet

func (p packets) Len() int      { return len(p) }
func (p packets) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *packets) Push(x any)   { *p = append(*p, x.(packet)) }
func (p packets) Less(i, j int) bool {
	if p[i].due.Equal(p[j].due) {
		return p[i].order < p[j].order
	}
	return p[i].due.Before(p[j].due)
}

func (p *packets) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	(*p)[last] = packet{}
	*p = (*p)[:last]
	return x
}

// postpone delivers what comes from in when it is due, until ctx ends.
func postpone(ctx context.Context, in <-chan packet, deliver func(packet)) {
	var waiting packets
	var order uint64
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-in:
			if len(waiting) < maxUnderWay {
				order++
				p.order = order
				heap.Push(&waiting, p)
			}
		case <-timer.C:
		}
		for len(waiting) > 0 && !waiting[0].due.After(time.Now()) {
			deliver(heap.Pop(&waiting).(packet))
		}
		if len(waiting) > 0 {
			timer.Reset(time.Until(waiting[0].due))
		}
	}
}
