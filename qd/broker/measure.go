package broker

import (
	"time"

	"github.com/millrace-mq/millrace/internal/histogram"
	"github.com/millrace-mq/millrace/qd/journal"
)

// This file is what the broker knows of the disk for those who watch it.

// diskTimes are how long the logs of all topics have waited for the disk, by
// journal.Operation.
type diskTimes [3]*histogram.Histogram

func newDiskTimes() diskTimes {
	syncs := []time.Duration{
		100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 10 * time.Second,
	}
	writes := append([]time.Duration{10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond}, syncs...)
	return diskTimes{
		journal.Write: histogram.New(writes...), journal.CommitSync: histogram.New(syncs...), journal.Sync: histogram.New(syncs...),
	}
}

func (d *diskTimes) took(o journal.Operation, t time.Duration) { d[o].Add(t) }

// SyncLatencies are how long fsyncs of the logs of all topics took since the
// start: those that publishers at level fsync have waited for, and those that
// were done behind their backs.
func (b *Broker) SyncLatencies() (commits, background histogram.Snapshot) {
	return b.diskTimes[journal.CommitSync].Snapshot(), b.diskTimes[journal.Sync].Snapshot()
}

// WriteLatencies are how long writing commits to the logs of all topics took
// since the start, without their fsyncs.
func (b *Broker) WriteLatencies() histogram.Snapshot { return b.diskTimes[journal.Write].Snapshot() }

// DiskBytes is how many bytes the topic's messages and its channels' files take
// on disk, as far as that is known without looking. What is set aside as damaged is
// not in it, nor are up to a MiB of zeroes that the log of a busy topic of level
// fsync ends with.
func (t *Topic) DiskBytes() int64 {
	if t.logs == nil {
		return t.spilled.Load()
	}
	n := t.logs.main.Bytes() + t.logs.side.Bytes()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.logs.held {
		n += h.bytes.Load()
	}
	return n
}
