package millrace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// A record of the spool is a batch. It outlives the program that wrote it, so
// that this is a format, of version 1. Numbers are big-endian.
//
//	offset  size
//	0       1     version, 1
//	1       4     CRC-32C of what follows
//	5       1     flags: 1 stored together or not at all
//	6       8     when its first message was published, nanoseconds since 1970
//	14      8     when it is due, the same; 0 is at once
//	22      1     length of the topic's name, n
//	23      n     the topic's name
//	23+n          the messages, as the body of an MPUB: their count, then the size and the bytes of each
const (
	recordVersion = 1
	recordWhole   = 1 << 0
	recordHeader  = 23
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errRecord is what is wrong with a record that was damaged, or is none.
var errRecord = errors.New("not a spooled batch, or damaged")

// appendRecord appends a batch as a record.
func appendRecord(dst []byte, b *pubBatch) []byte {
	start := len(dst)
	var flags byte
	if b.whole {
		flags |= recordWhole
	}
	var due int64
	if !b.due.IsZero() {
		due = b.due.UnixNano()
	}
	dst = append(dst, recordVersion, 0, 0, 0, 0, flags)
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.began.UnixNano()))
	dst = binary.BigEndian.AppendUint64(dst, uint64(due))
	// #nosec G115 -- a topic's name has at most 74 bytes
	dst = append(dst, byte(len(b.topic)))
	dst = append(dst, b.topic...)
	dst = append(dst, b.mpub()...)
	binary.BigEndian.PutUint32(dst[start+1:], crc32.Checksum(dst[start+5:], castagnoli))
	return dst
}

// parseRecord reads a record into an empty batch, copying it.
func parseRecord(record []byte, b *pubBatch) error {
	if len(record) < recordHeader || record[0] != recordVersion {
		return errRecord
	}
	n := int(record[recordHeader-1])
	if binary.BigEndian.Uint32(record[1:]) != crc32.Checksum(record[5:], castagnoli) || record[5] > recordWhole || len(record) < recordHeader+n {
		return errRecord
	}
	topic, messages := string(record[recordHeader:recordHeader+n]), record[recordHeader+n:]
	if !protocol.ValidName(topic) {
		return fmt.Errorf("%w: %q is not a valid topic name", errRecord, topic)
	}
	count, _, err := protocol.CheckBatch(messages, math.MaxInt32, math.MaxInt32)
	if err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	// #nosec G115 -- a time, the same 64 bits
	due := int64(binary.BigEndian.Uint64(record[14:]))
	if due != 0 && count > 1 {
		return fmt.Errorf("%w: a batch that is deferred", errRecord)
	}
	b.reset(topic)
	b.whole = record[5] == recordWhole
	// #nosec G115 -- a time, the same 64 bits
	b.began = time.Unix(0, int64(binary.BigEndian.Uint64(record[6:])))
	if due != 0 {
		b.due = time.Unix(0, due)
	}
	b.fill(count, messages)
	return nil
}
