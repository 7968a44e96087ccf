package broker

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/qd/disk"
	"github.com/millrace-mq/millrace/qd/queue"
)

// doubt is what is known of something that was asked for.
type doubt uint8

const (
	no    doubt = iota
	maybe       // it was answered with an error
	yes
)

// told is how far it is certain that something is written down.
type told uint8

const (
	unwritten told = iota + 1
	kept           // survives the process
	durable        // survives a power cut
)

// ledger is what was done to a broker and what it has promised by its answers.
type ledger struct {
	sent  []message // by number
	books []*book   // in the order of the topics' creation
}

type message struct {
	book      *book
	publisher int
	acked     bool
	synced    bool  // survives a power cut
	due       int64 // of a deferred publish
}

// book is a topic from its creation to its deletion.
type book struct {
	name             string
	created, deleted doubt
	paused           doubt
	channels         []*page
}

// page is a channel from its creation to its deletion.
type page struct {
	name             string
	created, deleted doubt
	paused           doubt
	from             int // number of the first message that is for it
	delivered        map[int]bool
	finished         map[int]told
	later            map[int]*requeue
}

type requeue struct {
	due  int64
	told told
}

// book returns the books of the topic that has the name now.
func (l *ledger) book(name string) *book {
	for _, b := range slices.Backward(l.books) {
		if b.name == name {
			return b
		}
	}
	return nil
}

func (b *book) page(name string) *page {
	for _, p := range slices.Backward(b.channels) {
		if p.name == name {
			return p
		}
	}
	return nil
}

// settle notes that what channels have done is written down.
func (b *book) settle(as told) {
	for _, p := range b.channels {
		for n := range p.finished {
			p.finished[n] = max(p.finished[n], as)
		}
		for _, r := range p.later {
			r.told = max(r.told, as)
		}
	}
}

// synced notes that everything so far survives a power cut.
func (l *ledger) synced() {
	for i := range l.sent {
		l.sent[i].synced = l.sent[i].synced || l.sent[i].acked
	}
	for _, b := range l.books {
		b.settle(durable)
	}
}

// clone is a copy that does not change with l.
func (l *ledger) clone() ledger {
	c := ledger{sent: slices.Clone(l.sent)}
	books := make(map[*book]*book)
	for _, b := range l.books {
		copied := *b
		copied.channels = nil
		for _, p := range b.channels {
			page := *p
			page.delivered, page.finished = maps.Clone(p.delivered), maps.Clone(p.finished)
			page.later = make(map[int]*requeue)
			for n, r := range p.later {
				later := *r
				page.later[n] = &later
			}
			copied.channels = append(copied.channels, &page)
		}
		books[b] = &copied
		c.books = append(c.books, &copied)
	}
	for i := range c.sent {
		c.sent[i].book = books[c.sent[i].book]
	}
	return c
}

// launch opens and runs a broker that the caller stops.
func launch(t testing.TB, path string, fsys disk.FS, change func(*Settings)) (*running, error) {
	s := settings(path)
	book := new(logBook)
	s.Log = slog.New(slog.NewTextHandler(io.Writer(book), nil))
	s.FS = fsys
	change(&s)
	b, err := Open(s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.Run(ctx) })
	r := &running{Broker: b, t: t, log: book}
	r.stop = sync.OnceValue(func() error {
		b.Refuse()
		b.Halt()
		cancel()
		wg.Wait()
		return b.Close()
	})
	return r, nil
}

// auditor compares a broker that was started after a crash with the books.
type auditor struct {
	*ledger
	*running
	t     *testing.T
	what  string
	power bool // the crash was a power cut, and survives says what that means
	level Level
}

func (a *auditor) failf(format string, args ...any) {
	a.t.Helper()
	a.t.Fatalf("%s: %s\n%s", a.what, fmt.Sprintf(format, args...), a.log.text.String())
}

// survives reports whether a message must be there.
func (a *auditor) survives(m *message) bool {
	return m.acked && (!a.power || m.synced || a.level == Fsync)
}

func (a *auditor) certain(t told) bool { return t == durable || t == kept && !a.power }

// reader is a consumer of a channel during an audit.
type reader struct {
	*client
	book *book
	page *page // nil: a channel that nobody had created
	seen map[int]bool
	last map[int]int // by publisher, the first delivery before
}

// auditAll checks that topics and channels are there or not, as was promised,
// and with them their messages.
func (a *auditor) auditAll() {
	a.t.Helper()
	var readers []*reader
	for _, t := range a.Topics() {
		b := a.book(t.Name())
		if b == nil || b.deleted == yes {
			a.failf("topic %s is there", t.Name())
		}
		readers = append(readers, a.open(t, b)...)
	}
	for _, b := range a.books {
		if _, err := a.Find(b.name); err != nil && b.created == yes && b.deleted == no {
			a.failf("topic %s is gone", b.name)
		}
	}
	a.readAll(readers)
	a.running.audit()
	for _, r := range readers {
		a.nothingMissing(r)
		r.close()
	}
}

