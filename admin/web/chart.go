package web

import (
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/admin/history"
)

// History is what was measured before; *history.Store is one.
type History interface {
	Series(k history.Key, from, to time.Time, points int) history.Series
	Recent(k history.Key, m history.Metric, n int) []float64
}

type key = history.Key

const (
	chartPoints = 300
	tablePoints = 24 // rows of a chart's table
	sparkPoints = 30
)

// ranges are the times that charts can show, as they are named in the URL.
var ranges = []struct {
	name string
	long time.Duration
}{{"1h", time.Hour}, {"6h", 6 * time.Hour}, {"24h", 24 * time.Hour}, {"7d", 7 * 24 * time.Hour}}

// charts are all of a page, and the choice of the time they show.
type charts struct {
	Ranges []choice
	All    []chart
	API    string    // the same as data
	Since  time.Time // nothing is known from before; zero: nothing is left out for that
}

// chart is some metrics over time. Its points begin at From and are Step apart.
type chart struct {
	ID, Title, Unit string
	From            time.Time
	Step            time.Duration
	Lines           []line
	Marks           []history.Mark
	Range           string
}

type line struct {
	Name   string
	Values []float64 // NaN: not known
}

// chartKinds are what a page shows of a key: what moves, what lies there, what goes wrong.
var chartKinds = []struct {
	id, title, unit string
	metrics         []history.Metric
}{
	{"moving", "In and out", "/s", []history.Metric{history.In, history.Out}},
	{"lying", "Depth, in flight, deferred, dead", "", []history.Metric{history.Depth, history.InFlight, history.Deferred, history.Dead}},
	{"failing", "Requeued and timed out", "/s", []history.Metric{history.Requeue, history.Timeout}},
}

var metricNames = [history.Metrics]string{
	history.In: "In", history.Out: "Out", history.Requeue: "Requeued", history.Timeout: "Timed out",
	history.Depth: "Depth", history.InFlight: "In flight", history.Deferred: "Deferred", history.Dead: "Dead",
}

// charts draws a key's metrics over the time that the URL asks for.
func (u *UI) charts(v *view, k key) charts {
	if u.History == nil || v.Snapshot.At.IsZero() {
		return charts{}
	}
	long, name := ranges[0].long, ranges[0].name
	for _, r := range ranges {
		if r.name == v.Query.Get("range") {
			long, name = r.long, r.name
		}
	}
	c := charts{API: u.url("/api/history", "?node", k.Node, "topic", k.Topic, "channel", k.Channel, "from", "-"+long.String())}
	for i, r := range ranges {
		arg := r.name
		if i == 0 {
			arg = ""
		}
		c.Ranges = append(c.Ranges, choice{r.name, u.Base + v.Self("range", arg), r.name == name})
	}
	if long == ranges[0].long {
		long, c.Since = u.known(v.Snapshot.At, long)
	}
	s := u.History.Series(k, v.Snapshot.At.Add(-long), v.Snapshot.At, chartPoints)
	if len(s.Times) < 2 {
		return c
	}
	for _, kind := range chartKinds {
		one := chart{ID: kind.id, Title: kind.title, Unit: kind.unit, From: s.Times[0], Step: s.Step, Marks: s.Marks, Range: name}
		for _, m := range kind.metrics {
			one.Lines = append(one.Lines, line{metricNames[m], s.Values[m]})
		}
		c.All = append(c.All, one)
	}
	return c
}

// known is how much of the time before now is shown while little of it is known: of an
// admin that was started a minute ago, an hour would be a dot. since is then when
// anything is known from. All pages show the same time, so that they can be compared.
func (u *UI) known(now time.Time, long time.Duration) (shown time.Duration, since time.Time) {
	s := u.History.Series(key{}, now.Add(-long), now, chartPoints)
	first := slices.IndexFunc(s.Values[history.Depth], isNumber)
	if first < 0 {
		return long, time.Time{}
	}
	for _, d := range []time.Duration{long / 12, long / 4, long / 2} {
		if s.Times[first].After(now.Add(-d)) {
			return d, s.Times[first]
		}
	}
	return long, time.Time{}
}

