package broker

import (
	"sync"
	"sync/atomic"

	"github.com/millrace-mq/millrace/qd/queue"
)

// blockSizes are the sizes in which blocks are made and kept for use again; a
// message larger than the largest has a block made for it alone.
var blockSizes = [...]int{queue.MinBlock, queue.MinBlock * 4, queue.MinBlock * 16, queue.MaxBlock}

// spareBytes bounds what each list of spare blocks holds, in bytes.
const spareBytes = 16 << 20

// memory is the daemon's queue.Store: it counts the bytes of all blocks and
// parked messages, and keeps some blocks for use again, since a block that was
// used a moment ago is still in the processor's cache and need not be cleared.
type memory struct {
	limit int64
	used  atomic.Int64

	mu    sync.Mutex
	spare [len(blockSizes)][]*queue.Block
}

func sizeClass(size int) int {
	for i, s := range blockSizes {
		if size <= s {
			return i
		}
	}
	return -1
}

// Block implements queue.Store.
func (m *memory) Block(size int) *queue.Block {
	class := sizeClass(size)
	if class < 0 {
		m.used.Add(int64(size))
		return queue.NewBlock(size)
	}
	size = blockSizes[class]
	m.used.Add(int64(size))
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.spare[class]); n > 0 {
		b := m.spare[class][n-1]
		m.spare[class][n-1] = nil
		m.spare[class] = m.spare[class][:n-1]
		return b
	}
	return queue.NewBlock(size)
}

// Recycle implements queue.Store.
func (m *memory) Recycle(b *queue.Block) {
	size := b.Cap()
	m.used.Add(int64(-size))
	class := sizeClass(size)
	if class < 0 || blockSizes[class] != size {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.spare[class]) < spareBytes/size/2 {
		b.Reset()
		m.spare[class] = append(m.spare[class], b)
	}
}

// Charge implements queue.Store.
func (m *memory) Charge(bytes int) { m.used.Add(int64(bytes)) }

// Tight implements queue.Store.
func (m *memory) Tight() bool { return m.used.Load() > m.limit }

// MemoryTight reports whether messages take up all the memory that they may,
// so that deferred publishes are refused.
func (b *Broker) MemoryTight() bool { return b.memory.Tight() }
