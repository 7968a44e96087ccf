package main

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Of a topic's messages, so many bytes may be held until nothing more is asked for; at half of that it
// goes on. Credit is in messages, so five thousand large ones would be gigabytes. All
// topics have allBytes together, divided evenly: one that the destination refuses cannot stop
// others, as it could if they took from one heap.
const (
	manyBytes = 64 << 20
	leastMany = 1 << 20
	allBytes  = 256 << 20
)

// shares divides allBytes among the topics that are on their way.
type shares struct{ topics atomic.Int64 }

// many is how many bytes of one topic may be held.
func (s *shares) many() int {
	return max(leastMany, min(manyBytes, allBytes/max(1, int(s.topics.Load()))))
}

// tellEvery is how often it is logged that something is waited for.
const tellEvery = time.Minute

// brake stops the source while the destination takes nothing, or while much is held. What would time
// out at the source is then not delivered again and again.
type brake struct {
	reader interface {
		Pause()
		Resume()
	}
	size func() int // bytes that are held
	many func() int // bytes that may be
	log  *slog.Logger

	mu      sync.Mutex // guards all below; the reader's and that of what is held may be taken in it
	failing int        // workers to whom the destination is away
	full    bool
	since   time.Time // when the first of them found so
	told    time.Time // when it was logged last
}

// look notes how much is held. It is asked for here, for two that look at the same time must not
// take the older answer for the newer.
func (b *brake) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changeLocked(func() {
		switch size, many := b.size(), b.many(); {
		case size > many:
			b.full = true
		case size < many/2:
			b.full = false
		}
	})
}

// begin notes that the destination is away, for one more worker.
func (b *brake) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changeLocked(func() {
		if b.failing++; b.failing == 1 {
			b.since, b.told = time.Now(), time.Time{}
		}
	})
}

// end notes that a worker does not wait for the destination any more.
func (b *brake) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changeLocked(func() { b.failing-- })
	if b.failing == 0 {
		b.log.Info("the destination is not waited for any more", "took", time.Since(b.since).Round(time.Millisecond))
	}
}

func (b *brake) changeLocked(change func()) {
	before := b.failing > 0 || b.full
	change()
	switch after := b.failing > 0 || b.full; {
	case after && !before:
		b.reader.Pause()
	case before && !after:
		b.reader.Resume()
	}
}

// tell logs why the destination takes nothing, now and then.
func (b *brake) tell(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.told) < tellEvery {
		return
	}
	b.told = time.Now()
	b.log.Warn("the destination takes no messages, they are held and it is tried again", "took", time.Since(b.since).Round(time.Second), "error", err)
}
