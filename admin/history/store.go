package history

import (
	"sync"
	"time"
)

// Key names a series: the totals of all nodes (all empty), a node (Node alone), a
// topic over all nodes (Topic alone), a channel over all nodes (Topic and Channel), or
// what a topic or channel does on one node.
type Key struct{ Node, Topic, Channel string }

// Metric is what a series tells of.
type Metric uint8

// The metrics. The first four are rates, in messages per second; the others are
// numbers of messages.
const (
	In Metric = iota
	Out
	Requeue
	Timeout
	Depth
	InFlight
	Deferred
	Dead

	Metrics // how many there are
)

var metricNames = [Metrics]string{"in", "out", "requeue", "timeout", "depth", "in_flight", "deferred", "dead"}

// String returns the metric's name, as it stands in URLs and JSON.
func (m Metric) String() string {
	if m < Metrics {
		return metricNames[m]
	}
	return "unknown"
}

// rate says whether the metric is per second: such are averaged over time, of others
// the highest counts.
func (m Metric) rate() bool { return m <= Timeout }

// Sample is what was measured of a key. A value that is NaN or negative is not known.
type Sample struct {
	Key
	Values [Metrics]float32
}

// Settings say how much a Store keeps. Zero is the default.
type Settings struct {
	Step       time.Duration // samples that come closer are put together; 2 s
	Keep       time.Duration // how long they are kept as they came; 1 h
	CoarseStep time.Duration // what older ones are put together to; 10 min
	CoarseKeep time.Duration // how long these are kept; 7 days
	MaxBytes   int64         // of memory, all told; 128 MiB. What does not fit is kept coarser, the oldest first; least 1 MiB
}

func (s Settings) withDefaults() Settings {
	set := func(d *time.Duration, least, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
		*d = max(*d, least)
	}
	set(&s.Step, time.Millisecond, 2*time.Second)
	set(&s.Keep, s.Step, time.Hour)
	set(&s.CoarseStep, s.Step, 10*time.Minute)
	set(&s.CoarseKeep, s.Keep, 7*24*time.Hour)
	if s.MaxBytes <= 0 {
		s.MaxBytes = 128 << 20
	}
	s.MaxBytes = max(s.MaxBytes, 1<<20)
	return s
}

// Store keeps series in bounded memory. It is safe for concurrent use.
type Store struct {
	set Settings

	// adding serialises those who change what is kept. Whoever holds it may read
	// everything below without mu. Lock order: adding → mu. Neither is held across I/O.
	adding sync.Mutex

	mu    sync.RWMutex // guards below; changed only by who holds adding, too
	keys  keys
	open  openPage
	pages []*page // by time, none overlaps another; the slice is replaced, never changed
	marks []Mark  // by time
	last  int64   // up to when anything was added, ms
	going bool    // the last row was added by this process: the next one follows it
}

// New returns an empty Store.
func New(s Settings) *Store {
	return &Store{set: s.withDefaults(), keys: newKeys()}
}

// Add takes what was measured at a time. A sample's rates are of the time since the
// Add before, if that was within a minute; longer ones leave a gap. If the time is
// before that of an earlier Add, the clock was set back: what was kept of the time
// that has now not come yet is dropped, and a mark says so.
func (s *Store) Add(at time.Time, samples []Sample) {
	s.adding.Lock()
	defer s.adding.Unlock()
	t := ms(at)
	if t < s.last && s.known() {
		s.goBack(t)
	}
	if t == s.last && s.known() {
		return
	}

	s.mu.Lock()
	grown := s.keys.resolve(samples, t, s.most())
	if !s.fold(t, samples) {
		s.addRow(t, samples)
	}
	s.last, s.going = t, true
	s.mu.Unlock()

	switch {
	case len(s.open.rows) == pageRows:
		s.tend()
	case grown:
		s.shrink()
	}
}

// known says whether anything is kept.
func (s *Store) known() bool { return len(s.pages) > 0 || len(s.open.rows) > 0 }

