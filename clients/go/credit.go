package millrace

// credit is what one line has of MaxInFlight.
type credit struct {
	ready    int // messages that the daemon may have in flight with us
	inFlight int // messages that it has
}

// share is the credit of line i of n, when total is enough for each to have
// some: equal parts, the first lines getting what does not divide.
func share(total, n, i int) int {
	part := total / n
	if i < total%n {
		part++
	}
	return part
}

// rotate moves credit around lines that are more than total. A line that has
// credit loses it when the turn is over; credit that nobody has, and that no
// unanswered message takes up, goes to the lines from index from on, one each.
// It returns where to go on the next time.
//
// Credit taken from a line is not given to another before the first has answered
// what it holds, or a slow handler would collect one message from every daemon.
func rotate(lines []credit, total, from int, turnOver bool) (next int) {
	free := total
	for i := range lines {
		c := &lines[i]
		c.ready = min(c.ready, 1)
		if turnOver {
			c.ready = 0
		}
		free -= max(c.ready, c.inFlight)
	}
	for range lines {
		if free <= 0 {
			break
		}
		from %= len(lines)
		if c := &lines[from]; c.ready == 0 && c.inFlight == 0 {
			c.ready = 1
			free--
		}
		from++
	}
	return from
}
