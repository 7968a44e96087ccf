// Package history keeps what was measured of all topics and channels for a week, in
// memory that is bounded whatever they do, and makes rates of daemons' counters.
//
// # How much it takes
//
// All keys' values of up to 32 samples are a page, packed (record.go): what is idle
// takes six bytes a page, what is moved by random all of 542. Pages do not change. One
// that is older than Keep becomes part of a coarser one, and where pages find no room,
// neighbours become one of half as many rows: those first that are shortest for their
// age (lay.go). So what is recent is as fine as it came, each age is as fine as memory
// allows, and no part of the week is ever missing.
//
// The bound holds because a new key is taken only if its name, its place among the last
// samples, two pages' part and one page's in the making find room in MaxBytes for all
// keys at their worst (keys.room), and pages are laid together until what is left of
// MaxBytes is enough for what may come before the next look (shrink). With 128 MiB that
// is room for some fifty thousand keys. If there are more, the busy ones have history.
//
// The bound is of what is kept. As with all that is collected, the process holds as much
// again in what is no longer used, unless it limits itself (debug.SetMemoryLimit).
//
// # Time
//
// A sample's rates are of the time since the sample before, and its depths of the
// moment. If there was no sample for a minute, there is a gap. The newest clock is
// right: when it is set back, what was kept of the time that is yet to come is dropped,
// and a mark says so; when it is set ahead, there is a gap.
//
// # Rates
//
// A Meter takes a daemon's counters and tells messages per second:
//
//   - A rate is what a counter has risen by, through the time between the two answers,
//     however many polls were missed between them. So what came meanwhile is spread over
//     that time, and is no spike.
//   - A daemon has restarted if its start time is another. A topic or channel was made
//     again if one of its counters has fallen. What was counted before and since cannot
//     be told apart, so for this one answer the rate is what it was before; from the next
//     one on it is measured. If nothing was known for Patience, it is unknown for one
//     answer.
//   - While a daemon does not answer, its last rates stand for Patience. Then they are
//     unknown, and sums are of the others.
//   - A topic or channel that was not in the answer before began with nothing: all that
//     it has counted is new. One that a daemon has when it is first met, or first since
//     its restart, may have counted for years: its rate is unknown for one answer.
//   - One that an answer does not have is gone, and another if it comes again.
//
// There are two of each rate. The one since the last answer is for the Store, which
// must not count anything twice. The one over some ten seconds is for people: figures
// that hop with each poll cannot be read. Ten seconds after the last message it is 0.
package history
