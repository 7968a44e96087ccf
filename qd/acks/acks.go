// Package acks keeps what a channel has done with its messages: how far it
// has delivered, what is not answered, what was requeued, deferred or is dead.
// It is written behind, so that a crash can repeat a message, never lose one.
//
// A file is a snapshot and the deltas since. It is only ever appended to, or
// replaced whole. What is not certain is not believed: a state is always one
// that was handed over, and the newest of which nothing before it is missing.
package acks

// EntryState is what has become of a message out of line.
type EntryState uint8

const (
	Waiting EntryState = iota // it is delivered when it is due
	Dead                      // it is kept and not delivered

	gone EntryState = 0xff // in a table: dropped; in no file and no result
)

// Entry is a message out of line.
type Entry struct {
	ID       uint64
	Place    uint64 // where its body is; opaque here
	Due      int64  // ns since the Unix epoch when it is ready; 0: it was in line; of a dead one: when it died
	Attempts uint16
	State    EntryState
	Reason   uint8 // opaque here
}

// Range is the positions p with From ≤ p < To. It is never empty.
type Range struct{ From, To uint64 }

// Delta is what has changed since the one before or, with Reset, everything.
type Delta struct {
	Reset    bool
	Cursor   uint64   // position of the next first delivery
	Deferred uint64   // position up to which deferred publishes were taken in
	Open     []Range  // delivered and not answered, below Cursor: all of them, ascending, not overlapping
	Changes  []Change // in order
}

// Change is an entry that is added or replaces the one with its ID or, if Gone,
// an ID that is dropped. Of one that is gone only the ID is kept.
type Change struct {
	Entry
	Gone bool
}

// State is what all deltas up to one come to.
type State struct {
	Cursor   uint64
	Deferred uint64
	Open     []Range
	Entries  []Entry // ascending by ID, one for each
}

// Finding is what was not as it should be with a file.
type Finding struct {
	Missing bool // there was no file, or an empty one

	// Torn is how many bytes at the end belong to a delta that was not written
	// whole: a crash leaves that, and only what was not synced is lost.
	Torn int64

	// Damaged is in how many places what is not the end is unreadable. No delta
	// from the first of them on was applied: without the lost one a message could
	// be taken for finished. Of a damaged snapshot nothing was. After a power cut
	// it can be that a delta was lost and a later one kept, none of them synced.
	Damaged int
	Behind  int    // whole deltas behind the first damage, not applied
	Aside   string // a copy of the damaged file; Open makes it, Load does not

	From int64 // offset of the torn or first damaged delta
}
