package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A record is what go-diskqueue stores as one message, behind its length:
//
//	0        4        8        12
//	+--------+--------+--------+------- - -
//	| length | "MSP1" | CRC-32C| payload
//	+--------+--------+--------+------- - -
//
// Integers are big-endian. The length counts what is behind it. The checksum is
// the payload's.
const (
	magic      = "MSP1"
	headerSize = 8
	lengthSize = 4
	overhead   = lengthSize + headerSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = errors.New("not as it was written")

// appendRecord appends what is behind the length.
func appendRecord(dst, payload []byte) []byte {
	dst = append(dst, magic...)
	dst = binary.BigEndian.AppendUint32(dst, crc32.Checksum(payload, castagnoli))
	return append(dst, payload...)
}

// parseRecord returns the payload of what is behind the length. It is never nil.
func parseRecord(b []byte) ([]byte, error) {
	if len(b) < headerSize || string(b[:len(magic)]) != magic {
		return b, errDamaged
	}
	payload := b[headerSize:]
	if crc32.Checksum(payload, castagnoli) != binary.BigEndian.Uint32(b[len(magic):]) {
		return payload, errDamaged
	}
	return payload, nil
}

// recordAt returns how many bytes the record at the beginning of b takes, its
// length included, or 0 if there is no sound one.
func recordAt(b []byte) int {
	if len(b) < overhead {
		return 0
	}
	// #nosec G115 -- go-diskqueue writes signed lengths; what is read is checked below
	n := int64(int32(binary.BigEndian.Uint32(b)))
	if n < headerSize || n > int64(len(b)-lengthSize) {
		return 0
	}
	if _, err := parseRecord(b[lengthSize : lengthSize+n]); err != nil {
		return 0
	}
	return lengthSize + int(n)
}
