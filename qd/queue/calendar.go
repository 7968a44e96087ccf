package queue

import "slices"

// calendar holds entries by their due times: those due soon in a heap, those due
// later in a bucket for each span of time, which becomes the heap when its time
// has come. So millions of entries are mostly left alone where they were put:
// no heap of millions has to be kept in order, and each part can be copied by
// itself.
type calendar struct {
	near    []entry           // a heap: all that are due before horizon
	horizon int64             // a multiple of the span
	far     map[int64][]entry // by due >> spanBits
	keys    []int64           // of far, ascending
	n       int

	// still, while it is not 0, keeps entries from going back from the heap to the
	// buckets, so that somebody who goes through these first misses none.
	still   int
	crammed int // size of the heap after it was last spread out
}

const (
	// spanBits makes a span 2^32 ns, about four seconds.
	spanBits = 32
	// heapMost is how large the heap may become, in entries, before what is due in
	// later spans goes to their buckets.
	heapMost = 1 << 16
)

// push adds an entry.
func (c *calendar) push(e entry) {
	c.n++
	if e.due >= c.horizon {
		c.putFar(e)
		return
	}
	c.near = append(c.near, e)
	c.rise(len(c.near) - 1)
	if len(c.near) > heapMost && len(c.near) > 2*c.crammed && c.still == 0 {
		c.spread()
	}
}

func (c *calendar) putFar(e entry) {
	key := e.due >> spanBits
	bucket, found := c.far[key]
	if !found {
		if c.far == nil {
			c.far = make(map[int64][]entry)
		}
		i, _ := slices.BinarySearch(c.keys, key)
		c.keys = slices.Insert(c.keys, i, key)
	}
	c.far[key] = append(bucket, e)
}

// spread leaves in the heap what is due in the span of its first.
func (c *calendar) spread() {
	all := c.near
	key := all[0].due >> spanBits
	c.horizon = (key + 1) << spanBits
	c.near = nil
	for _, e := range all {
		if e.due < c.horizon {
			c.near = append(c.near, e)
		} else {
			c.putFar(e)
		}
	}
	c.heapify()
	c.crammed = len(c.near)
}

// first is the entry that is due first.
func (c *calendar) first() (e entry, ok bool) {
	if len(c.near) == 0 {
		if len(c.keys) == 0 {
			return e, false
		}
		key := c.keys[0]
		c.keys = slices.Delete(c.keys, 0, 1)
		c.near, c.horizon = c.far[key], (key+1)<<spanBits
		delete(c.far, key)
		c.heapify()
		c.crammed = len(c.near)
	}
	return c.near[0], true
}

// pop removes what first has returned.
func (c *calendar) pop() {
	c.n--
	last := len(c.near) - 1
	c.near[0] = c.near[last]
	c.near = c.near[:last]
	c.sink(0)
	if last == 0 {
		c.near = nil // it may have been large
	}
}

// each calls f for every entry, to look at it or change its place.
func (c *calendar) each(f func(e *entry)) {
	for i := range c.near {
		f(&c.near[i])
	}
	for _, bucket := range c.far {
		for i := range bucket {
			f(&bucket[i])
		}
	}
}

func (c *calendar) heapify() {
	for i := len(c.near)/2 - 1; i >= 0; i-- {
		c.sink(i)
	}
}

func (c *calendar) rise(i int) {
	h := c.near
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].before(h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (c *calendar) sink(i int) {
	h := c.near
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
