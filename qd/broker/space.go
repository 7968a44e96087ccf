// #nosec G115 -- the size and free space of a disk: far below 2^63 bytes.

package broker

import (
	"context"
	"time"
)

// spaceLook is how often the disk's free space is looked at.
const spaceLook = time.Second

// watchSpace keeps an eye on the disk's free space: below the floor, publishes
// to topics with logs are refused, so that there is room for what consumers
// answer, and they can make more.
func (b *Broker) watchSpace(ctx context.Context) {
	tick := time.NewTicker(spaceLook)
	defer tick.Stop()
	for {
		b.lookAtSpace()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// lookAtSpace looks once. Several may do so at once.
func (b *Broker) lookAtSpace() {
	free, size, err := b.FS.Space(b.DataPath)
	if err != nil {
		b.free.Store(-1)
		return // writing will tell
	}
	b.free.Store(int64(free))
	b.size.Store(int64(size))
	was := b.low.Load()
	switch low := int64(free) < b.MinFree; {
	case low && was == nil:
		e := &SpaceError{Path: b.DataPath, Free: int64(free), Floor: b.MinFree}
		if b.low.CompareAndSwap(nil, e) {
			b.disk.fail(e)
			b.letGo()
		}
	case !low && was != nil:
		if b.low.CompareAndSwap(was, nil) {
			b.disk.recover()
		}
	}
}

// space is nil, or why publishes are refused.
func (b *Broker) space() error {
	if e := b.low.Load(); e != nil {
		return e
	}
	return nil
}

// FreeBytes is how many bytes were free on the disk when it was looked at last,
// which is once a second; ok is false if nobody knows. Below Settings.MinFree,
// publishes are refused.
func (b *Broker) FreeBytes() (n int64, ok bool) {
	n = b.free.Load()
	return max(n, 0), n >= 0
}

// DiskSize is how many bytes the disk had in all when it was looked at last; 0 if
// nobody knows.
func (b *Broker) DiskSize() int64 { return b.size.Load() }
