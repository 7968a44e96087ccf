package clients

import (
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/ledger"
)

// books are what was published to a topic, what became of it, and what has come.
// Messages are named by the ledger's keys, and their bodies are the ledger's.
type books struct {
	mu       sync.Mutex // guards all of it
	lanes    []*lane
	channels []*arrivals
	faults   []string
}

// lane is what is published in one way, by one Writer.
type lane struct {
	books    *books
	name     string
	number   int
	repeats  bool // its Writer may store a message twice
	outcomes []outcome
}

// arrivals are what has come to a channel.
type arrivals struct {
	books   *books
	name    string
	entries [][]entry // by lane and sequence number
}

type entry struct {
	stored   uint64 // as which message, at which daemon, as a hash; 0: it did not come
	finished bool
}

func (b *books) addLane(name string, repeats bool) *lane {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &lane{books: b, name: name, number: len(b.lanes), repeats: repeats}
	b.lanes = append(b.lanes, l)
	return l
}

func (b *books) addChannel(name string) *arrivals {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := &arrivals{books: b, name: name}
	b.channels = append(b.channels, a)
	return a
}

// attempt notes that the lane's next n messages are about to be published, and
// returns the first one's number and their bodies.
func (l *lane) attempt(n int) (first int, bodies [][]byte) {
	l.books.mu.Lock()
	defer l.books.mu.Unlock()
	first = len(l.outcomes)
	l.outcomes = append(l.outcomes, make([]outcome, n)...)
	for i := range n {
		bodies = append(bodies, ledger.AppendBody(nil, ledger.Key{Lane: l.number, Seq: first + i}, time.Time{}))
	}
	return first, bodies
}

// end notes what became of n messages. One that is large must have been refused,
// unless nobody was there to do it, and no other may.
func (l *lane) end(first, n int, err error, large bool) {
	got := outcomeOf(err)
	l.books.mu.Lock()
	defer l.books.mu.Unlock()
	for i := range n {
		if was := l.outcomes[first+i]; was != unanswered {
			l.books.fault("%s: %d was %v, and then %v", l.name, first+i, was, got)
		}
		l.outcomes[first+i] = got
	}
	if got == strange || got == refused && !large || got == stored && large {
		l.books.fault("%s: %d ended as %v: %v", l.name, first, got, err)
	}
}

// receive notes a delivery. What its handler fails for is not finished.
func (a *arrivals) receive(d *delivery) {
	k, ok := ledger.KeyOf(d.Body)
	a.books.mu.Lock()
	defer a.books.mu.Unlock()
	if !ok || k.Lane >= len(a.books.lanes) || k.Seq >= len(a.books.lanes[k.Lane].outcomes) {
		a.books.fault("%s: %.60q came from %s, and nobody published it", a.name, d.Body, d.Address)
		return
	}
	e := a.entry(k)
	stored := maphash.String(seedOfIDs, d.Address+d.ID) | 1
	if l := a.books.lanes[k.Lane]; e.stored != 0 && e.stored != stored && !l.repeats {
		a.books.fault("%s: %d of %s is stored twice, the second time as %s at %s", a.name, k.Seq, l.name, d.ID, d.Address)
	}
	e.stored = stored
	e.finished = e.finished || !d.Failed
}

var seedOfIDs = maphash.MakeSeed()

func (a *arrivals) entry(k ledger.Key) *entry {
	for len(a.entries) <= k.Lane {
		a.entries = append(a.entries, nil)
	}
	if missing := k.Seq + 1 - len(a.entries[k.Lane]); missing > 0 {
		a.entries[k.Lane] = append(a.entries[k.Lane], make([]entry, missing)...)
	}
	return &a.entries[k.Lane][k.Seq]
}

// missing is how many of the messages that were accepted a channel has not
// finished.
func (a *arrivals) missing() (n int) {
	a.books.mu.Lock()
	defer a.books.mu.Unlock()
	for _, l := range a.books.lanes {
		for seq, o := range l.outcomes {
			if o == stored && !a.entry(ledger.Key{Lane: l.number, Seq: seq}).finished {
				n++
			}
		}
	}
	return n
}

func (b *books) fault(format string, args ...any) {
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

// audit judges the books when everything is drained. faults has a line for each
// promise that was broken, summary says how much there was to judge.
func (b *books) audit() (summary string, faults []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var counts [strange + 1]int
	came := 0
	for _, l := range b.lanes {
		for seq, o := range l.outcomes {
			counts[o]++
			if o == unanswered {
				b.fault("%s: nothing was said of %d", l.name, seq)
			}
			for _, a := range b.channels {
				switch e := a.entry(ledger.Key{Lane: l.number, Seq: seq}); {
				case o == stored && !e.finished:
					b.fault("%s: %d of %s was accepted and is missing", a.name, seq, l.name)
				case (o == refused || o == unavailable) && e.stored != 0:
					b.fault("%s: %d of %s came, and was said to be %v", a.name, seq, l.name, o)
				case o == uncertain && e.stored != 0:
					came++
				}
			}
		}
	}
	var parts []string
	for o, n := range counts {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %v", n, outcome(o)))
		}
	}
	if n := counts[uncertain] * len(b.channels); n > 0 {
		parts = append(parts, fmt.Sprintf("%d %% of the uncertain ones came", 100*came/n))
	}
	return strings.Join(parts, ", "), b.faults
}

// few is faults as text, the first of them if they are many.
func few(faults []string) string {
	const most = 20
	if len(faults) > most {
		return strings.Join(faults[:most], "\n") + fmt.Sprintf("\nand %d more", len(faults)-most)
	}
	return strings.Join(faults, "\n")
}
