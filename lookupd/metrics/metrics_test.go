package metrics_test

import (
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/lookupd/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var full = metrics.Figures{
	Daemons: map[string]int{"ready": 3, "draining": 1}, Away: 2, Topics: 4, Channels: 5, Registrations: 6, Tombstones: 7,
	TCP: metrics.TCP{
		Strangers: 8, Plain: 9, Extended: 10, TLS: 11, Accepted: 12,
		Refused: map[string]uint64{"slow": 13}, Commands: map[string]uint64{"PING": 14}, Resyncs: 15,
	},
	Audit:  &audit.Counts{Written: 16, Lost: 17, Failures: 18},
	Access: &access.Counts{Unknown: 19, Expired: 20, Refused: 21},
}

func scrape(t *testing.T) string {
	t.Helper()
	requests := metrics.NewRequests()
	requests.Observe("/lookup", 200, 300*time.Microsecond)
	requests.Observe("/lookup", 404, time.Millisecond)
	requests.Observe("/nodes", 0, time.Minute)
	requests.Observe("", 404, 0)
	w := httptest.NewRecorder()
	metrics.Handler(func() metrics.Figures { return full }, requests, slog.New(slog.DiscardHandler)).
		ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestAScrape(t *testing.T) {
	got := scrape(t)
	for _, want := range []string{
		`millrace_lookupd_daemons{state="ready"} 3`, `millrace_lookupd_daemons{state="draining"} 1`, `millrace_lookupd_daemons_away 2`,
		`millrace_lookupd_topics 4`, `millrace_lookupd_channels 5`, `millrace_lookupd_registrations 6`, `millrace_lookupd_tombstones_total 7`,
		`millrace_lookupd_connections{kind="stranger"} 8`, `millrace_lookupd_connections{kind="plain"} 9`,
		`millrace_lookupd_connections{kind="extended"} 10`, `millrace_lookupd_tls_connections 11`,
		`millrace_lookupd_accepted_connections_total 12`, `millrace_lookupd_refused_connections_total{cause="slow"} 13`,
		`millrace_lookupd_commands_total{command="PING"} 14`, `millrace_lookupd_resyncs_total 15`,
		`millrace_lookupd_audit_lines_total 16`, `millrace_lookupd_audit_lost_lines_total 17`, `millrace_lookupd_audit_write_failures_total 18`,
		`millrace_lookupd_access_refused_total{cause="unknown_secret"} 19`, `millrace_lookupd_access_refused_total{cause="expired_token"} 20`,
		`millrace_lookupd_access_refused_total{cause="no_right"} 21`,
		`millrace_lookupd_http_requests_total{code="200",path="/lookup"} 1`, `millrace_lookupd_http_requests_total{code="404",path="/lookup"} 1`,
		`millrace_lookupd_http_requests_total{code="cut",path="/nodes"} 1`, `millrace_lookupd_http_requests_total{code="404",path="_other"} 1`,
		`millrace_lookupd_http_request_duration_seconds_bucket{path="/lookup",le="0.00025"} 0`,
		`millrace_lookupd_http_request_duration_seconds_bucket{path="/lookup",le="0.0005"} 1`,
		`millrace_lookupd_http_request_duration_seconds_bucket{path="/lookup",le="0.001"} 2`,
		`millrace_lookupd_http_request_duration_seconds_bucket{path="/nodes",le="30"} 0`,
		`millrace_lookupd_http_request_duration_seconds_count{path="/nodes"} 1`,
		`millrace_lookupd_build_info{go_version="go`, "go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(got, "\n"+want) {
			t.Errorf("there is no %s in\n%s", want, got)
		}
	}
}

// docs/METRICS.md has a row for each metric, with its type, and none else.
func TestDocument(t *testing.T) {
	there := make(map[string]string)
	for _, m := range regexp.MustCompile(`# TYPE (millrace_\w+) (\w+)`).FindAllStringSubmatch(scrape(t), -1) {
		there[m[1]] = m[2]
	}
	text, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			for _, name := range regexp.MustCompile(`millrace_lookupd_\w+`).FindAllString(cells[1], -1) {
				rows[name] = strings.TrimSpace(cells[2])
			}
		}
	}
	if !maps.Equal(rows, there) {
		t.Errorf("the document has\n%q, there are\n%q", slices.Sorted(maps.Keys(rows)), slices.Sorted(maps.Keys(there)))
	}
}
