package board

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// A Size is a terminal's, in letters.
type Size struct{ Columns, Rows int }

// Ink puts a style on text for a terminal; styles are bold, dim, red, yellow and reverse.
type Ink func(style, text string) string

// Plain is ink without colours.
func Plain(_, text string) string { return text }

// Colours is ink for a terminal.
func Colours(style, text string) string {
	codes := map[string]string{"bold": "1", "dim": "2", "red": "31", "yellow": "33", "reverse": "7"}
	if codes[style] == "" || text == "" {
		return text
	}
	return "\x1b[" + codes[style] + "m" + text + "\x1b[0m"
}

// Draw makes a screen: as many lines as fit, none longer than the screen is wide. s is nil
// until there is something to show.
func (st *State) Draw(s *Sample, size Size, every time.Duration, ink Ink) []string {
	size = Size{max(size.Columns, 20), max(size.Rows, 5)}
	p := &page{State: st, size: size, ink: ink}
	switch {
	case st.helping:
		p.help()
	case s == nil:
		p.put("bold", "millrace stat")
		p.put("", "asking …")
	default:
		p.head(s, every)
		p.table(s)
	}
	for len(p.lines) < size.Rows-1 {
		p.lines = append(p.lines, "")
	}
	p.foot()
	return p.lines[:min(len(p.lines), size.Rows)]
}

// page is a screen that is being made.
type page struct {
	*State
	size  Size
	ink   Ink
	lines []string
}

// put adds a line, cut where the screen ends.
func (p *page) put(style, text string) {
	p.lines = append(p.lines, p.ink(style, cut(text, p.size.Columns)))
}

func cut(text string, columns int) string {
	if utf8.RuneCountInString(text) <= columns {
		return text
	}
	return string([]rune(text)[:columns-1]) + "…"
}

// pad makes text exactly so wide.
func pad(text string, columns int) string {
	text = cut(text, columns)
	return text + strings.Repeat(" ", columns-utf8.RuneCountInString(text))
}

func (p *page) head(s *Sample, every time.Duration) {
	topics, channels := 0, 0
	for i := range s.Rows {
		if s.Rows[i].Channel == "" {
			topics++
		} else {
			channels++
		}
	}
	p.put("bold", fmt.Sprintf("millrace stat  %s  nodes up: %d of %d  topics: %d  channels: %d  every %s",
		s.At.UTC().Format("15:04:05 UTC"), s.Up(), len(s.Nodes), topics, channels, every))
	f := &s.Total
	p.put("", fmt.Sprintf("in %s/s  out %s/s  depth %s  in flight %s  deferred %s  dead %s  consumers %d",
		rate(f.In), rate(f.Out), count(f.Depth), count(f.InFlight), count(f.Deferred), count(f.Dead), f.Clients))
	p.complaints(s)
}

// complaints are what is wrong with daemons: not more than a quarter of the screen.
func (p *page) complaints(s *Sample) {
	all := s.Complaints()
	if len(s.Nodes) == 0 {
		all = append(all, Complaint{fleet.Failure, "no queue daemon is known: no lookupd lists one"})
	}
	most := max(p.size.Rows/4, 1)
	for i, c := range all {
		if i == most-1 && len(all) > most {
			p.put("dim", fmt.Sprintf("  and %d more", len(all)-i))
			return
		}
		p.put(styleOf(c.Severity), mark(c.Severity)+c.Text)
	}
}

func styleOf(s fleet.Severity) string {
	switch s {
	case fleet.Failure:
		return "red"
	case fleet.Warning:
		return "yellow"
	case fleet.Note:
		return "dim"
	}
	return ""
}

func mark(s fleet.Severity) string {
	switch s {
	case fleet.Failure:
		return "! "
	case fleet.Warning:
		return "* "
	case fleet.Note:
		return "- "
	}
	return "  "
}

// A column of figures. Those of the least worth go first where the screen is narrow.
type column struct {
	title string
	worth int
	value func(r *Row) string
}

const columnWidth = 8

