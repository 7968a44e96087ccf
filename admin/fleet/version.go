package fleet

import (
	"cmp"
	"strconv"
	"strings"
)

// CompareVersions returns -1, 0 or 1 as version a is older than b, as old, or newer. A
// version is numbers with dots between them, such as 1.3.0, and maybe a hyphen and what it
// comes before, such as 1.3.0-rc.1. What is no number counts as 0.
func CompareVersions(a, b string) int {
	numbersA, beforeA, isBeforeA := strings.Cut(strings.TrimPrefix(a, "v"), "-")
	numbersB, beforeB, isBeforeB := strings.Cut(strings.TrimPrefix(b, "v"), "-")
	for numbersA != "" || numbersB != "" {
		var x, y string
		x, numbersA, _ = strings.Cut(numbersA, ".")
		y, numbersB, _ = strings.Cut(numbersB, ".")
		m, _ := strconv.ParseUint(x, 10, 32)
		n, _ := strconv.ParseUint(y, 10, 32)
		if c := cmp.Compare(m, n); c != 0 {
			return c
		}
	}
	switch {
	case isBeforeA && !isBeforeB:
		return -1
	case !isBeforeA && isBeforeB:
		return 1
	}
	return cmp.Compare(beforeA, beforeB)
}

// MarkOutOfDate sets OutOfDate of the nodes that speak an older version than the newest.
func (s *Snapshot) MarkOutOfDate() {
	newest := ""
	for _, n := range s.Nodes {
		if n.Version != "" && CompareVersions(n.Version, newest) > 0 {
			newest = n.Version
		}
	}
	for _, n := range s.Nodes {
		n.OutOfDate = n.Version != "" && CompareVersions(n.Version, newest) < 0
	}
}
