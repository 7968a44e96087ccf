package stats

import (
	"time"

	"github.com/millrace-mq/millrace/qd/broker"
)

// Log is what a topic has on disk. Topics of level memory have none of it.
type Log struct {
	Segments int    `json:"log_segments"`
	Bytes    int64  `json:"log_bytes"`
	Oldest   int64  `json:"oldest,omitempty"` // when the oldest kept message was published, ns since the Unix epoch
	Damaged  uint64 `json:"damaged_records"`  // found since the start
	Lost     uint64 `json:"lost_count"`       // messages in them, and missing ones, as far as is known

	// What was committed since the start: records, and their bytes.
	Records uint64 `json:"-"`
	Written int64  `json:"-"`
}

// Policy is what was set for a topic.
type Policy struct {
	RetentionAge   time.Duration `json:"retention_age,omitempty"` // ns
	RetentionBytes int64         `json:"retention_bytes,omitempty"`
	MaxMessages    int           `json:"max_messages,omitempty"`
	MaxBytes       int64         `json:"max_bytes,omitempty"`
	Overflow       string        `json:"overflow,omitempty"` // if there is a bound
}

// readLog adds what the topic's log and policy are.
func (t *Topic) readLog(from *broker.Topic) {
	p := from.Policy()
	t.Durability = from.Level()
	t.Policy = Policy{
		RetentionAge: p.RetentionAge, RetentionBytes: p.RetentionBytes, MaxMessages: p.MaxMessages, MaxBytes: p.MaxBytes,
	}
	if p.MaxMessages > 0 || p.MaxBytes > 0 {
		t.Overflow = p.Overflow()
	}
	if s, ok := from.LogStats(); ok {
		t.Log = &Log{s.Segments, s.Bytes, s.Oldest, s.Damaged, s.Lost, s.Records, s.Written}
	}
	t.Size = from.DiskBytes()
}
