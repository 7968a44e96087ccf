package queue

// fifo is a queue in a slice that can also be indexed from its front.
type fifo[T any] struct {
	items []T
	head  int
}

func (f *fifo[T]) len() int    { return len(f.items) - f.head }
func (f *fifo[T]) at(i int) T  { return f.items[f.head+i] }
func (f *fifo[T]) push(item T) { f.items = append(f.items, item) }

func (f *fifo[T]) pop() T {
	var zero T
	item := f.items[f.head]
	f.items[f.head] = zero // what left the queue must not be kept alive by it
	f.head++
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	} else if f.head >= 32 && f.head > len(f.items)/2 {
		n := copy(f.items, f.items[f.head:])
		clear(f.items[n:])
		f.items, f.head = f.items[:n], 0
	}
	return item
}

func (f *fifo[T]) dropLast() {
	clear(f.items[len(f.items)-1:])
	f.items = f.items[:len(f.items)-1]
	if f.head == len(f.items) {
		f.items, f.head = f.items[:0], 0
	}
}

// list is a doubly linked ring through nodes that its members embed, so that
// joining and leaving allocate nothing.
type list[T any] struct {
	root node[T]
	n    int
}

type node[T any] struct {
	prev, next *node[T]
	member     *T
}

func (l *list[T]) push(n *node[T], member *T) {
	if l.root.next == nil {
		l.root.next, l.root.prev = &l.root, &l.root
	}
	n.member = member
	n.prev, n.next = l.root.prev, &l.root
	n.prev.next, n.next.prev = n, n
	l.n++
}

func (l *list[T]) remove(n *node[T]) {
	if n.member == nil {
		return
	}
	n.prev.next, n.next.prev = n.next, n.prev
	*n = node[T]{}
	l.n--
}

func (l *list[T]) front() *T {
	if l.n == 0 {
		return nil
	}
	return l.root.next.member
}

// all yields the members in their order. None may leave meanwhile.
func (l *list[T]) all(yield func(*T) bool) {
	for n := l.root.next; n != nil && n != &l.root; n = n.next {
		if !yield(n.member) {
			return
		}
	}
}

// listed reports whether n is on a list.
func (n *node[T]) listed() bool { return n.member != nil }

// heap is a binary heap of pointers that know their own place in it, so that
// any of them can be moved or removed.
type heap[T any, P interface {
	*T
	before(*T) bool
	place() *int
}] struct{ items []P }

func (h *heap[T, P]) first() P {
	if len(h.items) == 0 {
		return nil
	}
	return h.items[0]
}

func (h *heap[T, P]) push(p P) {
	h.items = append(h.items, p)
	*p.place() = len(h.items) - 1
	h.up(len(h.items) - 1)
}

func (h *heap[T, P]) remove(p P) {
	i, last := *p.place(), len(h.items)-1
	h.swap(i, last)
	h.items[last] = nil
	h.items = h.items[:last]
	if i < last {
		h.down(i)
		h.up(i)
	}
}

func (h *heap[T, P]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.items[i].place(), *h.items[j].place() = i, j
}

func (h *heap[T, P]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.items[i].before(h.items[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *heap[T, P]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if child+1 < len(h.items) && h.items[child+1].before(h.items[child]) {
			child++
		}
		if !h.items[child].before(h.items[i]) {
			return
		}
		h.swap(i, child)
		i = child
	}
}
