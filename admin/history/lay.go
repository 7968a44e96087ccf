package history

import (
	"encoding/binary"
	"slices"
	"time"
)

// tend closes the page that is full, and then drops what is too old, lays together
// what is old, and what finds no room.
func (s *Store) tend() {
	s.closePage()
	now := s.last
	s.expire(now)
	s.coarsen(now)
	s.shrink()
}

func (s *Store) most() int64 { return s.set.MaxBytes }

// closePage makes a page of the rows that came last. Those that were closed before they
// were full become one.
func (s *Store) closePage() {
	if len(s.open.rows) == 0 {
		return
	}
	p := s.openAsPage()
	s.mu.Lock()
	s.pages = append(slices.Clip(s.pages), p)
	s.open.rows = s.open.rows[:0]
	s.mu.Unlock()
	if n := len(s.pages); n > 1 && s.pages[n-2].step == 0 {
		if pl := planOf(s.pages[n-2:], 0); pl.fits() {
			s.put(n-2, n, pl)
		}
	}
}

func (s *Store) openAsPage() *page {
	w := newPageWriter(slices.Clone(s.open.rows), 0, s.keys.count())
	var columns [Metrics]column
	for n := range s.keys.list {
		if !s.keys.list[n].used || !s.open.read(uint32(n), &columns) {
			w.addNone()
			continue
		}
		w.add(&columns)
	}
	return w.finish()
}

// before returns how many rows are of the time up to t.
func before(rows []span, t int64) int {
	n := 0
	for n < len(rows) && rows[n].to <= t {
		n++
	}
	return n
}

// expire drops pages and keys that are too old.
func (s *Store) expire(now int64) {
	oldest := now - s.set.CoarseKeep.Milliseconds()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.pages) && s.pages[n].to() < oldest {
		n++
	}
	s.pages = slices.Clone(s.pages[n:])
	s.keys.forget(oldest)
	s.marks = slices.DeleteFunc(s.marks, func(m Mark) bool { return ms(m.At) < oldest })
}

// coarsen lays together, to CoarseStep, pages that are older than Keep, once they make
// a row. The page that they join is written again until it is full.
func (s *Store) coarsen(now int64) {
	step := s.set.CoarseStep.Milliseconds()
	for {
		first := slices.IndexFunc(s.pages, func(p *page) bool { return p.step < step })
		if first < 0 {
			return
		}
		end := first
		for end < len(s.pages) && s.pages[end].step < step && s.pages[end].to() <= now-s.set.Keep.Milliseconds() {
			end++
		}
		if end == first || s.pages[end-1].to()-s.pages[first].from() < step && end-first < pageRows {
			return
		}
		if first > 0 && s.pages[first-1].step == step {
			if pl := planOf(s.pages[first-1:end], step); pl.fits() {
				s.put(first-1, end, pl)
				continue
			}
		}
		pl := planOf(s.pages[first:end], step)
		for !pl.fits() {
			end--
			pl = planOf(s.pages[first:end], step)
		}
		s.put(first, end, pl)
	}
}

// shrink lays pages together until what is kept is within MaxBytes, whatever comes
// next. It takes the two neighbours that are shortest in relation to their age, so
// that what is recent stays finest, and each age is as fine as memory allows. Each
// time there is a page less, and one page always finds room: keys.room sees to that.
func (s *Store) shrink() {
	for len(s.pages) > 1 && s.pagesBytes()+fixed(s.keys.count(), s.keys.text) > s.most() {
		i := s.cheapest()
		s.put(i, i+2, planFor(s.pages[i:i+2], s.set.Step.Milliseconds()))
	}
}

func (s *Store) pagesBytes() (n int64) {
	for _, p := range s.pages {
		n += p.bytes
	}
	return n
}

func (s *Store) cheapest() int {
	best, least := 0, 0.0
	for i := range len(s.pages) - 1 {
		length := s.pages[i+1].to() - s.pages[i].from()
		age := s.last - s.pages[i+1].to() + time.Minute.Milliseconds()
		if cost := float64(length) / float64(age); i == 0 || cost < least {
			best, least = i, cost
		}
	}
	return best
}

// put replaces pages by what a plan makes of them.
func (s *Store) put(from, to int, pl plan) {
	p := s.lay(s.pages[from:to], pl)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = slices.Concat(s.pages[:from], []*page{p}, s.pages[to:])
}

// plan is how rows of pages become rows of one.
type plan struct {
	rows []span
	step int64
	to   [][pageRows]int16 // of each page, each row: the row it becomes part of; -1: none
}

func (pl plan) fits() bool { return len(pl.rows) <= pageRows }

// planOf lays rows to a grid: those that end in the same step become one. With step 0
// they stay as they are.
func planOf(pages []*page, step int64) plan {
	pl := plan{step: step, to: make([][pageRows]int16, len(pages))}
	cell := int64(0)
	for i, p := range pages {
		for j, r := range p.rows {
			c := cellOf(r.to, step)
			if n := len(pl.rows); n > 0 && step > 0 && c == cell {
				pl.rows[n-1].to = r.to
				pl.rows[n-1].held += r.held
			} else {
				pl.rows = append(pl.rows, r)
				cell = c
			}
			pl.to[i][j] = int16(min(len(pl.rows)-1, pageRows))
		}
	}
	return pl
}

// cellOf is the number of the step in which t lies; its last moment is still in it.
func cellOf(t, step int64) int64 {
	if step == 0 {
		return 0
	}
	c := (t - 1) / step
	if (t-1)%step < 0 {
		c--
	}
	return c
}

