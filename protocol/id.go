package protocol

// IDLength is the length in bytes of a message ID on the wire.
const IDLength = 16

// MessageID is a message's name on the wire: 16 lower-case hexadecimal digits,
// unique within a daemon for ever. Clients treat it as opaque; the daemon reads
// its number back from it.
type MessageID [IDLength]byte

func (id MessageID) String() string { return string(id[:]) }

// hexPairs holds the two digits of every byte, so that an ID is eight loads.
var hexPairs = func() (t [256][2]byte) {
	const digits = "0123456789abcdef"
	for i := range t {
		t[i] = [2]byte{digits[i>>4], digits[i&15]}
	}
	return t
}()

// PutID writes n as 16 hexadecimal digits at the start of dst, which must have
// room for them.
func PutID(dst []byte, n uint64) {
	_ = dst[IDLength-1]
	for i := range 8 {
		pair := hexPairs[byte(n>>(56-8*i))]
		dst[2*i], dst[2*i+1] = pair[0], pair[1]
	}
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
