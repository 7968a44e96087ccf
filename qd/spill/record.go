package spill

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A record is what go-diskqueue stores as one message:
//
//	0        4        8        12
//	+--------+--------+--------+----------- - -
//	| "MRS1" | CRC-32C| count  | payload
//	+--------+--------+--------+----------- - -
//
// Integers are big-endian. The checksum covers count and payload. The payload
// is the frames of count messages with consecutive IDs or, in the queues of
// parked messages, a due time (int64, ns since the Unix epoch) before each.
const (
	recordMagic      = "MRS1"
	recordHeaderSize = 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged is returned for a record that is not as it was written.
var ErrDamaged = errors.New("damaged record")

func appendRecord(dst, payload []byte, count int) []byte {
	dst = append(dst, recordMagic...)
	dst = append(dst, 0, 0, 0, 0)
	// #nosec G115 -- messages of one record, which is bounded far below 4 GiB
	dst = binary.BigEndian.AppendUint32(dst, uint32(count))
	dst = append(dst, payload...)
	binary.BigEndian.PutUint32(dst[4:], crc32.Checksum(dst[8:], castagnoli))
	return dst
}

func parseRecord(b []byte) (payload []byte, count int, err error) {
	if len(b) < recordHeaderSize || string(b[:4]) != recordMagic ||
		crc32.Checksum(b[8:], castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		return nil, 0, ErrDamaged
	}
	return b[recordHeaderSize:], int(binary.BigEndian.Uint32(b[8:])), nil
}
