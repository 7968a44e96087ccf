package body

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// seen reports whether a character can be shown as it is. Those that cannot are
// control characters, and those that change how the text around them looks without
// being seen: with marks of writing direction, a body could show other words than
// it has, or turn the page around it.
func seen(r rune) bool {
	switch {
	case r == '\n', r == '\t', r == ' ':
		return true
	case r == '\u200d', r >= '\ufe00' && r <= '\ufe0f':
		return true // they join and colour emoji
	case r == '\u2028', r == '\u2029':
		return false
	}
	return unicode.IsGraphic(r)
}

// Visible is text of somebody else's as it can be shown in a line: what cannot be seen
// stands as its code.
func Visible(s string) string {
	shown, _ := visible(s)
	return shown
}

// visible writes what cannot be seen as its code in ⟦ ⟧, a byte that is no UTF-8
// in two digits, and counts them. A carriage return before a newline is left out:
// the line ends there anyway.
func visible(s string) (shown string, odd int) {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			odd++
			fmt.Fprintf(&b, "⟦%02X⟧", s[0])
		case seen(r):
			b.WriteString(s[:n])
		default:
			odd++
			fmt.Fprintf(&b, "⟦U+%04X⟧", r)
		}
		s = s[n:]
	}
	return b.String(), odd
}
