package board

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// headerEvery is after how many lines the header comes again.
const headerEvery = 25

// Columns writes nsq_stat's columns: a line for each sample, of one channel. Scripts take
// them apart, so they do not change.
type Columns struct{ lines int }

// A cell is a column of nsq_stat's.
type cell struct {
	title string
	width int
	value func(f *fleet.Figures) int64
}

// groups are nsq_stat's columns, which bars separate. What a group is called stands
// above it between dashes.
var groups = []struct {
	name  string
	cells []cell
}{
	{"rate", []cell{
		{"ingress", 7, func(f *fleet.Figures) int64 { return whole(f.In) }},
		{"egress", 7, func(f *fleet.Figures) int64 { return whole(f.Out) }},
	}},
	{"depth", []cell{
		{"total", 7, func(f *fleet.Figures) int64 { return f.Depth }},
		{"mem", 7, func(f *fleet.Figures) int64 { return max(f.Depth-f.OnDisk, 0) }},
		{"disk", 7, func(f *fleet.Figures) int64 { return f.OnDisk }},
		{"inflt", 5, func(f *fleet.Figures) int64 { return f.InFlight }},
		{"def", 5, func(f *fleet.Figures) int64 { return f.Deferred }},
	}},
	{"metadata", []cell{
		{"req", 7, func(f *fleet.Figures) int64 { return int64(f.Requeued) }},
		{"t-o", 7, func(f *fleet.Figures) int64 { return int64(f.TimedOut) }},
		{"msgs", 12, func(f *fleet.Figures) int64 { return int64(f.Messages) }},
		{"clients", 7, func(f *fleet.Figures) int64 { return int64(f.Clients) }},
	}},
}

// Line is the sample's line, with the header before it where one is due. Rates that are
// not known are 0, as in nsq_stat.
func (c *Columns) Line(s *Sample) string {
	head := ""
	if c.lines%headerEvery == 0 {
		head = columnsHead
	}
	c.lines++
	return head + across(func(c cell) string { return strconv.FormatInt(c.value(&s.Total), 10) })
}

var columnsHead = rule() + across(func(c cell) string { return c.title })

// across is a line of what text makes of each column.
func across(text func(cell) string) string {
	var parts []string
	for _, g := range groups {
		var words []string
		for _, c := range g.cells {
			words = append(words, fmt.Sprintf("%*s", c.width, text(c)))
		}
		parts = append(parts, strings.Join(words, " "))
	}
	return strings.Join(parts, " | ") + "\n"
}

// rule is the line with the groups' names.
func rule() string {
	var parts []string
	for i, g := range groups {
		width := 2 // a blank on either side, but where the line begins and ends
		if i == 0 || i == len(groups)-1 {
			width = 1
		}
		width += len(g.cells) - 1
		for _, c := range g.cells {
			width += c.width
		}
		left := (width - len(g.name)) / 2
		parts = append(parts, strings.Repeat("-", left)+g.name+strings.Repeat("-", width-left-len(g.name)))
	}
	return strings.Join(parts, "+") + "\n"
}

func whole(rate float64) int64 { return int64(math.Round(max(rate, 0))) }

// Lines writes a line for each sample, of all that is shown together.
type Lines struct{ lines int }

// Line is the sample's line, with the header before it where one is due. Rates that are
// not known are "-". What is wrong, if anything, comes last.
func (l *Lines) Line(s *Sample) string {
	var b strings.Builder
	if l.lines%headerEvery == 0 {
		fmt.Fprintf(&b, "%-20s %9s | %9s %9s %9s %9s | %9s %7s %7s %7s %7s | %s\n",
			"time", "nodes", "in/s", "out/s", "req/s", "t-o/s", "depth", "inflt", "def", "dead", "clients", "trouble")
	}
	l.lines++
	f := &s.Total
	fmt.Fprintf(&b, "%-20s %9s | %9s %9s %9s %9s | %9d %7d %7d %7d %7d | %s\n",
		s.At.UTC().Format(time.RFC3339), fmt.Sprintf("%d/%d", s.Up(), len(s.Nodes)),
		rate(f.In), rate(f.Out), rate(f.Requeue), rate(f.Timeout),
		f.Depth, f.InFlight, f.Deferred, f.Dead, f.Clients, s.worst())
	return b.String()
}

// worst is the one thing that should be looked at first, and how many more there are.
func (s *Sample) worst() string {
	const least = fleet.Warning // notes are for those who look
	var all []string
	complaints := s.Complaints()
	for _, c := range complaints {
		if c.Severity >= least {
			all = append(all, c.Text)
		}
	}
	for _, r := range s.Sorted("trouble", "") {
		for _, t := range r.Troubles {
			if t.Severity >= least {
				all = append(all, clean(r.Name()+": "+t.Reason))
			}
		}
	}
	switch len(all) {
	case 0:
		return "-"
	case 1:
		return all[0]
	}
	return fmt.Sprintf("%s (and %d more)", all[0], len(all)-1)
}

// rate is messages a second, short: with as many digits as mean something.
func rate(perSecond float64) string {
	switch {
	case perSecond < 0:
		return "-"
	case perSecond == 0:
		return "0"
	case perSecond < 0.1:
		return "<0.1"
	case perSecond < 9.95:
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	}
	return count(int64(math.Round(perSecond)))
}

// count is a number that fits into seven places: to a million as it is, then 1.23M.
func count(n int64) string {
	if n < 1_000_000 {
		return strconv.FormatInt(n, 10)
	}
	v, units := float64(n)/1e6, "MGTPE"
	for v >= 999.5 && len(units) > 1 {
		v, units = v/1000, units[1:]
	}
	switch {
	case v < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64) + units[:1]
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64) + units[:1]
	}
	return strconv.FormatFloat(v, 'f', 0, 64) + units[:1]
}

// clean is text of others on one line, without what moves the cursor.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
