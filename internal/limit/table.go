package limit

import (
	"strings"
	"time"
)

// Rates are those of one publisher, or of one topic.
type Rates struct{ Bytes, Messages Rate }

// Limited reports whether there is any limit.
func (r Rates) Limited() bool { return r.Bytes > 0 || r.Messages > 0 }

// Load is what is to be taken at once.
type Load struct{ Bytes, Messages int64 }

// Debts are what somebody has taken at Rates. The zero Debts are none.
type Debts struct{ bytes, messages Bucket }

// Wait is how long nothing can be taken, and whether it is for the sake of bytes.
func (d *Debts) Wait(now int64) (wait time.Duration, forBytes bool) {
	b, m := d.bytes.Wait(now), d.messages.Wait(now)
	return max(b, m), b > m
}

// Take takes the load.
func (d *Debts) Take(now int64, r Rates, l Load) {
	d.bytes.Take(now, r.Bytes, l.Bytes)
	d.messages.Take(now, r.Messages, l.Messages)
}

func (d *Debts) none(now int64) bool { return d.bytes.Full(now) && d.messages.Full(now) }

// Table is the Debts of many, by name. It forgets who has none. When so many have
// some that it is full, those who come new share one account: memory is bounded
// whatever names are invented, and nobody gets more by inventing them.
type Table struct {
	most    int
	of      map[string]*Debts
	sweepAt int // accounts at which it is looked who has no debts
	shared  Debts
}

// leastSweep is the number of accounts below which nobody looks through them.
const leastSweep = 256

// NewTable returns a Table for so many names at most.
func NewTable(most int) *Table {
	return &Table{most: most, of: make(map[string]*Debts), sweepAt: min(leastSweep, most)}
}

// Of returns the account of a name, to be used before the next call.
func (t *Table) Of(now int64, name string) *Debts {
	if d := t.of[name]; d != nil {
		return d
	}
	if len(t.of) >= t.sweepAt {
		t.sweep(now)
	}
	if len(t.of) >= t.most {
		return &t.shared
	}
	d := new(Debts)
	t.of[strings.Clone(name)] = d // which may be a few bytes of a long request
	return d
}

// sweep forgets those who have no debts. It looks again when twice as many have come
// as are left, so that a newcomer costs a look at two accounts on the average; in a
// table that stays full, at one in so many calls as it has accounts.
func (t *Table) sweep(now int64) {
	for name, d := range t.of {
		if d.none(now) {
			delete(t.of, name)
		}
	}
	t.sweepAt = min(max(2*len(t.of), leastSweep), t.most)
}

// Len is the number of accounts.
func (t *Table) Len() int { return len(t.of) }