// open subscribes to the channels of a topic, and ends all pauses.
func (a *auditor) open(t *Topic, b *book) (readers []*reader) {
	a.t.Helper()
	here := make(map[string]*queue.Channel)
	paused := false
	pausedChannels := make(map[string]bool)
	t.View(func(core *queue.Topic) {
		paused = core.Paused()
		if p := core.CurrentPause(); p != nil && p.Reason != onPurpose {
			a.failf("topic %s is paused, and why is %q", t.Name(), p.Reason)
		}
		for _, c := range core.Channels() {
			if p := c.CurrentPause(); p != nil && p.Reason != onPurpose {
				a.failf("channel %s of %s is paused, and why is %q", c.Name(), t.Name(), p.Reason)
			}
			here[c.Name()], pausedChannels[c.Name()] = c, c.Paused()
		}
	})
	if paused != (b.paused == yes) && b.paused != maybe {
		a.failf("topic %s: paused %t", t.Name(), paused)
	}
	for name := range here {
		p := b.page(name)
		if p == nil || p.deleted == yes {
			a.failf("channel %s of %s is there", name, t.Name())
		}
		if pausedChannels[name] != (p.paused == yes) && p.paused != maybe {
			a.failf("channel %s of %s: paused %t", name, t.Name(), pausedChannels[name])
		}
		readers = append(readers, &reader{book: b, page: p})
	}
	for _, p := range b.channels {
		if here[p.name] == nil && p.created == yes && p.deleted == no {
			a.failf("channel %s of %s is gone", p.name, t.Name())
		}
	}
	if len(b.channels) == 0 { // what waits in the topic is for the first one
		readers = append(readers, &reader{book: b})
	}
	for _, r := range readers {
		name := "first"
		if r.page != nil {
			name = r.page.name
		}
		r.client = subscribe(a.t, t, name, 100000)
		r.seen, r.last = make(map[int]bool), make(map[int]int)
		if err := t.UnpauseChannel(name); err != nil {
			a.failf("%v", err)
		}
	}
	if err := t.Unpause(); err != nil {
		a.failf("%v", err)
	}
	return readers
}

// readAll receives and finishes everything, up to what is due last.
func (a *auditor) readAll(readers []*reader) {
	a.t.Helper()
	var dues []int64
	for _, m := range a.sent {
		dues = append(dues, m.due)
	}
	for _, b := range a.books {
		for _, p := range b.channels {
			for _, r := range p.later {
				dues = append(dues, r.due)
			}
		}
	}
	slices.Sort(dues)
	a.readNow(readers)
	for _, due := range slices.Compact(dues) {
		for _, when := range []int64{due - int64(time.Millisecond), due + int64(time.Millisecond)} {
			if wait := when - a.Now(); wait > 0 {
				time.Sleep(time.Duration(wait))
				a.readNow(readers)
			}
		}
	}
}

func (a *auditor) readNow(readers []*reader) {
	a.t.Helper()
	for _, r := range readers {
		r.drain(func(some []got) {
			for _, g := range some {
				a.received(r, g)
			}
			r.finish(some)
		})
	}
}

// received checks one delivery.
func (a *auditor) received(r *reader, g got) {
	a.t.Helper()
	where := fmt.Sprintf("message %d on %s", g.number, r.book.name)
	if g.number >= len(a.sent) || a.sent[g.number].book != r.book && a.sent[g.number].book.deleted != maybe {
		a.failf("%s was never published there", where)
	}
	m := &a.sent[g.number]
	if r.seen[g.number] {
		a.failf("%s comes twice", where)
	}
	r.seen[g.number] = true
	if now := a.Now(); now < m.due {
		a.failf("%s comes %v too early", where, time.Duration(m.due-now))
	}
	if m.due == 0 && g.attempts == 1 {
		if last, some := r.last[m.publisher]; some && last > g.number {
			a.failf("%s comes behind message %d", where, last)
		}
		r.last[m.publisher] = g.number
	}
	if p := r.page; p != nil {
		where += ", channel " + p.name
		if a.certain(p.finished[g.number]) {
			a.failf("%s was finished", where)
		}
		if l := p.later[g.number]; l != nil && a.certain(l.told) && a.Now() < l.due {
			a.failf("%s was requeued and comes %v too early", where, time.Duration(l.due-a.Now()))
		}
		if !p.delivered[g.number] && g.attempts != 1 {
			a.failf("%s has %d attempts", where, g.attempts)
		}
	}
}

// nothingMissing checks that a channel has delivered what it had to.
func (a *auditor) nothingMissing(r *reader) {
	a.t.Helper()
	if r.book.deleted != no || r.page != nil && (r.page.created != yes || r.page.deleted != no) {
		return
	}
	for n := range a.sent {
		m := &a.sent[n]
		if m.book != r.book || !a.survives(m) || r.seen[n] {
			continue
		}
		if p := r.page; p != nil && (n < p.from || p.finished[n] != 0) {
			continue
		}
		a.failf("message %d of topic %s is missing on channel %s", n, r.book.name, r.Channel())
	}
}
