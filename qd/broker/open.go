package broker

import "syscall"

// openDisks counts the topics that have files open, by holding something for
// each. Ten thousand topics that spill must not take all the files that the
// process may have, or it could not accept a connection any more.
type openDisks chan struct{}

// newOpenDisks allows for so many topics that, with a few files each, they
// have half of the files that the process may have.
func newOpenDisks() openDisks {
	const most, least = 1024, 8
	n := uint64(most)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		n = max(least, min(n, limit.Cur/16))
	}
	return make(openDisks, n)
}

// enter counts a topic in, once there is room. It returns false when stopping
// is closed before: the topic is not counted then.
func (d openDisks) enter(stopping <-chan struct{}) bool {
	select {
	case d <- struct{}{}:
		return true
	case <-stopping:
		return false
	}
}

// leave counts a topic out.
func (d openDisks) leave() { <-d }

// crowd is 0 when a topic may keep its files open though it does not need them
// now, 1 when it may not, and 2 when others may be waiting.
func (d openDisks) crowd() int { return 2 * len(d) / cap(d) }

// touched counts a topic's logs among those that have files open. Under
// Topic.mu.
func (b *Broker) touched(l *logs) {
	if !l.open {
		l.open = true
		b.opened.Add(1)
	}
}

// rested counts them out. Only tend calls it, and the end of the topic.
func (b *Broker) rested(t *Topic) {
	t.mu.Lock()
	if t.logs.open {
		t.logs.open = false
		b.opened.Add(-1)
	}
	t.mu.Unlock()
}

// crowded reports whether so many topics have files of their logs open that each
// should close its own as soon as it has nothing to write for the moment.
func (b *Broker) crowded() bool { return int(b.opened.Load()) > cap(b.disks) }
