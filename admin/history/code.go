package history

import "math"

// A code is a value in 16 bits: a float with 6 bits of exponent and 10 of mantissa,
// and so that a greater value has a greater code. Whole numbers up to 2,048 are exact,
// beyond that values are off by 0.05 % at most; the range is 0.001 to 10^16.
//
//	0          not known
//	1          0
//	2 … 65535  2^-10 … 2^54
type code = uint16

const (
	notKnown code = 0
	zero     code = 1
	smallest code = 2 // 2^-10

	shift = 23 - 10          // bits of a float32's mantissa that are dropped
	base  = (127 - 10) << 10 // 2^-10 as a float32 has it, without these bits
)

// encode returns the code nearest to v. What is no number, infinite or negative is
// not known.
func encode(v float32) code {
	if !(v >= 0 && v <= math.MaxFloat32) {
		return notKnown
	}
	if v == 0 { // or −0, whose sign is a bit
		return zero
	}
	bits := math.Float32bits(v)
	// Rounding up may carry into the exponent, which is right as well.
	u := (bits + 1<<(shift-1)) >> shift
	switch {
	case u < base-1<<10: // less than half of the smallest
		return zero
	case u < base:
		return smallest
	}
	return code(min(u-base+uint32(smallest), math.MaxUint16))
}

// decode returns a code's value, NaN if it is not known.
func decode(c code) float32 {
	switch c {
	case notKnown:
		return float32(math.NaN())
	case zero:
		return 0
	}
	return math.Float32frombits((uint32(c-smallest) + base) << shift)
}