// bridge is the longest time between two Adds of which the second tells: a poll or
// two that were missed, or polls that are far between because there is so much.
func (s *Store) bridge() int64 { return max(time.Minute, 3*s.set.Step).Milliseconds() }

func (s *Store) addRow(t int64, samples []Sample) {
	r := span{from: t - s.set.Step.Milliseconds(), to: t}
	if s.going && t-s.last <= s.bridge() {
		r.from = s.last
	}
	r.from = max(r.from, s.open.to(s.pages))
	r.held = r.to - r.from
	row := s.open.add(r, s.keys.count())
	for i, n := range s.keys.resolved {
		if n == nowhere {
			continue
		}
		put(row, n, &samples[i].Values)
	}
}

func put(row []code, number uint32, values *[Metrics]float32) {
	to := row[number*uint32(Metrics):][:Metrics]
	for m, v := range values {
		to[m] = encode(v)
	}
}

// fold puts a sample that comes early, because somebody asked for it, together with
// the row before. It reports false if it does not come early.
func (s *Store) fold(t int64, samples []Sample) bool {
	n := len(s.open.rows)
	if n == 0 || !s.going {
		return false
	}
	r := &s.open.rows[n-1]
	step := s.set.Step.Milliseconds()
	if t-r.from > step+step/10 {
		return false
	}
	was, is := float32(r.held), float32(t-r.to)
	row := s.open.widen(n-1, s.keys.count())
	for i, number := range s.keys.resolved {
		if number == nowhere {
			continue
		}
		to := row[number*uint32(Metrics):][:Metrics]
		if s.keys.list[number].born >= r.to {
			clear(to) // it tells of another key
		}
		for m, v := range samples[i].Values {
			to[m] = folded(Metric(m), to[m], was, encode(v), is)
		}
	}
	r.held += t - r.to
	r.to = t
	return true
}

// folded is one value for two times of such lengths.
func folded(m Metric, a code, lengthA float32, b code, lengthB float32) code {
	if !m.rate() || a == notKnown || b == notKnown {
		return max(a, b) // what is not known is the lowest
	}
	return encode((decode(a)*lengthA + decode(b)*lengthB) / (lengthA + lengthB))
}

// openPage is the rows that came last, as they came. Their memory is used again for
// the next ones.
type openPage struct {
	rows  []span
	codes [pageRows][]code // of each row: all metrics of the first key, of the second, …
}

// to is up to when anything is kept, 0 if nothing is.
func (o *openPage) to(pages []*page) int64 {
	if n := len(o.rows); n > 0 {
		return o.rows[n-1].to
	}
	if n := len(pages); n > 0 {
		return pages[n-1].to()
	}
	return -1 << 62
}

// add begins a row in which nothing is known yet.
func (o *openPage) add(r span, keys int) []code {
	if o.rows == nil {
		o.rows = make([]span, 0, pageRows)
	}
	n := len(o.rows)
	o.rows = append(o.rows, r)
	o.codes[n] = o.codes[n][:0]
	return o.widen(n, keys)
}

// widen gives a row room for so many keys.
func (o *openPage) widen(n, keys int) []code {
	row, need := o.codes[n], keys*int(Metrics)
	if cap(row) < need {
		row = append(make([]code, 0, need), row...)
	}
	was := len(row)
	row = row[:max(was, need)]
	clear(row[was:])
	o.codes[n] = row
	return row
}

// read copies a key's values. It reports false if there is none.
func (o *openPage) read(number uint32, columns *[Metrics]column) bool {
	first := int(number) * int(Metrics)
	found := false
	for i := range o.rows {
		row := o.codes[i]
		if first >= len(row) {
			for m := range columns {
				columns[m][i] = notKnown
			}
			continue
		}
		found = true
		for m, c := range row[first:][:Metrics] {
			columns[m][i] = c
		}
	}
	return found
}

func (o *openPage) bytes() int64 {
	n := int64(cap(o.rows)) * 24
	for i := range o.codes {
		n += int64(cap(o.codes[i])) * 2
	}
	return n
}
