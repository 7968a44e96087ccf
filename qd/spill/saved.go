package spill

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/millrace-mq/millrace/qd/queue"
)

// savedRecord is about how large a record of parked messages gets, in bytes.
const savedRecord = 256 << 10

// AppendSaved adds parked messages.
func (q *Queue) AppendSaved(saved []queue.Saved) error {
	var payload []byte
	count := 0
	for i, s := range saved {
		// #nosec G115 -- the same 64 bits, read as they were written
		payload = binary.BigEndian.AppendUint64(payload, uint64(s.Due))
		payload = append(payload, s.Frame...)
		count++
		if len(payload) >= savedRecord || i == len(saved)-1 {
			if err := q.Append(payload, count); err != nil {
				return err
			}
			payload, count = payload[:0], 0
		}
	}
	return nil
}

// TakeSaved takes all parked messages off the queue. damaged counts records
// that could not be used.
func (q *Queue) TakeSaved() (saved []queue.Saved, damaged int, err error) {
	for {
		payload, count, ok, err := q.Next()
		switch {
		case !ok:
			return saved, damaged, err
		case err != nil:
			damaged++
			continue
		}
		for range count {
			if len(payload) < 12 {
				return saved, damaged, fmt.Errorf("%s: parked message cut short", q.Path())
			}
			// #nosec G115 -- the same 64 bits, read as they were written
			due := int64(binary.BigEndian.Uint64(payload))
			size := 8 + 4 + int(binary.BigEndian.Uint32(payload[8:]))
			if size > len(payload) {
				return saved, damaged, fmt.Errorf("%s: parked message cut short", q.Path())
			}
			saved = append(saved, queue.Saved{Due: due, Frame: slices.Clone(payload[8:size])})
			payload = payload[size:]
		}
	}
}