var columns = []column{
	{"DEPTH", 9, func(r *Row) string { return count(r.Depth) }},
	{"INFLT", 5, func(r *Row) string { return ofChannel(r, count(r.InFlight)) }},
	{"DEFER", 1, func(r *Row) string { return ofChannel(r, count(r.Deferred)) }},
	{"IN/s", 8, func(r *Row) string { return rate(r.In) }},
	{"OUT/s", 7, func(r *Row) string { return ofChannel(r, rate(r.Out)) }},
	{"REQ/s", 3, func(r *Row) string { return ofChannel(r, rate(r.Requeue)) }},
	{"T-O/s", 2, func(r *Row) string { return ofChannel(r, rate(r.Timeout)) }},
	{"CONS", 6, func(r *Row) string { return ofChannel(r, count(int64(r.Clients))) }},
}

// ofChannel is a figure that topics do not have.
func ofChannel(r *Row, text string) string {
	if r.Channel == "" {
		return ""
	}
	return text
}

// fit are the columns that there is room for beside a name and a word of trouble, and how
// wide names are.
func fit(width, longest int) (shown []column, name int) {
	const word = 13
	name = min(max(longest, len("TOPIC/CHANNEL")), max(20, width/4))
	for worth := 0; worth < 10; worth++ {
		shown = shown[:0]
		for _, c := range columns {
			if c.worth >= worth {
				shown = append(shown, c)
			}
		}
		if 2+name+len(shown)*columnWidth+word <= width {
			break
		}
	}
	return shown, min(name, width-2)
}

func (p *page) table(s *Sample) {
	rows := s.Sorted(Orders[p.order], p.filter)
	longest := 0
	for _, r := range rows {
		longest = max(longest, len(r.Name()))
	}
	shown, name := fit(p.size.Columns, longest)
	head := "  " + pad("TOPIC/CHANNEL", name)
	for _, c := range shown {
		head += fmt.Sprintf("%*s", columnWidth, c.title)
	}
	p.put("reverse", pad(head+"  TROUBLE", p.size.Columns))
	p.page = max(p.size.Rows-len(p.lines)-1, 1) // the last line is the foot
	p.top = max(0, min(p.top, len(rows)-p.page))
	for _, r := range rows[p.top:min(p.top+p.page, len(rows))] {
		p.row(r, shown, name)
	}
	if len(rows) == 0 && p.filter != "" {
		p.put("dim", "  nothing has "+clean(p.filter)+" in its name")
	} else if len(rows) == 0 {
		p.put("dim", "  there is no such topic or channel")
	}
}

func (p *page) row(r *Row, shown []column, name int) {
	worst, reason := fleet.Severity(0), ""
	if len(r.Troubles) > 0 {
		worst, reason = r.Troubles[0].Severity, r.Troubles[0].Reason
	}
	text := mark(worst) + pad(r.Name(), name)
	for _, c := range shown {
		text += fmt.Sprintf("%*s", columnWidth, c.value(r))
	}
	const sentence = 30 // less room is for a word
	if reason != "" && p.size.Columns-utf8.RuneCountInString(text) < sentence {
		reason = r.Troubles[0].Kind
	}
	p.put(styleOf(worst), strings.TrimRight(text+"  "+clean(reason), " "))
}

// foot is the last line: what is being typed, or what can be.
func (p *page) foot() {
	p.lines = p.lines[:min(len(p.lines), p.size.Rows-1)]
	switch {
	case p.typing:
		p.put("", "/"+p.filter+"_   Enter keeps it, Esc does not")
	case p.helping:
		p.put("dim", "any key goes back")
	default:
		text := "q quit  s sort: " + string(Orders[p.order]) + "  / filter  ? help"
		if p.filter != "" {
			text = "/" + p.filter + "  Esc all  " + text
		}
		p.put("dim", text)
	}
}

func (p *page) help() {
	p.put("bold", "millrace stat: keys")
	for _, line := range []string{
		"",
		"q, Ctrl-C      quit",
		"s, S           sort by the next, the previous: " + p.orders(),
		"/              show names that contain what is typed; Enter keeps it, Esc does not",
		"Esc            show all again",
		"up, down, j, k, PgUp, PgDn, g, G   scroll",
		"space, r       ask the daemons now",
		"",
		"DEPTH waits to be delivered, INFLT is with consumers, DEFER waits for its time.",
		"IN, OUT, REQ, T-O: messages a second that came, were finished, requeued, timed out;",
		"\"-\" is not known yet. CONS: consumers. In front: ! failure, * warning, - note.",
	} {
		p.put("", line)
	}
}
