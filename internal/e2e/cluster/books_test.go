package cluster

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/ledger"
)

// books are what was published and what arrived. Those of package ledger, whose
// bodies they use, are about one daemon: they know when it was killed and what it
// may have forgotten. Here a FIN may be lost on its way and a message come again
// at any time, but a message has a daemon, and never two.
type books struct {
	mu       sync.Mutex // guards all below, and all of lanes and channels
	lanes    []*lane
	channels []*channel
	daemons  []string // that something came from, by their addresses
}

// outcome is what a writer was told about a message.
type outcome uint8

const (
	uncertain    outcome = iota // nothing, yet or at all
	acknowledged                // a daemon has it
	refused                     // none has
)

// lane is what one goroutine publishes to one topic, in order.
type lane struct {
	*books
	number   int
	topic    string
	outcomes []outcome // by sequence number
}

func (b *books) addLane(topic string) *lane {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := &lane{books: b, number: len(b.lanes), topic: topic}
	b.lanes = append(b.lanes, l)
	return l
}

// attempt returns the first of the lane's next n messages, which are about to be
// published.
func (l *lane) attempt(n int) (first ledger.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = ledger.Key{Lane: l.number, Seq: len(l.outcomes)}
	l.outcomes = append(l.outcomes, make([]outcome, n)...)
	return first
}

// end notes what became of n messages from first on.
func (l *lane) end(first ledger.Key, n int, o outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range n {
		l.outcomes[first.Seq+i] = o
	}
}

// channel is a channel of a topic, on all daemons.
type channel struct {
	*books
	topic, name string
	strict      bool // it has one reader, which handles one message at a time

	entries  [][]entry           // by lane and sequence number
	streams  map[string]*stream  // by daemon
	arrivals map[string]arrivals // by daemon
	again    int                 // messages that had been finished before
	faults   []string
}

// entry is a message, in a channel.
type entry struct {
	daemon   uint8 // that it came from, by its number; 0 is not come
	finished bool
}

// stream is what comes from a daemon over one connection.
type stream struct {
	begun bool
	last  map[int]int // of each lane, the last that came with attempts = 1
}

// arrivals are the messages that came from a daemon for the first time.
type arrivals struct {
	count int
	last  time.Time
}

func (b *books) addChannel(topic, name string, strict bool) *channel {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &channel{books: b, topic: topic, name: name, strict: strict, streams: map[string]*stream{}, arrivals: map[string]arrivals{}}
	b.channels = append(b.channels, c)
	return c
}

// connected notes that there is a new connection to a daemon.
func (c *channel) connected(daemon string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[daemon] = &stream{last: map[int]int{}}
}

// receive notes that a message has come. ok is false for what nobody published.
func (c *channel) receive(daemon string, attempts uint16, body []byte) (k ledger.Key, ok bool) {
	k, ok = ledger.KeyOf(body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ok || k.Lane >= len(c.lanes) || c.lanes[k.Lane].topic != c.topic || k.Seq >= len(c.lanes[k.Lane].outcomes) {
		c.fault("%.60q came from %s, and nobody published it", body, daemon)
		return k, false
	}
	e := c.entry(k)
	number := c.daemonNumber(daemon)
	switch {
	case e.daemon == 0:
		e.daemon = number
		a := c.arrivals[daemon]
		c.arrivals[daemon] = arrivals{a.count + 1, time.Now()}
	case e.daemon != number:
		c.fault("%v came from %s, and from another daemon before", k, daemon)
	case e.finished:
		c.again++
	}
	if attempts == 1 && c.strict {
		c.inOrder(daemon, k)
	}
	return k, true
}

// inOrder checks the order of first deliveries. When a connection has broken, one
// message that came over it may still be on its way to the handler while the next
// connection is made: the first of each is not compared.
func (c *channel) inOrder(daemon string, k ledger.Key) {
	s := c.streams[daemon]
	switch last, ok := s.last[k.Lane]; {
	case !s.begun:
		s.begun = true
		return
	case ok && k.Seq <= last:
		c.fault("%v came from %s for the first time after %d of the same connection", k, daemon, last)
	}
	s.last[k.Lane] = k.Seq
}

// finish notes that a message was handled.
func (c *channel) finish(k ledger.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entry(k).finished = true
}

func (c *channel) entry(k ledger.Key) *entry {
	for len(c.entries) <= k.Lane {
		c.entries = append(c.entries, nil)
	}
	if missing := k.Seq + 1 - len(c.entries[k.Lane]); missing > 0 {
		c.entries[k.Lane] = append(c.entries[k.Lane], make([]entry, missing)...)
	}
	return &c.entries[k.Lane][k.Seq]
}

// daemonNumber is a daemon's place among those that were heard of, from 1.
func (b *books) daemonNumber(daemon string) uint8 {
	at := slices.Index(b.daemons, daemon)
	if at < 0 {
		at = len(b.daemons)
		b.daemons = append(b.daemons, daemon)
	}
	return uint8(at + 1)
}

// arrived returns what has come from a daemon so far.
func (c *channel) arrived(daemon string) arrivals {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.arrivals[daemon]
}

// unfinished returns how many of the lane's messages were acknowledged and have
// not been finished.
func (c *channel) unfinished(l *lane) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for seq, o := range l.outcomes {
		if o == acknowledged && !c.entry(ledger.Key{Lane: l.number, Seq: seq}).finished {
			n++
		}
	}
	return n
}

func (c *channel) fault(format string, args ...any) {
	c.faults = append(c.faults, c.topic+"/"+c.name+": "+fmt.Sprintf(format, args...))
}

// audit judges the books when all is drained: faults has a line for each promise
// that was broken, summary says how much there was to judge.
func (b *books) audit() (summary string, faults []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var counts [refused + 1]int
	for _, l := range b.lanes {
		for _, o := range l.outcomes {
			counts[o]++
		}
	}
	again := 0
	for _, c := range b.channels {
		c.missing()
		again += c.again
		faults = append(faults, c.faults...)
	}
	return fmt.Sprintf("%d messages acknowledged, %d uncertain, %d refused; %d came again in %d channels",
		counts[acknowledged], counts[uncertain], counts[refused], again, len(b.channels)), faults
}

// missing finds what was acknowledged and never finished, and what was refused
// and came.
func (c *channel) missing() {
	for _, l := range c.lanes {
		if l.topic != c.topic {
			continue
		}
		for seq, o := range l.outcomes {
			k := ledger.Key{Lane: l.number, Seq: seq}
			switch e := c.entry(k); {
			case o == acknowledged && !e.finished:
				c.fault("%v was acknowledged and is missing", k)
			case o == refused && e.daemon != 0:
				c.fault("%v came, and its writer was told that it was not stored", k)
			}
		}
	}
}

// few is faults as text, the first of them if they are many.
func few(faults []string) string {
	const most = 20
	if len(faults) > most {
		return strings.Join(faults[:most], "\n") + fmt.Sprintf("\nand %d more", len(faults)-most)
	}
	return strings.Join(faults, "\n")
}
