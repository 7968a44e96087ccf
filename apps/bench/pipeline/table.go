package pipeline

import (
	"cmp"
	"io"
	"slices"
	"strconv"

	"github.com/millrace-mq/millrace/apps/bench/report"
)

// Row is what one work gave. Fields without meaning for it are zero and not in the JSON.
type Row struct {
	Work   string `json:"work"`
	Files  string `json:"files"`
	Broker string `json:"broker"`

	Lines   int64   `json:"lines"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate"`           // lines a second
	Goal    float64 `json:"goal,omitempty"` // the same

	Pub    Cost `json:"pub,omitzero"`
	Of     Cost `json:"broker_cost,omitzero"`
	ToFile Cost `json:"to_file,omitzero"`

	Ratio      float64 `json:"ratio,omitempty"`      // bytes of lines to those of compressed files
	Duplicates int64   `json:"duplicates,omitempty"` // lines that are there once more
	Disorder   int64   `json:"disorder,omitempty"`   // lines after one with a higher number
}

// Cost is what a program took.
type Cost struct {
	CPU  float64 `json:"cpu_us_per_line,omitempty"` // in microseconds; with its start and end, but for the broker's
	Peak int64   `json:"peak_bytes,omitempty"`      // memory
}

func (r Row) key() string { return r.Work + ", " + r.Files + " files" }

var columns = []report.Column[Row]{
	{Title: "work", Names: true, Cell: func(r Row) string { return r.Work }},
	{Title: "files", Names: true, Cell: func(r Row) string { return r.Files }},
	{Title: "broker", Names: true, Cell: func(r Row) string { return r.Broker }},
	{Title: "lines/s", Cell: func(r Row) string { return report.Rate(r.Rate) }},
	{Title: "× goal", Cell: func(r Row) string {
		if r.Goal == 0 {
			return ""
		}
		return report.Number(r.Rate/r.Goal, 2)
	}},
	{Title: "ratio", Cell: func(r Row) string { return report.Number(r.Ratio, 2) }},
	{Title: "pub, CPU µs/line", Cell: func(r Row) string { return report.Number(r.Pub.CPU, 3) }},
	{Title: "broker", Cell: func(r Row) string { return report.Number(r.Of.CPU, 3) }},
	{Title: "to_file", Cell: func(r Row) string { return report.Number(r.ToFile.CPU, 3) }},
	{Title: "pub, peak", Cell: func(r Row) string { return report.Megabytes(r.Pub.Peak) }},
	{Title: "broker", Cell: func(r Row) string { return report.Megabytes(r.Of.Peak) }},
	{Title: "to_file", Cell: func(r Row) string { return report.Megabytes(r.ToFile.Peak) }},
	{Title: "twice", Cell: func(r Row) string { return count(r.Duplicates) }},
	{Title: "out of order", Cell: func(r Row) string { return count(r.Disorder) }},
}

func count(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// Table writes rows as a table.
func Table(w io.Writer, rows []Row) error { return report.Write(w, columns, rows) }

// median is the row with the middle rate, whole, so that its figures belong together; of
// two in the middle, the worse. What went wrong in any round stays to be seen.
func median(rows []Row) Row {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(a.Rate, b.Rate) })
	row := rows[(len(rows)-1)/2]
	for _, r := range rows {
		row.Duplicates, row.Disorder = max(row.Duplicates, r.Duplicates), max(row.Disorder, r.Disorder)
	}
	return row
}
