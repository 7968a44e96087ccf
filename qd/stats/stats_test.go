package stats_test

import (
	"encoding/json"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/qd/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// How latencies look, as nsqd's.
func TestLatency(t *testing.T) {
	for _, tt := range []struct {
		latency    stats.Latency
		text, json string
	}{
		{stats.Latency{}, "", `{"count":0,"percentiles":null}`},
		{
			stats.Latency{Count: 7, Percentiles: []stats.Percentile{
				{Quantile: 1, Value: 61.25e9}, {Quantile: 0.99, Value: 1.26e6}, {Quantile: 0.5, Value: 4321}, {Quantile: 0.1, Value: 17},
			}},
			"61.2s, 1.3ms, 4.3us, 17.0ns",
			`{"count":7,"percentiles":[{"quantile":1,"value":61250000000},{"quantile":0.99,"value":1260000},` +
				`{"quantile":0.5,"value":4321},{"quantile":0.1,"value":17}]}`,
		},
	} {
		if got := tt.latency.String(); got != tt.text {
			t.Errorf("%q, want %q", got, tt.text)
		}
		if got, err := json.Marshal(tt.latency); err != nil || string(got) != tt.json {
			t.Errorf("%s, %v, want %s", got, err, tt.json)
		}
	}
}
