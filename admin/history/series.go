package history

import (
	"math"
	"slices"
	"time"
)

// pointsMost is how many points a Series has at most.
const pointsMost = 10_000

// Series is a key's history over some time, in points of the same length. Rates are
// the mean over a point, all else the highest in it. Where a point is finer than what
// is kept of its time, it tells the value of the longer time that it is part of.
type Series struct {
	Step   time.Duration      // the length of a point: a length that people count in, at least the Store's Step
	Times  []time.Time        // when each point begins, a multiple of Step; UTC
	Values [Metrics][]float64 // of each point; NaN: not known, or not measured
	Marks  []Mark             // of the time, that concern the key's node or all
}

// Series returns a key's history from one time to another, in so many points at most
// (300 if that is not above 0; 2 to 10,000). The points' limits do not
// depend on from and to but for their length: a chart that is drawn again a moment
// later shows the same points.
func (s *Store) Series(k Key, from, to time.Time, points int) Series {
	if points <= 0 {
		points = 300
	}
	start, end := ms(from), ms(to)
	if end <= start {
		return Series{Step: s.set.Step}
	}
	// One point less, because there are parts of points at both ends.
	whole := int64(min(max(points, 2), pointsMost) - 1)
	length := (end - start + whole - 1) / whole
	step := nice(max(length, s.set.Step.Milliseconds()))
	b := newBins(cellOf(start+1, step)*step, step, int(cellOf(end, step)-cellOf(start+1, step)+1))

	s.mu.RLock()
	defer s.mu.RUnlock()
	for m := range Metrics {
		b.want(m)
	}
	s.collect(k, b)
	r := Series{Step: time.Duration(step) * time.Millisecond, Times: b.times()}
	for m := range Metrics {
		r.Values[m] = b.values(m)
	}
	for _, m := range s.marks {
		if at := ms(m.At); at >= start && at <= end && (k.Node == "" || m.Node == "" || m.Node == k.Node) {
			r.Marks = append(r.Marks, m)
		}
	}
	return r
}

// Recent returns one metric of a key over the last hour before the newest sample, in n
// points, for a sparkline.
func (s *Store) Recent(k Key, m Metric, n int) []float64 {
	n = min(max(n, 1), pointsMost)
	step := time.Hour.Milliseconds() / int64(n)
	s.mu.RLock()
	defer s.mu.RUnlock()
	// The last point is the one that is under way, so that the others do not change.
	b := newBins((cellOf(s.last, step)+1-int64(n))*step, step, n)
	b.want(m)
	s.collect(k, b)
	return b.values(m)
}

// Value returns a metric of a key as it was at a time; NaN if that is not known.
func (s *Store) Value(k Key, m Metric, at time.Time) float64 {
	var v [1]float64
	s.Values(k, m, []time.Time{at}, v[:])
	return v[0]
}

// Values is Value at several times, one after the other into values.
func (s *Store) Values(k Key, m Metric, at []time.Time, values []float64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	number, ok := s.keys.numbers[k]
	for i, t := range at {
		values[i] = math.NaN()
		if ok {
			values[i] = float64(decode(s.codeAt(number, m, ms(t))))
		}
	}
}

func (s *Store) codeAt(number uint32, m Metric, t int64) code {
	if t <= s.keys.list[number].born {
		return notKnown
	}
	if rows := s.open.rows; len(rows) > 0 && t > rows[0].from {
		return s.open.at(number, m, rowAt(rows, t))
	}
	i := pageAt(s.pages, t)
	if i == len(s.pages) {
		return notKnown
	}
	p := s.pages[i]
	row, record := rowAt(p.rows, t), p.record(number)
	if row < 0 || record == nil {
		return notKnown
	}
	return codeAt(record, m, row, len(p.rows))
}

// Mean returns the mean of a rate, or the highest of any other metric, over a time;
// NaN if nothing is known of it.
func (s *Store) Mean(k Key, m Metric, from, to time.Time) float64 {
	start, end := ms(from), ms(to)
	if end <= start {
		return math.NaN()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	b := newBins(start, end-start, 1)
	b.want(m)
	s.collect(k, b)
	return b.values(m)[0]
}

// Bytes returns how much memory is taken now. It is within MaxBytes.
func (s *Store) Bytes() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := s.keys.bytes() + s.open.bytes() + s.pagesBytes()
	for _, m := range s.marks {
		n += 56 + int64(len(m.Node)+len(m.What))
	}
	return n
}

