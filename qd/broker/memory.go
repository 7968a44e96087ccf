package broker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/qd/queue"
)

// smallSizes are the sizes of the blocks that are made on Go's heap; those of
// queue.MaxBlock come from chunks. A message larger than that has a block made
// for it alone.
var smallSizes = [...]int{queue.MinBlock, queue.MinBlock * 4, queue.MinBlock * 16}

const (
	// smallSpare bounds what each list of spare small blocks holds, in bytes.
	smallSpare = 1 << 20
	// largeSpare is how many bytes of large blocks are kept for use again, and
	// trimPause how long more than that is kept for which there is no need.
	largeSpare = 32 << 20
	trimPause  = 10 * time.Second
)

// memory is the daemon's queue.Store: it counts the bytes of all blocks and
// parked messages, and keeps blocks for use again, since a block that was used
// a moment ago is still in the processor's cache and need not be cleared.
type memory struct {
	limit int64
	used  atomic.Int64
	full  chan struct{} // there is more to spare than should be kept

	mu    sync.Mutex // guards what follows
	small [len(smallSizes)][]*queue.Block
	large []*queue.Block          // to spare
	least int                     // of them, at any time since the last trim
	cold  []*chunk                // of which all blocks are to spare and take no memory
	home  map[*queue.Block]*chunk // of all large blocks that come from chunks
}

// chunk is the memory of some large blocks: what is given back to the system in
// one piece.
type chunk struct {
	bytes  []byte
	blocks [chunkBytes / queue.MaxBlock]*queue.Block
}

const chunkBytes = 2 << 20

func newMemory(limit int64) *memory {
	return &memory{limit: limit, full: make(chan struct{}, 1), home: make(map[*queue.Block]*chunk)}
}

func smallClass(size int) int {
	for i, s := range smallSizes {
		if size <= s {
			return i
		}
	}
	return -1
}

// Block implements queue.Store.
func (m *memory) Block(size int) *queue.Block {
	if size > queue.MaxBlock {
		m.used.Add(int64(size))
		return queue.NewBlock(make([]byte, size))
	}
	class := smallClass(size)
	if class < 0 {
		m.used.Add(queue.MaxBlock)
		return m.largeBlock()
	}
	size = smallSizes[class]
	m.used.Add(int64(size))
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := takeLast(&m.small[class]); b != nil {
		return b
	}
	return queue.NewBlock(make([]byte, size))
}

func (m *memory) largeBlock() *queue.Block {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := takeLast(&m.large); b != nil {
		m.least = min(m.least, len(m.large))
		return b
	}
	if len(m.cold) == 0 && !m.grow() {
		return queue.NewBlock(make([]byte, queue.MaxBlock))
	}
	m.least = 0
	m.large = append(m.large, takeLast(&m.cold).blocks[:]...)
	return takeLast(&m.large)
}

// grow takes memory from the system. Under mu.
func (m *memory) grow() bool {
	arena := newArena()
	for len(arena) >= chunkBytes {
		c := &chunk{bytes: arena[:chunkBytes:chunkBytes]}
		arena = arena[chunkBytes:]
		for i := range c.blocks {
			b := queue.NewBlock(c.bytes[i*queue.MaxBlock : (i+1)*queue.MaxBlock : (i+1)*queue.MaxBlock])
			c.blocks[i] = b
			m.home[b] = c
		}
		m.cold = append(m.cold, c)
	}
	return len(m.cold) > 0
}

func takeLast[T any](list *[]*T) *T {
	n := len(*list)
	if n == 0 {
		return nil
	}
	last := (*list)[n-1]
	(*list)[n-1] = nil
	*list = (*list)[:n-1]
	return last
}

// Recycle implements queue.Store.
func (m *memory) Recycle(b *queue.Block) {
	size := b.Cap()
	m.used.Add(int64(-size))
	if size > queue.MaxBlock {
		return
	}
	b.Reset()
	m.mu.Lock()
	defer m.mu.Unlock()
	if class := smallClass(size); class >= 0 {
		if len(m.small[class]) < smallSpare/size {
			m.small[class] = append(m.small[class], b)
		}
		return
	}
	if m.home[b] == nil && len(m.large) >= largeSpare/queue.MaxBlock {
		return // on the heap: a collection takes it
	}
	m.large = append(m.large, b)
	if len(m.large) > largeSpare/queue.MaxBlock {
		signal(m.full)
	}
}

// run gives memory that is not needed back to the system, a while after it was
// last used: doing so at once would cost more than making it.
func (m *memory) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.full:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(trimPause):
		}
		m.trim()
	}
}

// trim gives back what nobody has needed since the last trim, as far as it
// makes whole chunks.
func (m *memory) trim() {
	m.mu.Lock()
	idle := m.takeIdle(m.least - largeSpare/queue.MaxBlock)
	if m.least = len(m.large); m.least > largeSpare/queue.MaxBlock {
		signal(m.full)
	}
	m.mu.Unlock()
	for _, c := range idle {
		discard(c.bytes)
	}
	m.mu.Lock()
	m.cold = append(m.cold, idle...)
	m.mu.Unlock()
}

// takeIdle takes up to n blocks that make whole chunks off the spare ones.
// Under mu.
func (m *memory) takeIdle(n int) (idle []*chunk) {
	spare := make(map[*chunk]int)
	for _, b := range m.large {
		if c := m.home[b]; c != nil {
			spare[c]++
		}
	}
	taken := make(map[*chunk]bool)
	for c, blocks := range spare {
		if blocks == len(c.blocks) && n >= blocks {
			n -= blocks
			taken[c] = true
			idle = append(idle, c)
		}
	}
	kept := m.large[:0]
	for _, b := range m.large {
		if !taken[m.home[b]] {
			kept = append(kept, b)
		}
	}
	clear(m.large[len(kept):])
	m.large = kept
	return idle
}

// Charge implements queue.Store.
func (m *memory) Charge(bytes int) { m.used.Add(int64(bytes)) }

// Tight implements queue.Store: from three quarters of the limit on. What a
// topic keeps in memory for an absent consumer then leaves room for what
// cannot go to disk.
func (m *memory) Tight() bool { return m.used.Load() > m.limit/4*3 }

// Full implements queue.Store.
func (m *memory) Full() bool { return m.used.Load() > m.limit }

// ParkedLimit implements queue.Store.
func (m *memory) ParkedLimit() int { return int(m.limit / 4) }

// MemoryInUse is how many bytes messages take in memory.
func (b *Broker) MemoryInUse() int64 { return b.memory.used.Load() }
