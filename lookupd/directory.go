package lookupd

import (
	"sync"
	"time"

	"github.com/millrace-mq/millrace/lookupd/registry"
)

// directory is the registry as several goroutines share it. What it hands out
// are copies, or peers' facts that never change.
type directory struct {
	mu  sync.RWMutex // guards reg; never held across I/O or a send
	reg *registry.Registry
}

// newDirectory returns an empty one. What a lost daemon had is remembered for as
// long as its tombstones, so that these hold over every reconnect.
func newDirectory(c registry.Config) *directory {
	return &directory{reg: registry.New(remembering(c))}
}

func remembering(c registry.Config) registry.Config {
	c.Away = max(c.Away, c.Tombstone)
	return c
}

// configure changes how long things last, those that there are too.
func (d *directory) configure(c registry.Config) {
	d.change(func(r *registry.Registry, _ time.Time) { r.Configure(remembering(c)) })
}

// change runs f with the registry to itself, at the time it is given.
func (d *directory) change(f func(r *registry.Registry, now time.Time)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d.reg, time.Now())
}

// read runs f beside other readers. f must not change the registry.
func (d *directory) read(f func(r *registry.Registry, now time.Time)) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	f(d.reg, time.Now())
}