// Data are the points for a browser that draws them itself. What they are rounded to
// is finer than a line on a screen.
func (c chart) Data() (string, error) {
	type data struct {
		Name   string    `json:"name"`
		Values []*number `json:"values"`
	}
	d := struct {
		From   int64   `json:"from"` // seconds
		Step   float64 `json:"step"`
		Unit   string  `json:"unit,omitempty"`
		Series []data  `json:"series"`
		Marks  []int64 `json:"marks,omitempty"`
	}{From: c.From.Unix(), Step: c.Step.Seconds(), Unit: c.Unit}
	for _, l := range c.Lines {
		values := make([]*number, len(l.Values))
		for i, f := range l.Values {
			if isNumber(f) {
				n := number(f)
				values[i] = &n
			}
		}
		d.Series = append(d.Series, data{l.Name, values})
	}
	for _, m := range c.Marks {
		d.Marks = append(d.Marks, m.At.Unix())
	}
	b, err := json.Marshal(d)
	return string(b), err
}

// number is a float with as many digits as a chart needs of it.
type number float64

// MarshalJSON writes thousands to the one, as they are counted, and all else with 4
// digits, so that a chart's data are a few kilobytes.
func (n number) MarshalJSON() ([]byte, error) {
	if n >= 1000 && n < 1e9 {
		return strconv.AppendFloat(nil, float64(n), 'f', 0, 64), nil
	}
	return strconv.AppendFloat(nil, float64(n), 'g', 4, 64), nil
}

func isNumber(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// moments is one row of a chart's table.
type moments struct {
	At     time.Time
	Values []template.HTML
}

// Rows are the chart as a table, the newest first: the mean of what a row stands for
// of rates, the highest of all else.
func (c chart) Rows() []moments {
	n := len(c.Lines[0].Values)
	per := max(1, (n+tablePoints-1)/tablePoints)
	var rows []moments
	for to := n; to > 0; to -= per {
		from := max(0, to-per)
		row := moments{At: c.From.Add(time.Duration(from) * c.Step)}
		for _, l := range c.Lines {
			row.Values = append(row.Values, c.cell(l.Values[from:to]))
		}
		rows = append(rows, row)
	}
	return rows
}

func (c chart) cell(values []float64) template.HTML {
	total, top, n := 0.0, 0.0, 0
	for _, f := range values {
		if isNumber(f) {
			total, top, n = total+f, max(top, f), n+1
		}
	}
	switch {
	case n == 0:
		return unknown
	case c.Unit != "":
		return rate(total / float64(n))
	}
	return num(int64(min(top, math.MaxInt64/2)))
}

// Top is the highest value, rounded up to a number that people count in.
func (c chart) Top() float64 {
	top := 0.0
	for _, l := range c.Lines {
		for _, f := range l.Values {
			if isNumber(f) {
				top = max(top, f)
			}
		}
	}
	return nice(top)
}

// nice is the least of 1, 2, 5, 10, 20, … that is not below f.
func nice(f float64) float64 {
	if f <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(f)))
	for _, n := range []float64{1, 2, 5} {
		if f <= n*unit {
			return min(n*unit, math.MaxFloat64)
		}
	}
	return min(10*unit, math.MaxFloat64)
}

// The drawing is 600 by 180, with room for numbers on the left and times below.
const (
	chartLeft, chartRight = 46.0, 592.0
	chartTop, chartBottom = 10.0, 156.0
)

// SVG draws the chart without a script.
func (c chart) SVG() template.HTML {
	var b strings.Builder
	top := c.Top()
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 600 180" role="img" aria-label="%s">`, template.HTMLEscapeString(c.Title+", "+c.Range+": "+c.summary()))
	for i := range 3 { // nothing, half, all
		y := chartBottom - float64(i)/2*(chartBottom-chartTop)
		fmt.Fprintf(&b, `<path class="grid" d="M%g %gH%g"/><text x="%g" y="%g" text-anchor="end">%s</text>`,
			chartLeft, y, chartRight, chartLeft-6, y+4, template.HTMLEscapeString(axis(top*(float64(i)/2))))
	}
	n := len(c.Lines[0].Values)
	for i := range 4 {
		at := c.From.Add(time.Duration(i) * time.Duration(n-1) * c.Step / 3)
		anchor := []string{"start", "middle", "middle", "end"}[i]
		fmt.Fprintf(&b, `<text x="%s" y="174" text-anchor="%s">%s</text>`, coordinate(chartLeft+float64(i)/3*(chartRight-chartLeft)), anchor, c.label(at))
	}
	for _, m := range c.Marks {
		if x := float64(m.At.Sub(c.From)) / float64(c.Step); x >= 0 && x <= float64(n) {
			at := coordinate(chartLeft + x/float64(max(1, n-1))*(chartRight-chartLeft))
			fmt.Fprintf(&b, `<path class="mark" d="M%s %gV%g"><title>%s</title></path>`, at, chartTop, chartBottom, template.HTMLEscapeString(clock(m.At)+" "+m.Node+" "+m.What))
		}
	}
	for i, l := range c.Lines {
		fmt.Fprintf(&b, `<path class="line s%d" d="%s"/>`, i+1, trace(l.Values, top, chartLeft, chartRight, chartTop, chartBottom))
	}
	b.WriteString(`</svg>`)
	// #nosec G203 -- numbers of ours; names are escaped
	return template.HTML(b.String())
}

