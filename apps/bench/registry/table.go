package registry

import (
	"fmt"
	"io"

	"github.com/millrace-mq/millrace/apps/bench/report"
)

// Row is what one measurement gave. Fields without meaning for it are zero and
// not in the JSON.
type Row struct {
	Lookupd   string `json:"lookupd"`
	Daemons   int    `json:"daemons"`
	Topics    int    `json:"topics"`
	Producers int    `json:"producers"` // daemons that have a topic
	Channels  int    `json:"channels"`  // of a topic
	Extended  bool   `json:"extended"`  // the extension of V1 was spoken

	Work      string `json:"work"`
	Meanwhile string `json:"meanwhile,omitempty"`

	Count   int64   `json:"count,omitempty"` // of registrations, lookups or pages
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate,omitempty"` // of what is counted, a second

	CPUEach    float64 `json:"cpu_us_each,omitempty"`   // the lookupd's, in microseconds
	CPUPercent float64 `json:"cpu_percent,omitempty"`   // the lookupd's, of one CPU
	OwnPercent float64 `json:"bench_percent,omitempty"` // our own, of one CPU
	Resident   int64   `json:"resident_bytes,omitempty"`
	Peak       int64   `json:"peak_bytes,omitempty"`
	BytesEach  float64 `json:"bytes_each,omitempty"` // of memory, by what it has grown

	Answer    float64         `json:"answer_bytes,omitempty"`  // of one answer, the mean
	FirstByte float64         `json:"first_byte_ms,omitempty"` // of its body
	Latency   *report.Latency `json:"latency,omitempty"`
	Errors    int64           `json:"errors,omitempty"` // requests without a good answer
}

// columns are those of a run.
var columns = []report.Column[Row]{
	{Title: "work", Names: true, Cell: func(r Row) string { return r.Work }},
	{Title: "meanwhile", Names: true, Cell: func(r Row) string { return r.Meanwhile }},
	{Title: "count", Cell: func(r Row) string { return integer(r.Count) }},
	{Title: "seconds", Cell: func(r Row) string { return report.Number(r.Seconds, 4) }},
	{Title: "a second", Cell: func(r Row) string { return report.Rate(r.Rate) }},
	{Title: "CPU µs each", Cell: func(r Row) string { return report.Number(r.CPUEach, 2) }},
	{Title: "CPU %", Cell: func(r Row) string { return report.Number(r.CPUPercent, 0) }},
	{Title: "bench %", Cell: func(r Row) string { return report.Number(r.OwnPercent, 0) }},
	{Title: "resident", Cell: func(r Row) string { return report.Megabytes(r.Resident) }},
	{Title: "peak", Cell: func(r Row) string { return report.Megabytes(r.Peak) }},
	{Title: "bytes each", Cell: func(r Row) string { return report.Number(r.BytesEach, 0) }},
	{Title: "answer bytes", Cell: func(r Row) string { return report.Number(r.Answer, 0) }},
	{Title: "first byte ms", Cell: func(r Row) string { return report.Number(r.FirstByte, 2) }},
	{Title: "p50 µs", Cell: latency(func(l *report.Latency) float64 { return l.P50 })},
	{Title: "p99 µs", Cell: latency(func(l *report.Latency) float64 { return l.P99 })},
	{Title: "p99.9 µs", Cell: latency(func(l *report.Latency) float64 { return l.P999 })},
	{Title: "max µs", Cell: latency(func(l *report.Latency) float64 { return l.Max })},
	{Title: "errors", Cell: func(r Row) string { return integer(r.Errors) }},
}

func integer(n int64) string { return report.Number(float64(n), 0) }

func latency(of func(*report.Latency) float64) func(Row) string {
	return func(r Row) string {
		if r.Latency == nil {
			return ""
		}
		return report.Number(of(r.Latency), 0)
	}
}

// Table writes the rows of a run below a line that says of what, or those of
// several with a row for each cluster.
func Table(w io.Writer, s Settings, rows []Row) error {
	if s.Grow {
		return report.Write(w, growth, byCluster(rows))
	}
	if len(rows) == 0 {
		return nil
	}
	r := rows[0]
	said, popular := "plain V1", "topics all alike"
	if r.Extended {
		said = "V1 with its extension"
	}
	if s.Zipf > 0 {
		popular = fmt.Sprintf("topics by Zipf, exponent %v", s.Zipf)
	}
	if _, err := fmt.Fprintf(w, "%s: %d daemons, %d topics on %d each, %d channels, %s; lookups: %s, %d connections\n\n",
		r.Lookupd, r.Daemons, r.Topics, r.Producers, r.Channels, said, popular, s.Conns); err != nil {
		return err
	}
	return report.Write(w, columns, rows)
}

// sized is the rows of one cluster by their work.
type sized map[string]Row

func byCluster(rows []Row) (list []sized) {
	for _, r := range rows {
		if r.Work == registering {
			list = append(list, sized{})
		}
		if last := list[len(list)-1]; r.Meanwhile == "" {
			last[r.Work] = r
		}
	}
	return list
}

// growth is the columns of --grow.
var growth = []report.Column[sized]{
	{Title: "lookupd", Names: true, Cell: func(m sized) string { return m[registering].Lookupd }},
	{Title: "daemons", Cell: func(m sized) string { return integer(int64(m[registering].Daemons)) }},
	{Title: "topics", Cell: func(m sized) string { return integer(int64(m[registering].Topics)) }},
	{Title: "registrations", Cell: func(m sized) string { return integer(m[registering].Count) }},
	{Title: "a second", Cell: func(m sized) string { return report.Rate(m[registering].Rate) }},
	{Title: "CPU µs each", Cell: func(m sized) string { return report.Number(m[registering].CPUEach, 2) }},
	{Title: "resident", Cell: func(m sized) string { return report.Megabytes(m[registering].Resident) }},
	{Title: "bytes each", Cell: func(m sized) string { return report.Number(m[registering].BytesEach, 0) }},
	{Title: "large back s", Cell: func(m sized) string { return report.Number(m[returning].Seconds, 3) }},
	{Title: "lookup µs CPU", Cell: func(m sized) string { return report.Number(m[lookingUp].CPUEach, 1) }},
	{Title: "p50 µs", Cell: func(m sized) string { return latency(func(l *report.Latency) float64 { return l.P50 })(m[lookingUp]) }},
	{Title: "p99 µs", Cell: func(m sized) string { return latency(func(l *report.Latency) float64 { return l.P99 })(m[lookingUp]) }},
	{Title: "p99.9 µs", Cell: func(m sized) string { return latency(func(l *report.Latency) float64 { return l.P999 })(m[lookingUp]) }},
	{Title: "max µs", Cell: func(m sized) string { return latency(func(l *report.Latency) float64 { return l.Max })(m[lookingUp]) }},
	{Title: "errors", Cell: func(m sized) string { return integer(m[lookingUp].Errors) }},
	{Title: "/topics s", Cell: func(m sized) string { return report.Number(m["/topics"].Seconds, 3) }},
	{Title: "/nodes s", Cell: func(m sized) string { return report.Number(m["/nodes"].Seconds, 3) }},
}
