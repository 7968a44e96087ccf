package report

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	upTo := func(n int) (d []time.Duration) {
		for i := range n {
			d = append(d, time.Duration(i+1))
		}
		return d
	}
	for _, c := range []struct {
		samples, perMille int
		want              time.Duration
	}{
		{1, 500, 1}, {1, 1000, 1}, {2, 500, 1}, {3, 500, 2},
		{100, 990, 99}, {100, 999, 100}, {101, 990, 100},
		{1000, 999, 999}, {1001, 999, 1000}, {1000, 1000, 1000}, {1000, 0, 1},
	} {
		if got := Percentile(upTo(c.samples), c.perMille); got != c.want {
			t.Errorf("%d thousandths of 1…%d: %d, want %d", c.perMille, c.samples, got, c.want)
		}
	}
	if Summarize(nil) != nil {
		t.Error("no samples have a distribution")
	}
	l := Summarize([]time.Duration{1500, 2500, 3500})
	if *l != (Latency{3, 2.5, 3.5, 3.5, 3.5}) {
		t.Errorf("%+v", *l)
	}
}

func TestMedian(t *testing.T) {
	rate := func(v float64) Result { return Result{Rate: v} }
	p50 := func(v float64) Result { return Result{Rate: 5000 - v, Latency: &Latency{P50: v}} }
	memory := func(v int64) Result { return Result{Resident: v} }
	for _, c := range []struct {
		name   string
		rounds []Result
		want   Result
	}{
		{"one", []Result{rate(5)}, rate(5)},
		{"three rates", []Result{rate(9), rate(1), rate(5)}, rate(5)},
		{"of two rates the lower", []Result{rate(9), rate(5)}, rate(5)},
		{"three latencies", []Result{p50(3), p50(1), p50(2)}, p50(2)},
		{"of two latencies the longer", []Result{p50(1), p50(3)}, p50(3)},
		{"of two memories the larger", []Result{memory(1), memory(3)}, memory(3)},
	} {
		got := Median(c.rounds)
		if got.Rate != c.want.Rate || got.Resident != c.want.Resident {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// rows are those of a suite with one round.
func rows() []Row {
	return Rows([]Result{
		{Work: "publish", Broker: "qd", Rate: 5_000_000, CPUPerMessage: 0.1234, Resident: 450_000_000},
		{Work: "both", Broker: "qd", Rate: 3_000_000, CPUPerMessage: 0.4},
		{Work: "latency", Broker: "qd", Rate: 5000, Latency: &Latency{10, 111.4, 900, 1234.5, 99999}},
		{Work: "idle", Broker: "qd", CPUPercent: 0.25, Resident: 20_000_000},
	}, []Result{{Work: "publish", Rate: 20_000_000}, {Work: "both", Rate: 10_000_000}})
}

const golden = `
| work    | broker | messages/s |  null's | × null | × null publish | CPU µs/message | CPU % | resident | p50 µs | p99 µs | p99.9 µs | max µs |
|---------|--------|-----------:|--------:|-------:|---------------:|---------------:|------:|---------:|-------:|-------:|---------:|-------:|
| publish | qd     |     5.00 M | 20.00 M |  0.250 |          0.250 |          0.123 |       | 450.0 MB |        |        |          |        |
| both    | qd     |     3.00 M | 10.00 M |  0.300 |          0.150 |          0.400 |       |          |        |        |          |        |
| latency | qd     |       5000 |         |        |                |                |       |          |    111 |    900 |     1234 |  99999 |
| idle    | qd     |            |         |        |                |                |  0.25 |  20.0 MB |        |        |          |        |
`

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := Table(&b, rows()); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != golden[1:] {
		t.Errorf("got\n%swant%s", got, golden)
	}
}

const goldenLayers = `
| work  | broker | layers     | messages/s | × plain | CPU µs/message |
|-------|--------|------------|-----------:|--------:|---------------:|
| both  | qd     |            |     4.00 M |         |          0.200 |
| both  | qd     | tls+snappy |     1.00 M |   0.250 |          0.750 |
| drain | qd     | tls        |     3.00 M |         |          0.300 |
`

// A result through layers stands beside the same work without them.
func TestLayers(t *testing.T) {
	var b strings.Builder
	err := Table(&b, Rows([]Result{
		{Work: "both", Broker: "qd", Rate: 4_000_000, CPUPerMessage: 0.2},
		{Work: "both", Broker: "qd", Layers: "tls+snappy", Rate: 1_000_000, CPUPerMessage: 0.75},
		{Work: "drain", Broker: "qd", Layers: "tls", Rate: 3_000_000, CPUPerMessage: 0.3},
	}, nil))
	if got := b.String(); err != nil || got != goldenLayers[1:] {
		t.Errorf("%v, got\n%swant%s", err, got, goldenLayers)
	}
}

func TestJSON(t *testing.T) {
	var b strings.Builder
	if err := JSON(&b, rows()); err != nil {
		t.Fatal(err)
	}
	var got struct{ Rows []Row }
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 4 || got.Rows[0].OfNull != 0.25 || got.Rows[1].OfNullPublish != 0.15 || got.Rows[2].Result.Latency.P999 != 1234.5 {
		t.Errorf("%s", b.String())
	}
}
