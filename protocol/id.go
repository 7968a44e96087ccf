package protocol

import "encoding/binary"

// IDLength is the length in bytes of a message ID on the wire.
const IDLength = 16

// MessageID is a message's name on the wire: 16 lower-case hexadecimal digits,
// unique within a daemon for ever. Clients treat it as opaque; the daemon reads
// its number back from it.
type MessageID [IDLength]byte

func (id MessageID) String() string { return string(id[:]) }

// PutID writes n as 16 hexadecimal digits at the start of dst, which must have
// room for them.
func PutID(dst []byte, n uint64) {
	_ = dst[IDLength-1]
	binary.BigEndian.PutUint64(dst, hexDigits(uint32(n>>32)))
	// #nosec G115 -- the lower half, on purpose
	binary.BigEndian.PutUint64(dst[8:], hexDigits(uint32(n)))
}

// hexDigits returns the eight digits of n as bytes, the first one highest. All
// eight are made at once, for this is done for every message: the halves of
// ever smaller parts are moved apart until each nibble has a byte, and those
// above 9 are moved on to the letters.
func hexDigits(n uint32) uint64 {
	x := uint64(n)
	x = (x&0xffff0000)<<16 | x&0x0000ffff
	x = (x&0x0000ff000000ff00)<<8 | x&0x000000ff000000ff
	x = (x&0x00f000f000f000f0)<<4 | x&0x000f000f000f000f
	letters := (x + 0x0606060606060606) >> 4 & 0x0101010101010101
	return x + 0x3030303030303030 + letters*('a'-'0'-10)
}

// FormatID returns n as a MessageID.
func FormatID(n uint64) (id MessageID) {
	PutID(id[:], n)
	return id
}

// hexValue maps a lower-case hexadecimal digit to its value, all else to 0xff.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 10 {
		t['0'+i] = byte(i)
	}
	for i := range 6 {
		t['a'+i] = byte(10 + i)
	}
	return t
}()

// ParseID reads the number out of an ID. ok is false when b is not exactly 16
// lower-case hexadecimal digits; such an ID was never given out.
func ParseID(b []byte) (n uint64, ok bool) {
	if len(b) != IDLength {
		return 0, false
	}
	bad := byte(0)
	for _, c := range b {
		v := hexValue[c]
		bad |= v
		n = n<<4 | uint64(v&15)
	}
	return n, bad < 16
}
