// #nosec G115 -- numbers that the bench itself has drawn or counted, never negative.

package load

import (
	"fmt"
	"math/bits"
)

// A tag is the number of a message among its producer's, below the number of
// the producer.
const (
	tagShift  = 40
	tagNumber = 1<<tagShift - 1
	// maxNumber bounds the bitmaps against tags that are none of ours.
	maxNumber = 1 << 31
)

func tag(producer int, number uint64) uint64 { return uint64(producer)<<tagShift | number }

// tally marks the tags that one consumer saw.
type tally struct {
	seen    [][]uint64 // a bitmap for each producer
	twice   int64
	strange int64 // tags that no producer of ours gives
}

func newTally(producers int) *tally { return &tally{seen: make([][]uint64, producers)} }

func (t *tally) add(tag uint64) {
	producer, number := tag>>tagShift, tag&tagNumber
	if producer >= uint64(len(t.seen)) || number >= maxNumber {
		t.strange++
		return
	}
	word, bit := number/64, uint64(1)<<(number%64)
	if word >= uint64(len(t.seen[producer])) {
		t.grow(producer, word)
	}
	p := &t.seen[producer][word]
	if *p&bit != 0 {
		t.twice++
	}
	*p |= bit
}

func (t *tally) grow(producer, word uint64) {
	words := t.seen[producer]
	t.seen[producer] = append(words, make([]uint64, max(int(word)+1-len(words), len(words), 1024))...)
}

// Audit is how a channel's deliveries differ from what was published.
type Audit struct {
	Lost       int64 // published and never delivered
	Duplicated int64 // deliveries beyond the first of a message
	Strange    int64 // deliveries of what was not published
}

// Err returns nil when every message came exactly once.
func (a Audit) Err() error {
	if a == (Audit{}) {
		return nil
	}
	return fmt.Errorf("%d messages lost, %d delivered twice, %d delivered that were not published", a.Lost, a.Duplicated, a.Strange)
}

// audit compares what consumers saw together with published, the number of
// messages of each producer.
func audit(published []int64, tallies []*tally) Audit {
	var a Audit
	for _, t := range tallies {
		a.Duplicated += t.twice
		a.Strange += t.strange
	}
	for p, n := range published {
		a.producer(p, n, tallies)
	}
	return a
}

// producer adds the audit of one producer that published n messages. A bit
// that two consumers have is a duplicate; one at n or above is strange.
func (a *Audit) producer(p int, n int64, tallies []*tally) {
	var seen int64
	for word := int64(0); ; word++ {
		var union uint64
		any := false
		for _, t := range tallies {
			if word >= int64(len(t.seen[p])) {
				continue
			}
			any = true
			w := t.seen[p][word]
			a.Duplicated += ones(union & w)
			union |= w
		}
		if !any {
			break
		}
		within := union
		switch base := word * 64; {
		case base >= n:
			within = 0
		case base+64 > n:
			within &= 1<<(n-base) - 1
		}
		seen += ones(within)
		a.Strange += ones(union &^ within)
	}
	a.Lost += n - seen
}

func ones(w uint64) int64 { return int64(bits.OnesCount64(w)) }
