package clients

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/millrace-mq/millrace/apps/bench/report"
)

// Row is what one workload gave. Fields without meaning for it are zero and not in
// the JSON.
type Row struct {
	Client string `json:"client"`
	Work   string `json:"work"`
	Broker string `json:"broker"`

	Messages int64   `json:"messages"` // that were timed
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"rate"` // messages a second
	Goal     float64 `json:"goal"` // the same

	CPU       float64 `json:"cpu_us_per_message,omitempty"`        // the client's, in microseconds
	BrokerCPU float64 `json:"broker_cpu_us_per_message,omitempty"` // the broker's
	Bytes     float64 `json:"allocated_bytes_per_message"`         // Go's only
	Objects   float64 `json:"allocations_per_message"`             // Go's only
	allocates bool    // it is Go's, and the two above mean something
}

var columns = []report.Column[Row]{
	{Title: "client", Names: true, Cell: func(r Row) string { return r.Client }},
	{Title: "work", Names: true, Cell: func(r Row) string { return r.Work }},
	{Title: "broker", Names: true, Cell: func(r Row) string { return r.Broker }},
	{Title: "messages/s", Cell: func(r Row) string { return report.Rate(r.Rate) }},
	{Title: "goal", Cell: func(r Row) string { return report.Rate(r.Goal) }},
	{Title: "× goal", Cell: func(r Row) string { return report.Number(r.Rate/r.Goal, 2) }},
	{Title: "CPU µs/message", Cell: func(r Row) string { return report.Number(r.CPU, 3) }},
	{Title: "broker's", Cell: func(r Row) string { return report.Number(r.BrokerCPU, 3) }},
	{Title: "allocated bytes/message", Cell: func(r Row) string { return r.allocated(r.Bytes, 1) }},
	{Title: "allocations/message", Cell: func(r Row) string { return r.allocated(r.Objects, 4) }},
}

// allocated shows 0, too: it is a figure like others.
func (r Row) allocated(v float64, decimals int) string {
	if !r.allocates {
		return ""
	}
	return fmt.Sprintf("%.*f", decimals, v)
}

// Table writes rows as a table.
func Table(w io.Writer, rows []Row) error { return report.Write(w, columns, rows) }

// median is the row with the middle rate, whole, so that its figures belong
// together; of two in the middle, the worse.
func median(rows []Row) Row {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(a.Rate, b.Rate) })
	return rows[(len(rows)-1)/2]
}
