package broker

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/millrace-mq/millrace/qd/journal"
	"github.com/millrace-mq/millrace/qd/queue"
)

// fetchBytes is how many bytes of bodies one Fetch brings, beyond the first.
const fetchBytes = 4 << 20

// bring does one piece of reading from a topic's logs, and tells the core.
func (t *Topic) bring(w queue.Work) error {
	var tell func()
	var err error
	if w.Kind == queue.Load {
		tell, err = t.loadBlock(w)
	} else {
		tell, err = t.fetchBodies(w)
	}
	if err != nil {
		err = fmt.Errorf("topic %s, channel %s: reading its log: %w", t.name, w.Channel, err)
	}
	t.mu.Lock()
	t.diskTurned(err)
	if err != nil {
		t.core.Failed(w)
	} else {
		tell()
	}
	t.announce()
	t.unlock()
	return err
}

// loadBlock reads the block that begins at a position, or behind it if there is
// none.
func (t *Topic) loadBlock(w queue.Work) (tell func(), err error) {
	memory := t.broker.memory
	block := memory.Block(queue.MaxBlock)
	chunk, err := t.logs.main.Read(w.Position, queue.MaxBlock, block.Memory())
	if errors.Is(err, io.EOF) {
		memory.Recycle(block)
		return func() { t.core.Loaded(w, nil, t.core.End()) }, nil
	}
	if err == nil && len(chunk.Frames) > block.Cap() { // one larger message
		memory.Recycle(block)
		block = memory.Block(len(chunk.Frames))
	}
	if err == nil {
		err = block.Load(chunk.Frames)
	}
	if err != nil {
		memory.Recycle(block)
		return nil, err
	}
	return func() { t.core.Loaded(w, block, chunk.Position) }, nil
}

// fetchBodies reads the bodies of parked messages, as many as are to be in
// memory at once.
func (t *Topic) fetchBodies(w queue.Work) (tell func(), err error) {
	const step = 32
	places := w.Places()
	frames := make([][]byte, len(places))
	size, n := 0, 0
	for n < len(places) && size < fetchBytes {
		from := n
		n = min(n+step, len(places))
		if err := t.bodies(places[from:n], func(i int, m journal.Message) {
			if m.Err == nil {
				frames[from+i] = slices.Clone(m.Frame)
				size += len(m.Frame)
			}
		}); err != nil {
			return nil, err
		}
	}
	return func() { t.core.Fetched(w, frames[:n]) }, nil
}
