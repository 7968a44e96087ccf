package millrace

import (
	"context"
	"slices"
	"time"
)

// discover keeps the Reader's daemons those of its Addresses and those that
// lookupds list.
func (r *Reader) discover(ctx, work context.Context) {
	meet := func(found []producer) (known int) {
		addresses := slices.Clone(r.config.Addresses)
		for _, p := range found {
			addresses = append(addresses, p.address)
		}
		r.meet(ctx, work, addresses)
		return len(addresses)
	}
	// A lookupd that hangs holds up nobody who is listed by another.
	r.lookups.partly = func(found []producer) { meet(found) }
	const soon = time.Second
	pause := soon
	for {
		found, _ := r.lookups.ask(ctx)
		known := meet(found)
		if len(r.config.Lookupds) == 0 {
			return
		}
		// With nothing to consume from, a topic that is about to be created
		// should not have to wait for its first consumer.
		next := r.config.LookupInterval
		if known == 0 {
			next = min(pause, next)
			pause = 2 * next
		} else {
			pause = soon
		}
		if !sleep(ctx, vary(next, 0.1)) {
			return
		}
	}
}

// meet takes note of which daemons are listed, and begins to consume from those
// that are new.
func (r *Reader) meet(ctx, work context.Context, addresses []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for a := range r.daemons {
		r.daemons[a] = false
	}
	for _, a := range addresses {
		if _, known := r.daemons[a]; !known {
			r.lines.Go(func() { r.keep(ctx, work, a) })
		}
		r.daemons[a] = true
	}
}

// dropUnlisted forgets a disconnected daemon if it is not listed any more, and
// reports whether it did.
func (r *Reader) dropUnlisted(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.daemons[address] {
		return false
	}
	delete(r.daemons, address)
	return true
}
