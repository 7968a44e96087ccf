package fields

import (
	"math"
	"strings"
)

// sameNumber reports whether a and b are decimal numbers of the same value, exactly:
// 1e2 is 100.0, and no digit is lost to floating point.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	x, ok := parseNumber(a)
	if !ok {
		return false
	}
	y, ok := parseNumber(b)
	return ok && x == y
}

// number is ±0.digits × 10^exponent, in the one way that has no zero at either end of the
// digits. Zero has none, and no sign.
type number struct {
	negative bool
	digits   string
	exponent int
}

// parseNumber reads what JSON takes for a number, and also a leading + or zeros, and a dot at either end.
func parseNumber(text string) (n number, ok bool) {
	if text != "" && (text[0] == '-' || text[0] == '+') {
		n.negative = text[0] == '-'
		text = text[1:]
	}
	mantissa := text
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa = text[:i]
		if n.exponent, ok = parseExponent(text[i+1:]); !ok {
			return n, false
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if !digits(whole) || !digits(fraction) || whole+fraction == "" {
		return n, false
	}
	whole = strings.TrimLeft(whole, "0")
	n.exponent += len(whole)
	n.digits = strings.TrimRight(whole+fraction, "0")
	if trimmed := strings.TrimLeft(n.digits, "0"); trimmed != n.digits { // then whole is empty
		n.exponent -= len(n.digits) - len(trimmed)
		n.digits = trimmed
	}
	if n.digits == "" {
		return number{}, true
	}
	return n, true
}

// parseExponent stops at a billion, which no number has use for, in either direction.
func parseExponent(text string) (int, bool) {
	sign := 1
	if text != "" && (text[0] == '-' || text[0] == '+') {
		if text[0] == '-' {
			sign = -1
		}
		text = text[1:]
	}
	if text == "" || !digits(text) {
		return 0, false
	}
	e := 0
	for i := range len(text) {
		e = min(10*e+int(text[i]-'0'), math.MaxInt32/2)
	}
	return sign * e, true
}

func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return true
}
