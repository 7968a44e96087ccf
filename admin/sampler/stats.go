package sampler

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// Most topics and channels that a daemon may have. Beyond that it is none, or we have not
// the memory to watch it.
const (
	maxTopics   = 200_000
	maxChannels = 500_000
)

// stats is what a daemon answered to /stats. Once it is made it is not changed: snapshots
// share it.
type stats struct {
	version, health string
	started         time.Time // whole seconds; zero: not told
	state           string
	millrace        bool // something in it is ours alone

	diskFree, diskSize, memoryUsed, memoryLimit uint64

	topics []fleet.NodeTopic // by name
	// now has the rates since the reading before: of each topic, and behind it of each of
	// its channels. Those in topics are over the last few seconds.
	now []rates

	left  int   // topics and channels that were left out: their names are no names
	bytes int64 // of the answer
}

// rates are fleet.Rates in half the space.
type rates struct{ in, out, requeue, timeout float32 }

// statsReader reads an answer to /stats, a topic at a time.
type statsReader struct {
	*parser
	names *names
	node  string
	// before is what the daemon told last. Names are probably the same, and in the same
	// order; it says how much memory will be needed.
	before []fleet.NodeTopic

	into     *stats
	channels []fleet.NodeChannel // room for more
	scratch  []fleet.NodeChannel // of the topic at hand
	count    int                 // of channels
}

