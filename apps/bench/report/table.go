package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Row is a workload on the broker under test and, if it was measured, on the
// null broker in the same run.
type Row struct {
	Result Result  `json:"result"`
	Null   *Result `json:"null,omitempty"`

	// Ratios to the null broker: to its figure for the same work, and to its
	// plain publish.
	OfNull        float64 `json:"of_null,omitempty"`
	OfNullPublish float64 `json:"of_null_publish,omitempty"`
	// OfPlain is the ratio to the same work without layers in the same run.
	OfPlain float64 `json:"of_plain,omitempty"`
}

// Rows pairs results with null's of the same work, and those that have layers
// with those that have none, and sets the ratios.
func Rows(results, null []Result) []Row {
	rate, plain := map[string]*Result{}, map[string]*Result{}
	for i := range null {
		rate[null[i].Work] = &null[i]
	}
	for i := range results {
		if results[i].Layers == "" {
			plain[results[i].Work] = &results[i]
		}
	}
	var rows []Row
	for _, r := range results {
		row := Row{Result: r, Null: rate[r.Work]}
		row.OfNull = ratio(r, row.Null)
		row.OfNullPublish = ratio(r, rate["publish"])
		if r.Layers != "" {
			row.OfPlain = ratio(r, plain[r.Work])
		}
		rows = append(rows, row)
	}
	return rows
}

// ratio is 0 without a rate to compare with, and for a rate that was asked for.
func ratio(r Result, to *Result) float64 {
	if to == nil || to.Rate == 0 || r.Latency != nil {
		return 0
	}
	return r.Rate / to.Rate
}

// JSON writes rows as one object.
func JSON(w io.Writer, rows []Row) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Rows []Row `json:"rows"`
	}{rows})
}

// column is a column of the table; cell returns "" where it means nothing. A
// column that is empty in every row is left out.
type column struct {
	title string
	cell  func(Row) string
}

var columns = []column{
	{"work", func(r Row) string { return r.Result.Work }},
	{"broker", func(r Row) string { return r.Result.Broker }},
	{"layers", func(r Row) string { return r.Result.Layers }},
	{"messages/s", func(r Row) string { return rate(r.Result.Rate) }},
	{"null's", func(r Row) string {
		if r.Null == nil {
			return ""
		}
		return rate(r.Null.Rate)
	}},
	{"× plain", func(r Row) string { return number(r.OfPlain, 3) }},
	{"× null", func(r Row) string { return number(r.OfNull, 3) }},
	{"× null publish", func(r Row) string { return number(r.OfNullPublish, 3) }},
	{"CPU µs/message", func(r Row) string { return number(r.Result.CPUPerMessage, 3) }},
	{"load µs/message", func(r Row) string { return number(r.Result.LoadPerMessage, 3) }},
	{"CPU %", func(r Row) string {
		if r.Result.Rate > 0 || r.Result.Resident == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f", r.Result.CPUPercent)
	}},
	{"resident", func(r Row) string { return megabytes(r.Result.Resident) }},
	{"peak", func(r Row) string { return megabytes(r.Result.Peak) }},
	{"p50 µs", latency(func(l *Latency) float64 { return l.P50 })},
	{"p99 µs", latency(func(l *Latency) float64 { return l.P99 })},
	{"p99.9 µs", latency(func(l *Latency) float64 { return l.P999 })},
	{"max µs", latency(func(l *Latency) float64 { return l.Max })},
}

// Table writes rows as a table that is legible as it stands and also Markdown.
func Table(w io.Writer, rows []Row) error {
	var shown [][]string // a column is its title, then its cells
	for _, c := range columns {
		cells, any := []string{c.title}, false
		for _, r := range rows {
			cells = append(cells, c.cell(r))
			any = any || c.cell(r) != ""
		}
		if any {
			shown = append(shown, cells)
		}
	}
	var b strings.Builder
	for line := range len(rows) + 1 {
		for _, cells := range shown {
			b.WriteString("| " + pad(cells[line], width(cells), isText(cells)) + " ")
		}
		b.WriteString("|\n")
		if line == 0 {
			rule(&b, shown)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// rule writes what Markdown wants below the titles; it aligns all but names to
// the right.
func rule(b *strings.Builder, shown [][]string) {
	for _, cells := range shown {
		dashes := strings.Repeat("-", width(cells)+1)
		if isText(cells) {
			b.WriteString("|" + dashes + "-")
		} else {
			b.WriteString("|" + dashes + ":")
		}
	}
	b.WriteString("|\n")
}

// isText reports whether a column, of which the first cell is the title, has names.
func isText(column []string) bool {
	return column[0] == "work" || column[0] == "broker" || column[0] == "layers"
}

func width(cells []string) (w int) {
	for _, c := range cells {
		w = max(w, utf8.RuneCountInString(c))
	}
	return w
}

func pad(s string, width int, left bool) string {
	space := strings.Repeat(" ", width-utf8.RuneCountInString(s))
	if left {
		return s + space
	}
	return space + s
}

func latency(of func(*Latency) float64) func(Row) string {
	return func(r Row) string {
		if r.Result.Latency == nil {
			return ""
		}
		return fmt.Sprintf("%.0f", of(r.Result.Latency))
	}
}

func number(v float64, decimals int) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.*f", decimals, v)
}

func rate(v float64) string {
	switch {
	case v == 0:
		return ""
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	}
	return fmt.Sprintf("%.0f", v)
}

func megabytes(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
