package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/qd/drain"
)

// written are the entries that what do does has put in an audit file.
func written(t *testing.T, do func(*audit.Writer)) (all []audit.Entry) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	w, err := audit.Open(path, "q1:4151", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	do(w)
	ended, end := context.WithCancel(t.Context())
	end()
	w.Run(ended) // writes what is there
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

// Every route that is there to change something writes one line, with the name of what
// it does, to whomever it is refused. Profiles change nothing.
func TestEveryChangeIsWrittenDown(t *testing.T) {
	config := Config{
		Policy: new(refuser), Info: func() Info { return Info{} }, Metrics: http.NotFoundHandler(), Drain: new(drain.Drain), Log: slog.New(slog.DiscardHandler),
		Disconnect: func(uint64) bool { return false }, Reload: func() (program.Reloaded, error) { return program.Reloaded{}, nil },
	}
	asked := 0
	for _, route := range newRouter(config).Routes() {
		changes := route.Action == access.Manage && !strings.HasPrefix(route.Path, "/debug/pprof/") || route.Path == "/message/copy"
		for _, query := range []string{"topic=t&channel=c&x=1", "x=%zz"} {
			all := written(t, func(w *audit.Writer) {
				config.Audit = w
				path := strings.NewReplacer(":option", "log_level", "*profile", "heap").Replace(route.Path)
				req := httptest.NewRequest(route.Method, path, nil)
				req.URL.RawQuery = query
				newRouter(config).ServeHTTP(httptest.NewRecorder(), req)
			})
			switch {
			case !changes && len(all) > 0:
				t.Errorf("%s %s writes %+v", route.Method, route.Path, all)
			case changes && len(all) != 1:
				t.Errorf("%s %s?%s writes %d lines", route.Method, route.Path, query, len(all))
			case changes:
				asked++
				e := all[0]
				if e.Action == "" || strings.ContainsAny(e.Action, "/_:") || e.From == "" || e.Via != audit.HTTP || !e.Done || e.Refused == "" || len(e.Results) > 0 {
					t.Errorf("%s %s?%s writes %+v", route.Method, route.Path, query, e)
				}
			}
		}
	}
	if asked < 60 {
		t.Errorf("there are %d", asked)
	}
}
