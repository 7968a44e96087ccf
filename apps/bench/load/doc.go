// Package load is the cheap half of a measurement: producers and consumers that
// cost the machine little next to the broker they drive. Producers stream
// commands built beforehand and only count what comes back; consumers take
// what a read brings and answer all of it in one write.
//
// Cheap is not blind: every message carries a tag of its own, consumers mark
// the tags they see in a bitmap, and the Audit of a channel tells afterwards
// which messages are missing and which came twice.
//
// What is opened here closes its connections when the context of its Run ends,
// or by its Close if it is never run.
package load

// Every body begins with its tag and the time at which it was due.
const (
	tagOffset = 0 // producer and number, see tag
	dueOffset = 8 // nanoseconds since the Latency began

	// MinSize is the smallest message body in bytes that holds both.
	MinSize = 16
)
