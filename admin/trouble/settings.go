package trouble

import "time"

// Settings are the thresholds. Zero is the default. A trouble that is there stays
// until the figure is a tenth better than its threshold.
type Settings struct {
	// Linger is for how long a trouble stays after its cause was last seen, if it is of a
	// kind that comes and goes with every sample: that is one trouble, not many. 15 s, but
	// two periods at least.
	Linger time.Duration

	// A backlog grows if it has grown by so many messages (1,000), and by that share of
	// what it was (0.1), within GrowIn (10 min; as far back as is known, 2 min at least),
	// and most of that for a minute: a burst is no trouble.
	GrowBy    int64
	GrowShare float64
	GrowIn    time.Duration

	// Messages that time out are worth telling from so many a minute (6) that are also
	// that share of what is delivered (0.01); those requeued likewise (60 and 0.1):
	// consumers requeue on purpose, too.
	TimeoutsPerMinute, TimeoutShare float64
	RequeuesPerMinute, RequeueShare float64

	// Stuck is for how long nothing is finished, though messages wait and consumers are
	// connected, before that is a trouble. 3 min.
	Stuck time.Duration

	// DiskFree is the share of free space below which it is a trouble (0.1), DiskUrgent
	// below which it is one that cannot wait (0.03).
	DiskFree, DiskUrgent float64

	// Memory is the share of a node's limit that messages take, from which it is a
	// trouble. 0.9.
	Memory float64

	// Full is the share of a topic's max_messages from which its longest backlog is a
	// trouble (0.9); so it is if it gets there within FullIn (1 h).
	Full   float64
	FullIn time.Duration

	// Unlisted is for how long lookupds may disagree about a node. A node registers
	// with one after the other. 1 min.
	Unlisted time.Duration

	// Down is for how long a node does not answer before it is down. 3 s, but always
	// longer than a period: one missed poll is no news.
	Down time.Duration

	// Missing is for how long a node that is no longer there at all is told of. 1 h.
	Missing time.Duration
}

func (s Settings) withDefaults() Settings {
	s.Linger = or(s.Linger, 15*time.Second)
	s.GrowBy = or(s.GrowBy, 1000)
	s.GrowShare = or(s.GrowShare, 0.1)
	s.GrowIn = or(s.GrowIn, 10*time.Minute)
	s.TimeoutsPerMinute = or(s.TimeoutsPerMinute, 6)
	s.TimeoutShare = or(s.TimeoutShare, 0.01)
	s.RequeuesPerMinute = or(s.RequeuesPerMinute, 60)
	s.RequeueShare = or(s.RequeueShare, 0.1)
	s.Stuck = or(s.Stuck, 3*time.Minute)
	s.DiskFree = or(s.DiskFree, 0.1)
	s.DiskUrgent = or(s.DiskUrgent, 0.03)
	s.Memory = or(s.Memory, 0.9)
	s.Full = or(s.Full, 0.9)
	s.FullIn = or(s.FullIn, time.Hour)
	s.Unlisted = or(s.Unlisted, time.Minute)
	s.Down = or(s.Down, 3*time.Second)
	s.Missing = or(s.Missing, time.Hour)
	return s
}

func or[T int64 | float64 | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}
