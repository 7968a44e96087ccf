package metrics

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-mq/millrace/qd/stats"
)

// described are the names of our metrics.
func described(t *testing.T) map[string]bool {
	t.Helper()
	descs := make(chan *prometheus.Desc, 1000)
	newCollector(&stats.Source{}, 1).Describe(descs)
	close(descs)
	names := make(map[string]bool)
	for d := range descs {
		_, name, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, ok := strings.Cut(name, `"`)
		if !ok || names[name] {
			t.Fatalf("%s", d)
		}
		names[name] = true
	}
	return names
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var ours = regexp.MustCompile(`millrace_[a-z0-9_]+`)

// documented are the metrics of docs/METRICS.md, lookupd's too, and their types.
func documented(t *testing.T) map[string]string {
	t.Helper()
	rows := make(map[string]string)
	for line := range strings.Lines(read(t, "../../docs/METRICS.md")) {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			for _, name := range ours.FindAllString(cells[1], -1) {
				rows[name] = strings.TrimSpace(cells[2])
			}
		}
	}
	return rows
}

// docs/METRICS.md has a row for each metric, with its type, and none else but
// lookupd's, which are looked at there.
func TestDocument(t *testing.T) {
	names := described(t)
	rows := documented(t)
	maps.DeleteFunc(rows, func(name, _ string) bool { return strings.HasPrefix(name, "millrace_lookupd_") })
	if got, want := slices.Sorted(maps.Keys(rows)), slices.Sorted(maps.Keys(names)); !slices.Equal(got, want) {
		t.Errorf("the document has\n%q, there are\n%q", got, want)
	}
	for name, kind := range rows {
		want := "gauge"
		if strings.HasSuffix(name, "_total") {
			want = "counter"
		} else if strings.HasSuffix(name, "_seconds") {
			want = "histogram"
		}
		if kind != want {
			t.Errorf("%s is documented as %s", name, kind)
		}
	}
}

// standard are metrics of others that may be used, besides ours.
var standard = []string{
	"up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
	"go_goroutines", "go_memstats_heap_inuse_bytes",
}

var (
	word       = regexp.MustCompile(`[a-z_][a-z0-9_]*`)
	label      = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]|\b(by|without) ?\([^)]*\)|"[^"]*"`)
	histograms = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// functions are the words of PromQL that are no metrics.
var functions = []string{
	"sum", "rate", "increase", "min", "max", "min_over_time", "max_over_time", "topk", "histogram_quantile", "predict_linear", "deriv", "and", "or",
}

// used are the names of metrics in an expression.
func used(expr string) (names []string) {
	for _, name := range word.FindAllString(label.ReplaceAllString(expr, ""), -1) {
		if !slices.Contains(functions, name) {
			names = append(names, histograms.ReplaceAllString(name, ""))
		}
	}
	return names
}

// checkExpr checks that an expression is about metrics that there are.
func checkExpr(t *testing.T, where, expr string) {
	t.Helper()
	names := used(expr)
	if len(names) == 0 {
		t.Errorf("%s: %q is about nothing", where, expr)
	}
	known := documented(t)
	for _, name := range names {
		if known[name] == "" && !slices.Contains(standard, name) {
			t.Errorf("%s: there is no %s", where, name)
		}
	}
	for _, pair := range []string{"()", "{}", "[]"} {
		if strings.Count(expr, pair[:1]) != strings.Count(expr, pair[1:]) {
			t.Errorf("%s: %q is not closed", where, expr)
		}
	}
}

// Every alert rule says what is wrong, how bad that is and what to do, of metrics
// that there are.
func TestAlerts(t *testing.T) {
	text := read(t, "../../deploy/prometheus/alerts.yml")
	rules := strings.Split(text, "      - alert: ")[1:]
	if len(rules) < 10 {
		t.Errorf("%d rules", len(rules))
	}
	field := func(rule, name string) string {
		m := regexp.MustCompile(`(?m)^ +` + name + `: (.+)$`).FindStringSubmatch(rule)
		if m == nil {
			return ""
		}
		return m[1]
	}
	for _, rule := range rules {
		name, _, _ := strings.Cut(rule, "\n")
		checkExpr(t, name, field(rule, "expr"))
		if s := field(rule, "severity"); s != "critical" && s != "warning" {
			t.Errorf("%s has severity %q", name, s)
		}
		for _, words := range []string{"summary", "runbook"} {
			if v := field(rule, words); len(v) < 20 || v[0] != '"' || v[len(v)-1] != '"' {
				t.Errorf("%s has %s %q", name, words, v)
			}
		}
		if !strings.HasSuffix(field(rule, "runbook"), `."`) {
			t.Errorf("%s: the runbook is no sentence", name)
		}
	}
}

// panel is what is checked of a dashboard's.
type panel struct {
	Title, Type string
	Grid        struct{ X, Y, W, H int } `json:"gridPos"`
	Targets     []struct{ Expr string }
}

// The dashboard is about metrics that there are, uses all of them but a few, and
// its panels do not overlap.
func TestDashboard(t *testing.T) {
	text := read(t, "../../deploy/grafana/millrace.json")
	var board struct {
		Panels     []panel
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal([]byte(text), &board); err != nil {
		t.Fatal(err)
	}
	taken := make(map[[2]int]string)
	shown := make(map[string]bool)
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			checkExpr(t, p.Title, target.Expr)
			for _, name := range used(target.Expr) {
				shown[name] = true
			}
		}
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("%s is a %s with %d targets", p.Title, p.Type, len(p.Targets))
		}
		for x := p.Grid.X; x < p.Grid.X+p.Grid.W; x++ {
			for y := p.Grid.Y; y < p.Grid.Y+p.Grid.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s lies on %q, or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	for _, v := range board.Templating.List {
		for _, name := range ours.FindAllString(v.Definition, -1) {
			if documented(t)[name] == "" {
				t.Errorf("variable %s: there is no %s", v.Name, name)
			}
		}
	}
	unshown := []string{
		"millrace_build_info", "millrace_topic_channels", "millrace_topic_paused", "millrace_channel_paused",
		"millrace_channel_revived_messages_total", "millrace_channel_deleted_messages_total", "millrace_metrics_hidden_channels", "millrace_lookupd_build_info",
	}
	for name := range documented(t) {
		if !shown[name] && !slices.Contains(unshown, name) {
			t.Errorf("%s is not on the dashboard", name)
		}
	}
}
