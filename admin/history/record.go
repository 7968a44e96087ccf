// #nosec G115 -- codes of 16 bits, cut out of words and widths of at most 16 on purpose.

package history

import (
	"encoding/binary"
	"math/bits"
)

// A record is one key's values in all rows of a page, at most pageRows of them:
//
//	modes   2 bytes: two bits for each metric, the first metric's lowest
//	then for each metric, by its mode
//	  0 unknown   nothing: it is not known in any row
//	  1 none      nothing: it is 0 in all rows
//	  2 constant  2 bytes: the code that it has in all rows
//	  3 packed    2 bytes: the lowest code; 1 byte: bits for each row, 1 to 16;
//	              then each row's code less the lowest, packed, the first row in the
//	              lowest bits of the first byte
//
// Numbers are little-endian. A key that nothing happens to takes two bytes, whatever
// the number of rows; one whose values wander by a tenth takes half of what they would
// take unpacked; none takes more than recordMost.
const (
	modeUnknown  = 0
	modeNone     = 1
	modeConstant = 2
	modePacked   = 3

	pageRows   = 32
	recordMost = 2 + int(Metrics)*(3+2*pageRows)
	noneAtAll  = 0x5555 // modes: 0 in all rows, all metrics
)

// column is one metric's codes in a page's rows.
type column = [pageRows]code

// appendRecord appends a record of columns, of which the first rows entries count.
func appendRecord(b []byte, columns *[Metrics]column, rows int) []byte {
	at := len(b)
	b = append(b, 0, 0)
	var modes uint16
	for m := range columns {
		var mode uint16
		b, mode = appendColumn(b, columns[m][:rows])
		modes |= mode << (2 * m)
	}
	binary.LittleEndian.PutUint16(b[at:], modes)
	return b
}

func appendColumn(b []byte, codes []code) ([]byte, uint16) {
	low, high := codes[0], codes[0]
	for _, c := range codes[1:] {
		low, high = min(low, c), max(high, c)
	}
	switch {
	case low != high:
	case low == notKnown:
		return b, modeUnknown
	case low == zero:
		return b, modeNone
	default:
		return binary.LittleEndian.AppendUint16(b, low), modeConstant
	}
	width := bits.Len16(high - low)
	b = binary.LittleEndian.AppendUint16(b, low)
	b = append(b, byte(width))
	var word uint64
	var held int
	for _, c := range codes {
		word |= uint64(c-low) << held
		for held += width; held >= 8; held -= 8 {
			b = append(b, byte(word))
			word >>= 8
		}
	}
	if held > 0 {
		b = append(b, byte(word))
	}
	return b, modePacked
}

// packedBytes is how long the packed codes of a column are.
func packedBytes(rows, width int) int { return (rows*width + 7) / 8 }

// readColumn reads a column into codes, and returns what follows it.
func readColumn(b []byte, mode uint16, codes []code) []byte {
	var low code
	switch mode {
	case modeUnknown:
	case modeNone:
		low = zero
	default:
		low = binary.LittleEndian.Uint16(b)
		b = b[2:]
	}
	if mode != modePacked {
		for i := range codes {
			codes[i] = low
		}
		return b
	}
	width := int(b[0])
	b = b[1:]
	unpack(b, width, low, codes)
	return b[packedBytes(len(codes), width):]
}

func unpack(b []byte, width int, low code, codes []code) {
	mask := uint64(1)<<width - 1
	var word uint64
	var held, next int
	for i := range codes {
		for held < width {
			word |= uint64(b[next]) << held
			held += 8
			next++
		}
		codes[i] = low + code(word&mask)
		word >>= width
		held -= width
	}
}

// skipTo returns where a metric's column lies in a record, and its mode.
func skipTo(b []byte, metric Metric, rows int) (column []byte, mode uint16) {
	modes := binary.LittleEndian.Uint16(b)
	b = b[2:]
	for range metric {
		switch modes & 3 {
		case modeConstant:
			b = b[2:]
		case modePacked:
			b = b[3+packedBytes(rows, int(b[2])):]
		}
		modes >>= 2
	}
	return b, modes & 3
}

// codeAt reads one metric in one row of a record.
func codeAt(b []byte, metric Metric, row, rows int) code {
	b, mode := skipTo(b, metric, rows)
	switch mode {
	case modeUnknown:
		return notKnown
	case modeNone:
		return zero
	case modeConstant:
		return binary.LittleEndian.Uint16(b)
	}
	low, width, first := binary.LittleEndian.Uint16(b), int(b[2]), row*int(b[2])
	var word uint32
	for i, v := range b[3+first/8 : min(3+first/8+3, 3+packedBytes(rows, width))] {
		word |= uint32(v) << (8 * i)
	}
	return low + code(word>>(first%8)&(1<<width-1))
}

// recordBytes is how long a record is that begins b.
func recordBytes(b []byte, rows int) int {
	rest, _ := skipTo(b, Metrics, rows)
	return len(b) - len(rest)
}

// checkRecord says whether b is a record of so many rows and nothing more.
func checkRecord(b []byte, rows int) bool {
	if len(b) < 2 {
		return false
	}
	modes, rest := binary.LittleEndian.Uint16(b), b[2:]
	for range Metrics {
		need := 0
		switch modes & 3 {
		case modeConstant:
			need = 2
		case modePacked:
			if len(rest) < 3 || rest[2] < 1 || rest[2] > 16 {
				return false
			}
			need = 3 + packedBytes(rows, int(rest[2]))
		}
		if len(rest) < need {
			return false
		}
		rest, modes = rest[need:], modes>>2
	}
	return len(rest) == 0
}