// planFor returns the finest plan that fits, of steps that people count in.
func planFor(pages []*page, least int64) plan {
	coarsest := int64(0)
	for _, p := range pages {
		coarsest = max(coarsest, p.step)
	}
	if pl := planOf(pages, 0); pl.fits() {
		pl.step = coarsest
		return pl
	}
	for step := nice(max(coarsest, least)); ; step = nice(step + 1) {
		if pl := planOf(pages, step); pl.fits() {
			return pl
		}
	}
}

// steps are what people count time in, in ms; beyond, it is days.
var steps = []int64{
	1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 20e3, 30e3,
	60e3, 120e3, 300e3, 600e3, 900e3, 1200e3, 1800e3, 3600e3, 7200e3, 10800e3, 21600e3, 43200e3, 86400e3,
}

// nice returns the shortest of steps that is not below least.
func nice(least int64) int64 {
	i, _ := slices.BinarySearch(steps, least)
	if i < len(steps) {
		return steps[i]
	}
	day := steps[len(steps)-1]
	n := day
	for n < least && n < 1<<61 {
		n *= 2
	}
	return n
}

// lay makes the page that a plan says. A rate becomes the mean over the time that it
// was measured in, any other value the highest.
func (s *Store) lay(pages []*page, pl plan) *page {
	keys := 0
	for _, p := range pages {
		keys = max(keys, len(p.index))
	}
	w := newPageWriter(slices.Clip(pl.rows), pl.step, keys)
	l := layer{pages: pages, plan: pl, records: make([][]byte, len(pages))}
	for n := range keys {
		if !s.keys.list[n].used || !l.find(uint32(n)) {
			w.addNone()
			continue
		}
		born := s.keys.list[n].born
		if l.nothing(born) {
			w.addRecord([]byte{noneAtAll & 0xff, noneAtAll >> 8})
			continue
		}
		l.join(born)
		w.add(&l.out)
	}
	return w.finish()
}

// layer lays one key after the other.
type layer struct {
	pages   []*page
	plan    plan
	records [][]byte // of the key, in each page; nil if it has none
	in, out [Metrics]column
	sum     [pageRows]float32
	weight  [pageRows]float32
}

// find finds a key's records. It reports false if there is none.
func (l *layer) find(number uint32) bool {
	found := false
	for i, p := range l.pages {
		l.records[i] = p.record(number)
		found = found || l.records[i] != nil
	}
	return found
}

// nothing says whether nothing ever happened to the key, which is so for most.
func (l *layer) nothing(born int64) bool {
	for _, r := range l.records {
		if r == nil || binary.LittleEndian.Uint16(r) != noneAtAll {
			return false
		}
	}
	return born <= l.pages[0].from()
}

// join makes out of all records.
func (l *layer) join(born int64) {
	for m := range Metrics {
		if m.rate() {
			l.joinRate(m, born)
		} else {
			l.joinHighest(m, born)
		}
	}
}

func (l *layer) joinRate(m Metric, born int64) {
	rows := len(l.plan.rows)
	clear(l.sum[:rows])
	clear(l.weight[:rows])
	for i, p := range l.pages {
		codes := l.column(i, m)
		if codes == nil {
			continue
		}
		for j := before(p.rows, born); j < len(p.rows); j++ {
			c, to := codes[j], l.plan.to[i][j]
			if c == notKnown || to < 0 {
				continue
			}
			held := float32(p.rows[j].held)
			l.weight[to] += held
			if c != zero {
				l.sum[to] += decode(c) * held
			}
		}
	}
	for i := range rows {
		l.out[m][i] = notKnown
		if l.weight[i] > 0 {
			l.out[m][i] = encode(l.sum[i] / l.weight[i])
		}
	}
}

func (l *layer) joinHighest(m Metric, born int64) {
	clear(l.out[m][:])
	for i, p := range l.pages {
		codes := l.column(i, m)
		if codes == nil {
			continue
		}
		for j := before(p.rows, born); j < len(p.rows); j++ {
			if to := l.plan.to[i][j]; to >= 0 {
				l.out[m][to] = max(l.out[m][to], codes[j]) // a greater value has a greater code
			}
		}
	}
}

// column reads a metric's codes in a page, nil if none is known.
func (l *layer) column(i int, m Metric) []code {
	if l.records[i] == nil {
		return nil
	}
	rows := len(l.pages[i].rows)
	b, mode := skipTo(l.records[i], m, rows)
	codes := l.in[m][:rows]
	readColumn(b, mode, codes)
	return codes
}

// goBack drops what is kept of now and of what would be the future.
func (s *Store) goBack(now int64) {
	s.closePage()
	step := time.Duration(s.last-now) * time.Millisecond
	t := now - 1
	var kept []*page
	for _, p := range s.pages {
		switch {
		case p.to() <= t:
			kept = append(kept, p)
		case p.rows[0].to <= t:
			kept = append(kept, s.lay([]*page{p}, cut(p, t)))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = kept
	s.last, s.going = t, false
	s.marks = slices.DeleteFunc(s.marks, func(m Mark) bool { return ms(m.At) > t })
	if step >= s.set.Step {
		s.mark(Mark{At: time.UnixMilli(now).UTC(), What: "the clock was set back by " + step.Round(time.Second).String()})
	}
	for i := range s.keys.list {
		e := &s.keys.list[i]
		e.born, e.seen, e.busy = min(e.born, t), min(e.seen, t), min(e.busy, t)
	}
}

// cut is the plan that keeps the rows up to t.
func cut(p *page, t int64) plan {
	pl := planOf([]*page{p}, 0)
	pl.step = p.step
	pl.rows = pl.rows[:before(p.rows, t)]
	for j := len(pl.rows); j < len(p.rows); j++ {
		pl.to[0][j] = -1
	}
	return pl
}
