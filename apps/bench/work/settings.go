// Package work is what bench measures: the workloads, each of which drives a
// broker in its own way and gives figures, and the suite that runs all of them
// against a broker and the null broker in turn.
//
// Throughput is measured in passes. A pass has a topic of its own and a bounded
// number of messages, so that a fast broker does not fill the machine's memory;
// passes follow each other, untimed preparations between them, until enough
// time was measured.
package work

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/load"
)

// Settings is the load that the workloads put on a broker.
type Settings struct {
	Messages    int64   // most messages in a pass
	Seconds     float64 // to measure, and the longest that a pass publishes
	Size        int     // bytes of a body
	Batch       int     // messages in an MPUB
	Producers   int     // publishing connections
	Consumers   int     // consuming connections of a channel
	Window      int     // MPUBs that a producer keeps unanswered
	RDY         int     // of a consumer; 0 is the most that the broker allows
	Channels    int     // of fanout
	Connections int     // of single
	InFlight    int     // PUBs that a connection of single keeps unanswered
	Waiters     int     // publishing connections of waiting
	Conns       int     // publishing connections of http
	Rate        int     // of latency, messages a second
	Topics      int     // of idle
	Stall       time.Duration

	TLS     bool   // over TLS
	TLSCA   string // file of the roots that vouch for the broker; nobody need if empty
	Snappy  bool
	Deflate int // level; 0 for none
}

// Common declares the flags that every workload has.
func (s *Settings) Common(fs *flag.FlagSet) {
	fs.Float64Var(&s.Seconds, "seconds", 3, "measure for this many `seconds`; passes follow each other until then")
	fs.IntVar(&s.Size, "size", 200, "`bytes` of a message body")
	fs.DurationVar(&s.Stall, "stall", 10*time.Second, "give up when nothing happens for this `duration`")
}

// Streaming declares the flags of the workloads that stream batches.
func (s *Settings) Streaming(fs *flag.FlagSet) {
	s.Passes(fs)
	fs.IntVar(&s.Batch, "batch", 200, "`messages` in an MPUB; 1 sends PUBs")
	fs.IntVar(&s.Producers, "producers", 1, "publishing `connections`")
	fs.IntVar(&s.Window, "window", 4, "`commands` that a producer keeps unanswered")
	s.consuming(fs)
}

// Passes declares the flag that bounds a pass.
func (s *Settings) Passes(fs *flag.FlagSet) {
	fs.Int64Var(&s.Messages, "messages", 2_000_000, "at most this many `messages` in a pass, shared by the channels of fanout")
}

func (s *Settings) consuming(fs *flag.FlagSet) {
	fs.IntVar(&s.Consumers, "consumers", 1, "consuming `connections` of each channel")
	fs.IntVar(&s.RDY, "rdy", 0, "RDY `count` of a consumer; 0 is the most that the broker allows")
}

// FanOut declares the flags of fanout beside Streaming's.
func (s *Settings) FanOut(fs *flag.FlagSet) {
	fs.IntVar(&s.Channels, "channels", 8, "`channels` of the topic of fanout")
}

// Single declares the flags of single.
func (s *Settings) Single(fs *flag.FlagSet) {
	fs.IntVar(&s.Connections, "connections", 1, "publishing `connections` of single")
	fs.IntVar(&s.InFlight, "in-flight", 100, "`PUBs` that a connection of single keeps unanswered")
}

// Waiting declares the flag of waiting.
func (s *Settings) Waiting(fs *flag.FlagSet) {
	fs.IntVar(&s.Waiters, "waiters", 64, "publishing `connections` of waiting, with one PUB in flight each")
}

// Posting declares the flag of http.
func (s *Settings) Posting(fs *flag.FlagSet) {
	fs.IntVar(&s.Conns, "conns", 64, "keep-alive `connections` of http, with one POST in flight each")
}

// Latencies declares the flags of latency.
func (s *Settings) Latencies(fs *flag.FlagSet) {
	fs.IntVar(&s.Rate, "rate", 5000, "`messages` a second of latency")
}

// Idle declares the flags of idle.
func (s *Settings) Idle(fs *flag.FlagSet) {
	fs.IntVar(&s.Topics, "topics", 2000, "`topics` of idle")
}

// Validate reports every setting that is out of range. Settings whose flags
// were not declared are zero and not looked at.
func (s *Settings) Validate(fs *flag.FlagSet) error {
	var errs []error
	least := func(name string, value, least int64) {
		if fs.Lookup(name) != nil && value < least {
			errs = append(errs, fmt.Errorf("--%s %d: must be %d or more", name, value, least))
		}
	}
	least("messages", s.Messages, 1)
	least("size", int64(s.Size), load.MinSize)
	least("batch", int64(s.Batch), 1)
	least("producers", int64(s.Producers), 1)
	least("consumers", int64(s.Consumers), 1)
	least("window", int64(s.Window), 1)
	least("rdy", int64(s.RDY), 0)
	least("channels", int64(s.Channels), 1)
	least("connections", int64(s.Connections), 1)
	least("in-flight", int64(s.InFlight), 1)
	least("waiters", int64(s.Waiters), 1)
	least("conns", int64(s.Conns), 1)
	least("rate", int64(s.Rate), 1)
	least("topics", int64(s.Topics), 1)
	errs = append(errs, s.checkLayers()...)
	if s.Seconds <= 0 {
		errs = append(errs, fmt.Errorf("--seconds %v: must be positive", s.Seconds))
	}
	if s.Stall <= 0 {
		errs = append(errs, fmt.Errorf("--stall %v: must be positive", s.Stall))
	}
	return errors.Join(errs...)
}

func (s *Settings) duration() time.Duration {
	return time.Duration(s.Seconds * float64(time.Second))
}
