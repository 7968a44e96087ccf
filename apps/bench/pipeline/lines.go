// #nosec G115 -- numbers that the bench itself has drawn or counted, never negative.

package pipeline

import (
	"bufio"
	"fmt"
	"os"
)

// A line is its number, and then what logs have: a time that advances, a few levels and
// places, numbers, and words. All of it follows from the number, so that whoever reads a
// line back can tell whether it was ever written.
const (
	numberDigits = 12
	leastSize    = numberDigits + 1 // bytes of a line without its newline
)

var (
	levels = [...]string{"INFO ", "INFO ", "INFO ", "INFO ", "INFO ", "DEBUG", "WARN ", "ERROR"}
	places = [...]string{"shop/cart", "shop/order", "shop/search", "account/login", "account/mail", "stock/count", "stock/move", "pay/card"}
	words  = [...]string{
		"accepted", "after", "answer", "basket", "before", "bill", "book", "bread", "cache", "cancelled", "card", "changed", "city", "code",
		"copper", "customer", "day", "delivered", "error", "evening", "field", "first", "found", "garden", "glass", "green", "harvest", "house",
		"invoice", "item", "kept", "lamp", "last", "letter", "line", "lost", "missing", "moved", "name", "night", "none", "order", "paid",
		"paper", "parcel", "price", "queue", "quiet", "refused", "river", "road", "sent", "shelf", "slow", "stone", "table", "taken", "timeout",
		"town", "value", "walnut", "window", "winter", "yellow",
	}
)

// appendLine appends line n, size bytes long, without a newline.
func appendLine(b []byte, n int64, size int) []byte {
	end := len(b) + size
	b = appendDecimal(b, uint64(n), numberDigits)
	r := mix(uint64(n))
	millis := uint64(n) * 3 / 7
	b = append(b, " 2026-03-14T"...)
	b = appendDecimal(b, millis/3_600_000%24, 2)
	b = append(b, ':')
	b = appendDecimal(b, millis/60_000%60, 2)
	b = append(b, ':')
	b = appendDecimal(b, millis/1000%60, 2)
	b = append(b, '.')
	b = appendDecimal(b, millis%1000, 3)
	b = append(b, 'Z', ' ')
	b = append(b, levels[r%8]...)
	b = append(b, ' ')
	b = append(b, places[r>>3%8]...)
	b = append(b, " user="...)
	b = appendDecimal(b, r>>6%100_000, 5)
	for b = append(b, ' '); len(b) < end; b = append(b, ' ') {
		r = mix(r)
		b = append(b, words[r%uint64(len(words))]...)
	}
	return b[:end]
}

// appendDecimal appends n's last digits.
func appendDecimal(b []byte, n uint64, digits int) []byte {
	for range digits {
		b = append(b, '0')
	}
	for i := len(b) - 1; digits > 0; i, digits = i-1, digits-1 {
		b[i] += byte(n % 10)
		n /= 10
	}
	return b
}

// mix is SplitMix64's: numbers that look like chance, the same each time.
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// number reads which line b says it is.
func number(b []byte) (n int64, ok bool) {
	if len(b) < numberDigits {
		return 0, false
	}
	for _, c := range b[:numberDigits] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// writeInput writes a file of so many lines. It is on the device when this
// returns: writing it back later would be measured with the rest.
func writeInput(path string, lines int64, size int) error {
	// #nosec G304 -- a file that who runs the bench has named
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the lines to publish: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	var line []byte
	for n := range lines {
		line = append(appendLine(line[:0], n, size), '\n')
		_, _ = w.Write(line) // Flush says what went wrong
	}
	err = w.Flush()
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("writing the lines to publish: %w", err)
	}
	return nil
}
