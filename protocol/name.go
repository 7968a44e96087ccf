package protocol

import "strings"

// MaxNameLength is the longest topic or channel name in bytes, the
// "#ephemeral" suffix included.
const MaxNameLength = 64

const ephemeralSuffix = "#ephemeral"

// ValidName reports whether s may name a topic or a channel: 1 to 64 bytes in
// all, of which at least one from [.a-zA-Z0-9_-] and then, once at most,
// "#ephemeral".
func ValidName(s string) bool {
	if len(s) > MaxNameLength {
		return false
	}
	s = strings.TrimSuffix(s, ephemeralSuffix)
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// Ephemeral reports whether the topic or channel called name is never written
// to disk and vanishes with its last channel or consumer.
func Ephemeral(name string) bool { return strings.HasSuffix(name, ephemeralSuffix) }
