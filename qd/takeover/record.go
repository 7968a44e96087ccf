package takeover

import (
	"encoding/binary"
	"strconv"
)

// A record of nsqd's disk queues, in big-endian integers:
//
//	0        4          12         14        30
//	+--------+----------+----------+---------+------ - -
//	| length | published| attempts | ID      | body
//	+--------+----------+----------+---------+------ - -
//
// The length (int32) is of all that follows it. The time (int64) is in ns
// since the Unix epoch. The ID is 16 lowercase hex digits, of which the highest
// 42 bits tell the time as well. There is no checksum: what betrays damage is a
// length that leads to no record, or an ID that is none.
const (
	lengthSize = 4
	headSize   = 8 + 2 + idSize // the smallest record, without its length
	idSize     = 16
	idOffset   = lengthSize + 10
	startSize  = lengthSize + headSize
)

// maxRecord is the largest length believed: 512 MiB. nsqd's default limit is
// 1 MiB. It is below every number that four printable characters make, so that
// text inside a body is never taken for a length.
const maxRecord = 512 << 20

// start is the first startSize bytes of what may be a record, or fewer at the
// end of a file.
type start []byte

// length returns the record's length; -1 if it is one that cannot be.
func (s start) length() int64 {
	if len(s) < lengthSize {
		return -1
	}
	// #nosec G115 -- nsqd writes signed lengths and times; what cannot be is refused
	n := int64(int32(binary.BigEndian.Uint32(s)))
	if n < headSize || n > maxRecord {
		return -1
	}
	return n
}

// named reports whether there is an ID where it ought to be.
func (s start) named() bool { return len(s) == startSize && lastNoDigit(s[idOffset:]) < 0 }

// dated reports whether the ID tells the time of the timestamp, give or take a
// minute. nsqd makes both at once, so in a record that is where it seems to
// be they agree, unless the clock was set in between or nsqd is older than 1.0.
func (s start) dated() bool {
	if !s.named() {
		return false
	}
	id, err := strconv.ParseUint(string(s[idOffset:]), 16, 64)
	if err != nil {
		return false
	}
	// nsqd counts IDs' time in 2^20 ns, from 2012-10-28 on.
	const epoch, tolerance = 1288834974288, 1 << 16
	// #nosec G115 -- nsqd writes signed lengths and times; what cannot be is refused
	d := int64(id>>22) + epoch - int64(binary.BigEndian.Uint64(s[lengthSize:]))>>20
	return -tolerance < d && d < tolerance
}

// shaped reports whether what is here looks like a record in spite of its
// length: an ID, and before it a time that agrees, or so few attempts as a body
// that happens to be hex digits would not have in their place.
func (s start) shaped() bool { return s.named() && (s[idOffset-2] == 0 || s.dated()) }

// torn reports whether this can be the beginning of a record that was not
// written any further.
func (s start) torn() bool {
	if len(s) == startSize {
		return false
	}
	return s.length() > 0 || len(s) < lengthSize && s[0] < maxRecord>>24
}

// blank reports whether nothing was ever written here.
func (s start) blank() bool {
	for _, b := range s {
		if b != 0 {
			return false
		}
	}
	return true
}

// lastNoDigit returns the place of the last byte that is no lowercase hex
// digit, or -1.
func lastNoDigit(b []byte) int {
	for i := len(b) - 1; i >= 0; i-- {
		if c := b[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return i
		}
	}
	return -1
}