// readStats reads what a daemon answers to /stats?format=json.
func readStats(from io.Reader, node string, n *names, before []fleet.NodeTopic) (*stats, error) {
	r := &statsReader{parser: newParser(from), names: n, node: node, before: before, into: &stats{}}
	r.into.topics = make([]fleet.NodeTopic, 0, len(before)+len(before)/32+4)
	seen := false
	err := r.object(func(name []byte) error {
		if string(name) == `"topics"` {
			seen = true
			return r.array(r.topic)
		}
		return r.field(name)
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer is not what NSQ's daemons answer: %w", err)
	case !seen:
		return nil, errors.New("the answer is not what NSQ's daemons answer: it has no topics")
	}
	s := r.into
	s.bytes = r.guard.read
	s.sort()
	return s, nil
}

// field reads a field of the whole.
func (r *statsReader) field(name []byte) error {
	s := r.into
	switch string(name) {
	case `"version"`:
		return r.str(&s.version)
	case `"health"`:
		return r.str(&s.health)
	case `"start_time"`:
		return r.time(time.Second, &s.started)
	case `"node"`:
		s.millrace = true
		return r.object(func(name []byte) error {
			switch string(name) {
			case `"state"`:
				return r.str(&s.state)
			case `"disk_free"`:
				return r.uint(&s.diskFree)
			case `"disk_size"`:
				return r.uint(&s.diskSize)
			case `"memory_used"`:
				return r.uint(&s.memoryUsed)
			case `"memory_limit"`:
				return r.uint(&s.memoryLimit)
			}
			return r.SkipValue()
		})
	}
	return r.SkipValue()
}

// topic reads one of the topics.
func (r *statsReader) topic() error {
	s := r.into
	if len(s.topics) >= maxTopics {
		return fmt.Errorf("it has more than %d topics", maxTopics)
	}
	var before *fleet.NodeTopic
	if i := len(s.topics) + s.left; i < len(r.before) {
		before = &r.before[i]
	}
	t := fleet.NodeTopic{Node: r.node}
	r.scratch = r.scratch[:0]
	if err := r.object(func(name []byte) error { return r.topicField(&t, before, name) }); err != nil {
		return err
	}
	if t.Name == "" {
		s.left++
		return nil
	}
	t.Channels = r.keep(r.scratch)
	s.topics = append(s.topics, t)
	return nil
}

func (r *statsReader) topicField(t, before *fleet.NodeTopic, name []byte) error {
	switch string(name) {
	case `"topic_name"`:
		hint := ""
		if before != nil {
			hint = before.Name
		}
		return r.name(&t.Name, hint)
	case `"channels"`:
		return r.array(func() error { return r.channel(before) })
	case `"depth"`:
		return r.int(&t.Depth)
	case `"backend_depth"`:
		return r.int(&t.OnDisk)
	case `"message_count"`:
		return r.uint(&t.Messages)
	case `"message_bytes"`:
		return r.uint(&t.Bytes)
	case `"paused"`:
		return r.bool(&t.Paused)
	case `"pause"`:
		return r.pause(&t.Pause)
	case `"e2e_processing_latency"`:
		return r.latency(&t.Latency)
	}
	return r.ourTopicField(t, name)
}

// ourTopicField reads what nsqd does not tell of a topic.
func (r *statsReader) ourTopicField(t *fleet.NodeTopic, name []byte) error {
	var n int64
	switch string(name) {
	case `"durability"`:
		r.into.millrace = true
		return r.name(&t.Durability, "disk")
	case `"log_segments"`:
		err := r.int(&n)
		t.Segments = int(n)
		return err
	case `"log_bytes"`:
		return r.int(&t.LogBytes)
	case `"oldest"`:
		return r.time(time.Nanosecond, &t.Oldest)
	case `"damaged_records"`:
		return r.uint(&t.Damaged)
	case `"lost_count"`:
		return r.uint(&t.Lost)
	case `"retention_age"`:
		err := r.int(&n)
		t.Policy.RetentionAge = time.Duration(n)
		return err
	case `"retention_bytes"`:
		return r.int(&t.Policy.RetentionBytes)
	case `"max_messages"`:
		return r.int(&t.Policy.MaxMessages)
	case `"max_bytes"`:
		return r.int(&t.Policy.MaxBytes)
	case `"overflow"`:
		return r.name(&t.Policy.Overflow, "reject")
	}
	return r.SkipValue()
}

// channel reads one of a topic's channels.
func (r *statsReader) channel(before *fleet.NodeTopic) error {
	if r.count++; r.count > maxChannels {
		return fmt.Errorf("it has more than %d channels", maxChannels)
	}
	hint := ""
	if i := len(r.scratch); before != nil && i < len(before.Channels) {
		hint = before.Channels[i].Name
	}
	c := fleet.NodeChannel{Node: r.node}
	counts := false // what it has finished
	if err := r.object(func(name []byte) error {
		if string(name) == `"finished_count"` {
			counts = true
		}
		return r.channelField(&c, hint, name)
	}); err != nil {
		return err
	}
	if c.Name == "" {
		r.into.left++
		return nil
	}
	if !counts {
		c.Finished = uncounted(&c)
	}
	r.scratch = append(r.scratch, c)
	return nil
}

func (r *statsReader) channelField(c *fleet.NodeChannel, hint string, name []byte) error {
	var n int64
	switch string(name) {
	case `"channel_name"`:
		return r.name(&c.Name, hint)
	case `"depth"`:
		return r.int(&c.Depth)
	case `"backend_depth"`:
		return r.int(&c.OnDisk)
	case `"in_flight_count"`:
		return r.int(&c.InFlight)
	case `"deferred_count"`:
		return r.int(&c.Deferred)
	case `"message_count"`:
		return r.uint(&c.Messages)
	case `"requeue_count"`:
		return r.uint(&c.Requeued)
	case `"timeout_count"`:
		return r.uint(&c.TimedOut)
	case `"client_count"`:
		err := r.int(&n)
		c.Clients = int(n)
		return err
	case `"paused"`:
		return r.bool(&c.Paused)
	case `"pause"`:
		return r.pause(&c.Pause)
	case `"e2e_processing_latency"`:
		return r.latency(&c.Latency)
	case `"finished_count"`:
		return r.uint(&c.Finished)
	case `"dead_count"`:
		return r.int(&c.Dead)
	case `"max_attempts"`:
		err := r.int(&n)
		c.MaxAttempts = int(n)
		return err
	}
	return r.SkipValue()
}

// uncounted is how many messages a channel of nsqd has finished, which it does not count:
// those that came and are no longer there, as far as they came since its start.
func uncounted(c *fleet.NodeChannel) uint64 {
	there := uint64(max(c.Depth, 0)) + uint64(max(c.InFlight, 0)) + uint64(max(c.Deferred, 0))
	if there > c.Messages {
		return 0
	}
	return c.Messages - there
}

// name reads a name. One that cannot be any is left empty.
func (r *statsReader) name(to *string, hint string) error {
	b, err := r.bytes()
	if err != nil || len(b) == 0 || len(b) > maxName {
		return err
	}
	*to = r.names.get(b, hint)
	return nil
}

// time reads how many units it is since 1970; 0 is none.
func (r *statsReader) time(unit time.Duration, to *time.Time) error {
	var n int64
	err := r.int(&n)
	if n > 0 && n <= math.MaxInt64/int64(unit) {
		*to = time.Unix(0, n*int64(unit)).UTC()
	}
	return err
}

func (r *statsReader) pause(to **fleet.Pause) error {
	if r.PeekKind() == 'n' {
		return r.SkipValue()
	}
	p := new(fleet.Pause)
	*to = p
	return r.object(func(name []byte) error {
		switch string(name) {
		case `"reason"`:
			return r.str(&p.Reason)
		case `"by"`:
			return r.str(&p.By)
		case `"since"`:
			return r.time(time.Nanosecond, &p.Since)
		case `"until"`:
			return r.time(time.Nanosecond, &p.Until)
		}
		return r.SkipValue()
	})
}

// maxPercentiles is how many a daemon may have been told to tell.
const maxPercentiles = 100

func (r *statsReader) latency(to *[]fleet.Percentile) error {
	return r.object(func(name []byte) error {
		if string(name) != `"percentiles"` {
			return r.SkipValue()
		}
		return r.array(func() error {
			if len(*to) >= maxPercentiles {
				return fmt.Errorf("it has more than %d percentiles", maxPercentiles)
			}
			var p fleet.Percentile
			var value float64
			err := r.object(func(name []byte) error {
				switch string(name) {
				case `"quantile"`:
					return r.float(&p.Quantile)
				case `"value"`:
					return r.float(&value)
				}
				return r.SkipValue()
			})
			p.Value = time.Duration(min(max(value, 0), 1<<62))
			*to = append(*to, p)
			return err
		})
	})
}

// keep copies channels to where they stay: a large piece of memory for those of many
// topics.
func (r *statsReader) keep(channels []fleet.NodeChannel) []fleet.NodeChannel {
	n := len(channels)
	if n == 0 {
		return nil
	}
	if len(r.channels) < n {
		r.channels = make([]fleet.NodeChannel, max(n, r.room()))
	}
	kept := r.channels[:n:n]
	r.channels = r.channels[n:]
	copy(kept, channels)
	return kept
}

// room is for how many channels memory is taken at a time: at first for as many as there
// were.
func (r *statsReader) room() int {
	if len(r.into.topics) > 0 {
		return 256
	}
	count := 16
	for i := range r.before {
		count += len(r.before[i].Channels)
	}
	return count
}

// sort puts topics and channels in order, each once. Daemons sort them, so that there is
// nothing to do.
func (s *stats) sort() {
	byTopic := func(a, b fleet.NodeTopic) int { return cmp.Compare(a.Name, b.Name) }
	byChannel := func(a, b fleet.NodeChannel) int { return cmp.Compare(a.Name, b.Name) }
	if !rising(s.topics, byTopic) {
		slices.SortStableFunc(s.topics, byTopic)
		s.topics = slices.CompactFunc(s.topics, func(a, b fleet.NodeTopic) bool { return a.Name == b.Name })
	}
	for i := range s.topics {
		t := &s.topics[i]
		if !rising(t.Channels, byChannel) {
			slices.SortStableFunc(t.Channels, byChannel)
			t.Channels = slices.CompactFunc(t.Channels, func(a, b fleet.NodeChannel) bool { return a.Name == b.Name })
		}
	}
}

func rising[T any](all []T, compare func(a, b T) int) bool {
	for i := 1; i < len(all); i++ {
		if compare(all[i-1], all[i]) >= 0 {
			return false
		}
	}
	return true
}