func axis(f float64) string {
	if f > 0 && f < 1 {
		return strings.TrimSuffix(fmt.Sprintf("%.2g", f), ".0")
	}
	return short(f)
}

func (c chart) label(at time.Time) string {
	if c.Range == "7d" {
		return at.UTC().Format("Jan 2")
	}
	return at.UTC().Format("15:04")
}

// summary is the chart in a sentence, for those who hear it.
func (c chart) summary() string {
	var parts []string
	for _, l := range c.Lines {
		top, last := 0.0, math.NaN()
		for _, f := range l.Values {
			if isNumber(f) {
				top, last = max(top, f), f
			}
		}
		if !math.IsNaN(last) {
			parts = append(parts, strings.ToLower(l.Name)+" "+rateText(last)+c.Unit+" now, at most "+rateText(top))
		}
	}
	if len(parts) == 0 {
		return "nothing is known yet"
	}
	return strings.Join(parts, "; ")
}

// trace is a line through values in a box, with gaps where they are not known. What is
// known between two gaps alone is a dot.
func trace(values []float64, top, left, right, upper, lower float64) string {
	var d strings.Builder
	down := false // the pen
	for i, f := range values {
		if !isNumber(f) {
			down = false
			continue
		}
		x := left + float64(i)*(right-left)/float64(max(1, len(values)-1))
		y := lower
		if top > 0 {
			y -= (lower - upper) * min(max(f, 0)/top, 1)
		}
		fmt.Fprintf(&d, "%c%s %s", "ML"[b2i(down)], coordinate(x), coordinate(y))
		if !down && (i+1 == len(values) || !isNumber(values[i+1])) {
			d.WriteString("h.1")
		}
		down = true
	}
	return d.String()
}

// trend draws a key's last hour: what came as a line, and what lay there as an area
// behind it, each by its own measure.
func (u *UI) trend(k key) template.HTML {
	if u.History == nil {
		return ""
	}
	in, depth := u.History.Recent(k, history.In, sparkPoints), u.History.Recent(k, history.Depth, sparkPoints)
	topIn, knownIn := highest(in)
	topDepth, knownDepth := highest(depth)
	if knownIn+knownDepth < 2 {
		return ""
	}
	// #nosec G203 -- numbers of ours; names are escaped
	return template.HTML(fmt.Sprintf(
		`<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label="last hour: in at most %s per second, depth at most %s"><path class="area" d="%s"/><path d="%s"/></svg>`,
		rateText(topIn), rateText(topDepth), area(depth, topDepth), trace(in, topIn, 0, 100, 1, 19)))
}

// spark draws one metric's last hour.
func (u *UI) spark(k key, m history.Metric) template.HTML {
	if u.History == nil {
		return ""
	}
	values := u.History.Recent(k, m, sparkPoints)
	top, known := highest(values)
	if known < 2 {
		return ""
	}
	// #nosec G203 -- numbers of ours; names are escaped
	return template.HTML(fmt.Sprintf(`<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label="last hour: at most %s"><path d="%s"/></svg>`,
		rateText(top), trace(values, top, 0, 100, 1, 19)))
}

func highest(values []float64) (top float64, known int) {
	for _, f := range values {
		if isNumber(f) {
			top, known = max(top, f), known+1
		}
	}
	return top, known
}

// area is what lies below values in a box of 100 by 20.
func area(values []float64, top float64) string {
	if top <= 0 {
		return ""
	}
	var d strings.Builder
	start := -1
	for i := range len(values) + 1 {
		switch known := i < len(values) && isNumber(values[i]); {
		case known && start < 0:
			start = i
		case !known && start >= 0:
			step := 100 / float64(max(1, len(values)-1))
			fmt.Fprintf(&d, "M%s 20", coordinate(float64(start)*step))
			for j := start; j < i; j++ {
				fmt.Fprintf(&d, "L%s %s", coordinate(float64(j)*step), coordinate(20-18*min(max(values[j], 0)/top, 1)))
			}
			fmt.Fprintf(&d, "V20z")
			start = -1
		}
	}
	return d.String()
}
