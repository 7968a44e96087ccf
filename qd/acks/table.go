// #nosec G115 -- a digit of the radix sort: the lower byte, on purpose.

package acks

// minTail is below how many entries a tail is left as it is.
const minTail = 1 << 16

// table is entries by ID, for very many of them: no map, and not much more
// memory than the entries take.
type table struct {
	entries []Entry // up to sorted: ascending, one an ID, none gone; then as they came
	sorted  int
	scratch []Entry // fold's
}

// put adds an entry, in place of the one with its ID. A dropped one has the
// state gone.
func (t *table) put(e Entry) {
	inOrder := t.sorted == len(t.entries) && e.State != gone && (t.sorted == 0 || t.entries[t.sorted-1].ID < e.ID)
	t.entries = append(t.entries, e)
	if inOrder {
		t.sorted++
	} else if len(t.entries)-t.sorted > max(minTail, t.sorted/4) {
		t.fold()
	}
}

// all returns the entries. They are the table's own.
func (t *table) all() []Entry {
	t.fold()
	return t.entries
}

// fold sorts the tail in. It merges from the end, where the tail was, and then
// moves everything to the front.
func (t *table) fold() {
	n := len(t.entries) - t.sorted
	if n == 0 {
		return
	}
	if len(t.scratch) < 2*n {
		t.scratch = make([]Entry, 2*n)
	}
	copy(t.scratch, t.entries[t.sorted:])
	tail := newest(sortByID(t.scratch[:n], t.scratch[n:2*n]))
	i, j, k := t.sorted-1, len(tail)-1, len(t.entries)
	for j >= 0 {
		e := tail[j]
		if i >= 0 && t.entries[i].ID > e.ID {
			e = t.entries[i]
			i--
		} else {
			if i >= 0 && t.entries[i].ID == e.ID {
				i--
			}
			j--
		}
		if e.State != gone {
			k--
			t.entries[k] = e
		}
	}
	n = copy(t.entries[i+1:], t.entries[k:])
	t.entries = t.entries[:i+1+n]
	t.sorted = len(t.entries)
}

// newest keeps the last of the entries with one ID, in place.
func newest(sorted []Entry) []Entry {
	n := 0
	for i, e := range sorted {
		if i+1 == len(sorted) || sorted[i+1].ID != e.ID {
			sorted[n] = e
			n++
		}
	}
	return sorted[:n]
}

// sortByID sorts a, with b of the same length as room, and returns the one of
// them that is sorted. Entries with one ID keep their order. It goes by the
// IDs' bytes, the lowest first, and leaves out those that all have in common:
// for millions in no order it is several times faster than comparing them.
func sortByID(a, b []Entry) []Entry {
	same, first := ^uint64(0), uint64(0)
	for i := range a {
		if i == 0 {
			first = a[i].ID
		}
		same &^= a[i].ID ^ first
	}
	for shift := 0; shift < 64; shift += 8 {
		if byte(same>>shift) == 0xff {
			continue
		}
		var at [256]int // where the next with this byte goes
		for i := range a {
			at[byte(a[i].ID>>shift)]++
		}
		sum := 0
		for i, n := range at {
			at[i], sum = sum, sum+n
		}
		for i := range a {
			k := byte(a[i].ID >> shift)
			b[at[k]] = a[i]
			at[k]++
		}
		a, b = b, a
	}
	return a
}
