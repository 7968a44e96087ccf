package ledger

import (
	"bytes"
	"strconv"
	"time"
)

// A Key names a message: its lane and its place in it.
type Key struct{ Lane, Seq int }

// Widths of a body's fields, which are decimal numbers with leading zeros. The
// due time is in nanoseconds since the Unix epoch, and 0 is none.
const (
	laneDigits = 4
	seqDigits  = 10
	dueDigits  = 19
	headSize   = laneDigits + 1 + seqDigits + 1 + dueDigits + 1
	longestPad = 160
)

// AppendBody appends the body of the message called k. It is text without a
// newline, of 36 to 195 bytes, and all of it follows from k and due: so a body
// that was changed on its way is told from one that was published.
func AppendBody(dst []byte, k Key, due time.Time) []byte {
	var ns int64
	if !due.IsZero() {
		ns = due.UnixNano()
	}
	return appendBody(dst, k, ns)
}

func appendBody(dst []byte, k Key, due int64) []byte {
	dst = appendDigits(dst, int64(k.Lane), laneDigits)
	dst = appendDigits(append(dst, ' '), int64(k.Seq), seqDigits)
	dst = appendDigits(append(dst, ' '), due, dueDigits)
	dst = append(dst, ' ')
	for i := range (7*k.Seq + 13*k.Lane) % longestPad {
		// #nosec G115 -- numbers of the tests themselves
		dst = append(dst, 'a'+byte((k.Seq+i)%26))
	}
	return dst
}

func appendDigits(dst []byte, n int64, width int) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	for range width - len(text) {
		dst = append(dst, '0')
	}
	return append(dst, text...)
}

// KeyOf returns the key of the message with this body. ok is false unless
// AppendBody made it.
func KeyOf(body []byte) (k Key, ok bool) {
	k, _, ok = parseBody(body)
	return k, ok
}

// parseBody reads a body. ok is false unless AppendBody made it.
func parseBody(body []byte) (k Key, due int64, ok bool) {
	if len(body) < headSize || len(body) > headSize+longestPad {
		return k, 0, false
	}
	k.Lane = int(number(body[:laneDigits]))
	k.Seq = int(number(body[laneDigits+1 : laneDigits+1+seqDigits]))
	due = number(body[headSize-1-dueDigits : headSize-1])
	var again [headSize + longestPad]byte
	return k, due, bytes.Equal(appendBody(again[:0], k, due), body)
}

// number reads digits. What it makes of anything else does not matter: such a
// body is not equal to what is made from the number.
func number(digits []byte) (n int64) {
	for _, c := range digits {
		n = n*10 + int64(c-'0')
	}
	return max(n, 0)
}
