package history

import "time"

// span is the time that a row tells of, in ms since the Unix epoch: what came behind
// from, up to and with to. Gauges (depth and the like) were measured at to, or at some
// time within if the row was made of others. held is how much of it was measured, at
// most its length.
type span struct {
	from, to int64
	held     int64
}

// page is some rows of history of all keys, at most pageRows, by time. It never
// changes, so it is read without a lock.
type page struct {
	rows  []span
	step  int64    // ms that rows were laid to; 0 if they are as they came
	index []uint32 // by key's number: where its record is; nowhere if it has none
	slabs [][]byte
	bytes int64 // what all this takes
}

const (
	slabBytes = 64 << 10
	nowhere   = uint32(1<<32 - 1)

	// pageMost is what a key can take of a page, all told: a slab's end that is too
	// short for the next record is a hundredth.
	pageMost = 4 + int64(recordMost)*102/100
)

func (p *page) from() int64 { return p.rows[0].from }
func (p *page) to() int64   { return p.rows[len(p.rows)-1].to }

// record returns a key's record, nil if there is none. What follows it in the slab
// is not cut off: a record knows its length.
func (p *page) record(number uint32) []byte {
	if int(number) >= len(p.index) || p.index[number] == nowhere {
		return nil
	}
	at := p.index[number]
	return p.slabs[at/slabBytes][at%slabBytes:]
}

// pageWriter makes a page, key by key.
type pageWriter struct {
	page
	slab []byte // the last one, that has room yet
}

func newPageWriter(rows []span, step int64, keys int) *pageWriter {
	return &pageWriter{page: page{rows: rows, step: step, index: make([]uint32, 0, keys)}}
}

// add takes the next key's record.
func (w *pageWriter) add(columns *[Metrics]column) {
	if allUnknown(columns, len(w.rows)) {
		w.addNone()
		return
	}
	if len(w.slab)+recordMost > slabBytes || w.slab == nil {
		w.turn()
	}
	w.place()
	w.slab = appendRecord(w.slab, columns, len(w.rows))
}

// addNone says that there is nothing of the next key.
func (w *pageWriter) addNone() { w.index = append(w.index, nowhere) }

// addRecord takes the next key's record as it is.
func (w *pageWriter) addRecord(record []byte) {
	if len(w.slab)+len(record) > slabBytes || w.slab == nil {
		w.turn()
	}
	w.place()
	w.slab = append(w.slab, record...)
}

func (w *pageWriter) place() {
	// #nosec G115 -- a page ends long before 4 GiB
	w.index = append(w.index, uint32(len(w.slabs)*slabBytes+len(w.slab)))
}

func (w *pageWriter) turn() {
	if w.slab != nil {
		w.slabs = append(w.slabs, w.slab)
	}
	w.slab = make([]byte, 0, slabBytes)
}

// finish returns the page. The last slab is cut to its length: with few keys it is
// nearly empty.
func (w *pageWriter) finish() *page {
	if w.slab != nil {
		w.slabs = append(w.slabs, append([]byte(nil), w.slab...))
		w.slab = nil
	}
	w.bytes = int64(len(w.rows))*24 + int64(cap(w.index))*4 + int64(len(w.slabs))*24 + 200
	for _, s := range w.slabs {
		w.bytes += int64(cap(s))
	}
	return &w.page
}

func allUnknown(columns *[Metrics]column, rows int) bool {
	for m := range columns {
		for _, c := range columns[m][:rows] {
			if c != notKnown {
				return false
			}
		}
	}
	return true
}

// ms is a time as rows have it. Times that no clock shows become the first or last that
// one could.
func ms(t time.Time) int64 {
	switch y := t.Year(); {
	case y < -5000:
		return -timeMost
	case y > 10000:
		return timeMost
	}
	return t.UnixMilli()
}