// rowAt returns the row that tells of t, -1 if none does.
func rowAt(rows []span, t int64) int {
	i, _ := slices.BinarySearchFunc(rows, t, func(r span, t int64) int { return cmpTo(r.to, t) })
	if i == len(rows) || rows[i].from >= t {
		return -1
	}
	return i
}

// pageAt returns the first page that does not end before t.
func pageAt(pages []*page, t int64) int {
	i, _ := slices.BinarySearchFunc(pages, t, func(p *page, t int64) int { return cmpTo(p.to(), t) })
	return i
}

func cmpTo(to, t int64) int {
	if to < t {
		return -1
	}
	return 1
}

func (o *openPage) at(number uint32, m Metric, row int) code {
	i := int(number)*int(Metrics) + int(m)
	if row < 0 || i >= len(o.codes[row]) {
		return notKnown
	}
	return o.codes[row][i]
}

// collect puts what is known of a key into bins.
func (s *Store) collect(k Key, b *bins) {
	number, ok := s.keys.numbers[k]
	if !ok {
		return
	}
	born := s.keys.list[number].born
	var columns [Metrics]column
	for _, p := range s.pages[pageAt(s.pages, b.start+1):] {
		if p.from() >= b.end() {
			return
		}
		if record := p.record(number); record != nil {
			b.read(record, &columns, len(p.rows))
			b.take(p.rows, &columns, born)
		}
	}
	if s.open.read(number, &columns) {
		b.take(s.open.rows, &columns, born)
	}
}

// bins collect values by time.
type bins struct {
	start, step int64
	n           int
	wanted      []Metric
	sum, weight [Metrics][]float64 // of rates: their sum times their time, and that time; else the highest, and 1
}

func newBins(start, step int64, n int) *bins { return &bins{start: start, step: step, n: n} }

func (b *bins) want(m Metric) {
	b.wanted = append(b.wanted, m)
	both := make([]float64, 2*b.n)
	b.sum[m], b.weight[m] = both[:b.n:b.n], both[b.n:]
}

func (b *bins) end() int64 { return b.start + int64(b.n)*b.step }

func (b *bins) read(record []byte, columns *[Metrics]column, rows int) {
	for _, m := range b.wanted {
		column, mode := skipTo(record, m, rows)
		readColumn(column, mode, columns[m][:rows])
	}
}

func (b *bins) take(rows []span, columns *[Metrics]column, born int64) {
	for i, r := range rows {
		if r.to <= born || r.to <= b.start || r.from >= b.end() {
			continue
		}
		first := max(r.from-b.start, 0) / b.step
		for bin := first; bin < int64(b.n) && b.start+bin*b.step < r.to; bin++ {
			low := b.start + bin*b.step
			overlap := min(r.to, low+b.step) - max(r.from, low)
			// A value that was measured once counts in the point that has the middle of its
			// time, and in those of which it has the middle. So none is lost, none is twice in
			// points that are longer, and there is no hole in those that are shorter.
			middle, rowMiddle := 2*low+b.step, r.from+r.to // twice that
			most := 2*r.from < middle && middle <= 2*r.to || 2*low < rowMiddle && rowMiddle <= 2*(low+b.step)
			b.put(int(bin), float64(overlap), most, columns, i)
		}
	}
}

// put puts a row's values into a bin. overlap is how much of its time is the bin's,
// and most whether what was measured once counts in it.
func (b *bins) put(bin int, overlap float64, most bool, columns *[Metrics]column, row int) {
	for _, m := range b.wanted {
		c := columns[m][row]
		switch {
		case c == notKnown:
		case m.rate():
			b.sum[m][bin] += float64(decode(c)) * overlap
			b.weight[m][bin] += overlap
		case most:
			b.sum[m][bin] = max(b.sum[m][bin], float64(decode(c)))
			b.weight[m][bin] = 1
		}
	}
}

func (b *bins) values(m Metric) []float64 {
	for i, w := range b.weight[m] {
		if w == 0 {
			b.sum[m][i] = math.NaN()
		} else {
			b.sum[m][i] /= w
		}
	}
	return b.sum[m]
}

func (b *bins) times() []time.Time {
	times := make([]time.Time, b.n)
	for i := range times {
		times[i] = time.UnixMilli(b.start + int64(i)*b.step).UTC()
	}
	return times
}
