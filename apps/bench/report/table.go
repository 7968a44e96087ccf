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

// JSON writes rows, a slice, as one object.
func JSON(w io.Writer, rows any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Rows any `json:"rows"`
	}{rows})
}

// Column is a column of a table of rows R. Cell returns "" where it means
// nothing. A column that is empty in every row is left out.
type Column[R any] struct {
	Title string
	Cell  func(R) string
	Names bool // its cells are names, not figures, and aligned to the left
}

var columns = []Column[Row]{
	{"work", func(r Row) string { return r.Result.Work }, true},
	{"broker", func(r Row) string { return r.Result.Broker }, true},
	{"layers", func(r Row) string { return r.Result.Layers }, true},
	{"messages/s", func(r Row) string { return Rate(r.Result.Rate) }, false},
	{"null's", func(r Row) string {
		if r.Null == nil {
			return ""
		}
		return Rate(r.Null.Rate)
	}, false},
	{"× plain", func(r Row) string { return Number(r.OfPlain, 3) }, false},
	{"× null", func(r Row) string { return Number(r.OfNull, 3) }, false},
	{"× null publish", func(r Row) string { return Number(r.OfNullPublish, 3) }, false},
	{"CPU µs/message", func(r Row) string { return Number(r.Result.CPUPerMessage, 3) }, false},
	{"load µs/message", func(r Row) string { return Number(r.Result.LoadPerMessage, 3) }, false},
	{"CPU %", func(r Row) string {
		if r.Result.Rate > 0 || r.Result.Resident == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f", r.Result.CPUPercent)
	}, false},
	{"resident", func(r Row) string { return Megabytes(r.Result.Resident) }, false},
	{"peak", func(r Row) string { return Megabytes(r.Result.Peak) }, false},
	{"p50 µs", latency(func(l *Latency) float64 { return l.P50 }), false},
	{"p99 µs", latency(func(l *Latency) float64 { return l.P99 }), false},
	{"p99.9 µs", latency(func(l *Latency) float64 { return l.P999 }), false},
	{"max µs", latency(func(l *Latency) float64 { return l.Max }), false},
}

// Table writes rows as a table that is legible as it stands and also Markdown.
func Table(w io.Writer, rows []Row) error { return Write(w, columns, rows) }

// Write writes rows as a table of columns.
func Write[R any](w io.Writer, columns []Column[R], rows []R) error {
	var shown []cells
	for _, c := range columns {
		text, any := []string{c.Title}, false
		for _, r := range rows {
			text = append(text, c.Cell(r))
			any = any || text[len(text)-1] != ""
		}
		if any {
			shown = append(shown, cells{text, c.Names})
		}
	}
	var b strings.Builder
	for line := range len(rows) + 1 {
		for _, c := range shown {
			b.WriteString("| " + pad(c.text[line], c.width(), c.names) + " ")
		}
		b.WriteString("|\n")
		if line == 0 {
			rule(&b, shown)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cells is a column as it is shown.
type cells struct {
	text  []string // its title, then its cells
	names bool
}

// rule writes what Markdown wants below the titles; it aligns all but names to
// the right.
func rule(b *strings.Builder, shown []cells) {
	for _, c := range shown {
		dashes := strings.Repeat("-", c.width()+1)
		if c.names {
			b.WriteString("|" + dashes + "-")
		} else {
			b.WriteString("|" + dashes + ":")
		}
	}
	b.WriteString("|\n")
}

func (c cells) width() (w int) {
	for _, text := range c.text {
		w = max(w, utf8.RuneCountInString(text))
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

// Number is v with decimals; empty if it is 0.
func Number(v float64, decimals int) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.*f", decimals, v)
}

// Rate is v in thousands or millions if it is large; empty if it is 0.
func Rate(v float64) string {
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

// Megabytes is n bytes in millions of them; empty if it is 0.
func Megabytes(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
