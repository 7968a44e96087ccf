// Package queue is the heart of qd: what a topic is, what a channel is, and
// what becomes of a message between its publication and its FIN.
//
// A topic is a sequence of messages in blocks of wire-ready frames. A channel
// is a cursor into that sequence, a window over what was delivered and is not
// finished, and the parked: messages out of line because they were requeued,
// timed out or deferred. A consumer takes runs: contiguous frames of a block,
// leased to it until a deadline.
//
// The package is pure. It has no clock (every call that needs the time is
// given it), no I/O (what must go to disk or come from it is handed out as
// Work), no goroutine and no lock: the owner of a Topic serialises all calls
// on it, its channels and its consumers. Only the bytes of a Run may be used
// outside that, until the run is released.
//
// All times are nanoseconds since the Unix epoch.
//
// # Positions
//
// Messages are counted by position. A topic's end is the position behind its
// newest message; fanned, the position up to which its blocks were handed to
// the channels; a channel's cursor, the position of the next message that it
// delivers for the first time. Depths are differences of these and so cannot
// drift:
//
//	cursor ≤ fanned, or the channel holds no blocks of its own
//	fanned ≤ limit ≤ end, limit being the pause position or else the end
//	channel depth = limit − cursor
//
// Blocks are handed out late: only when the fastest channel needs one. Until
// then they lie in the topic's backlog, once, however many channels there are.
//
// # Topics with a log
//
// In a topic that was made by NewLoggedTopic a position is a message's place in
// its log, for good. Publishing has two steps: Stage puts messages where no
// channel sees them, the owner writes them, and Commit lets the channels have
// them. There is no fanned: a channel takes blocks at its cursor from the topic's
// memory, or has them loaded. Some positions are holes, without a message:
//
//	first ≤ cursor ≤ limit ≤ end ≤ next, first being the oldest kept position
//	channel depth = limit − cursor, less the holes between, and the parked that are ready
//
// Parked messages are entries without bodies, which lie in the log or in the side
// log; Side tells which.
package queue
