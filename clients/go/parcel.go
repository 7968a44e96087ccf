package millrace

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// parcel is the messages of one read. Workers claim them, one by one or many at
// a time, so that a read's messages are spread over all of them.
type parcel struct {
	line     *line
	page     *page // what the bodies lie in; nil if messages are their user's for good
	messages []Message
	at       time.Time    // when they were read
	claimed  atomic.Int64 // beyond len(messages) once exhausted

	// holders is how many messages may still be looked at, and one for the queue.
	// A parcel whose messages were kept is never let go by those who kept them.
	holders atomic.Int64
}

// deadline is when the daemon takes messages back that no handler has.
func (p *parcel) deadline() time.Time { return p.at.Add(p.line.timeout) }

// ripe is when the messages have waited for company for long enough: wait, but past
// half of the daemon's timeout a handler would have too little of it.
func (p *parcel) ripe(wait time.Duration) time.Time { return p.at.Add(min(wait, p.line.timeout/2)) }

// claimMany returns up to n messages that nobody has claimed.
func (p *parcel) claimMany(n int) []Message {
	all := int64(len(p.messages))
	end := p.claimed.Add(int64(n))
	return p.messages[min(end-int64(n), all):min(end, all)]
}

// claimAll returns what nobody has claimed.
func (p *parcel) claimAll() []Message {
	all := int64(len(p.messages))
	return p.messages[min(p.claimed.Swap(all), all):]
}

// unclaimed is how many messages nobody has claimed.
func (p *parcel) unclaimed() int {
	return len(p.messages) - int(min(p.claimed.Load(), int64(len(p.messages))))
}

// giveBack requeues what nobody has claimed, for another reader.
func (p *parcel) giveBack() {
	rest := p.claimAll()
	p.line.requeueAll(rest, 0, now)
	p.letGo(len(rest))
}

// expire drops what nobody has claimed: the daemon has taken it back.
func (p *parcel) expire() {
	rest := p.claimAll()
	p.line.expired(len(rest))
	p.letGo(len(rest))
}

// letGo says that n messages, or the queue, are done with. The memory of all is
// used again when nobody is left.
func (p *parcel) letGo(n int) {
	if p.holders.Add(-int64(n)) > 0 || p.page == nil {
		return
	}
	page := p.page
	for i := range p.messages {
		p.messages[i].spoil()
	}
	p.messages, p.line, p.page = p.messages[:0], nil, nil
	parcels.Put(p)
	page.letGo()
}

var parcels = sync.Pool{New: func() any { return new(parcel) }}

// newParcel returns a parcel with room for n messages. Its memory is used again
// if page, which its bodies lie in, is not nil.
func newParcel(l *line, page *page, n int) *parcel {
	if page == nil {
		return &parcel{line: l, messages: make([]Message, 0, n)}
	}
	p := parcels.Get().(*parcel)
	if cap(p.messages) < n {
		p.messages = make([]Message, 0, max(n, 2*cap(p.messages)))
	}
	p.line, p.page = l, page
	p.claimed.Store(0)
	page.holders.Add(1)
	return p
}

// page is memory that is read into. Its holders are the parcels cut from it, and
// the inbox that fills it.
type page struct {
	bytes   []byte
	holders atomic.Int64
}

// pageSizes are those of pages that are used again, and the inbox's.
var pageSizes = [...]int{minChunk, 4 * minChunk, 16 * minChunk, maxChunk}

var pages [len(pageSizes)]sync.Pool

// newPage returns a page with one holder.
func newPage(size int) *page {
	var p *page
	if class := slices.Index(pageSizes[:], size); class >= 0 {
		p, _ = pages[class].Get().(*page)
	}
	if p == nil {
		p = &page{bytes: make([]byte, size)}
	}
	p.holders.Store(1)
	return p
}

func (p *page) letGo() {
	if p.holders.Add(-1) > 0 {
		return
	}
	spoil(p.bytes)
	if class := slices.Index(pageSizes[:], len(p.bytes)); class >= 0 {
		pages[class].Put(p)
	}
}
