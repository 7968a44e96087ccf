package admin_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/admin"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/internal/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// discard is a log that nobody reads.
var discard = slog.New(slog.DiscardHandler)

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

// settings are of an admin of the fleet, on a port that the system chooses.
func settings(f *clustertest.Fleet) admin.Settings {
	s := admin.DefaultSettings()
	s.HTTPAddress, s.HTTPSAddress = "127.0.0.1:0", ""
	s.Lookupds, s.SampleInterval = f.Settings().Lookupds, 500*time.Millisecond
	return s
}

// serve runs an admin until what it returns is called.
func serve(t *testing.T, s admin.Settings) (url string, said *logtest.Lines, stop func()) {
	t.Helper()
	said = new(logtest.Lines)
	d, err := admin.Listen(s, slog.New(slog.NewTextHandler(said, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	return strings.TrimSuffix(d.URL(), "/"), said, sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
}

// get returns an answer's status and body.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

// TestRun looks at pages and API of a whole admin, under a base path, stops it, and
// wants the past, the audit log and no goroutine to be there afterwards.
func TestRun(t *testing.T) {
	f := clustertest.NewFleet(t, clustertest.Nodes(2), clustertest.Topics(3))
	s := settings(f)
	dir := t.TempDir()
	s.BasePath, s.HistoryFile, s.AuditFile = "/mq", filepath.Join(dir, "history"), filepath.Join(dir, "audit.jsonl")
	url, said, stop := serve(t, s)
	defer stop()
	until(t, "the topics being listed", func() bool {
		status, page := get(t, url+"/topics")
		return status == http.StatusOK && strings.Contains(page, clustertest.TopicName(2))
	})
	if status, text := get(t, url+"/ping"); status != http.StatusOK || text != "OK" {
		t.Errorf("/ping: %d %s", status, text)
	}
	status, text := get(t, url+"/api/overview")
	if !json.Valid([]byte(text)) || status != http.StatusOK {
		t.Errorf("/api/overview: %d %s", status, text)
	}
	r, err := http.Post(url+"/api/topics/"+clustertest.TopicName(1), "application/json", strings.NewReader(`{"action":"pause"}`))
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != http.StatusOK {
		t.Errorf("pausing a topic: %s", r.Status)
	}
	stop()
	if line, err := os.ReadFile(s.AuditFile); err != nil || !strings.Contains(string(line), "pause-topic") {
		t.Errorf("the audit log is %q, %v", line, err)
	}
	if i, err := os.Stat(s.HistoryFile); err != nil || i.Size() == 0 {
		t.Errorf("the past was not saved: %v", err)
	}
	if strings.Contains(said.String(), "level=ERROR") {
		t.Errorf("it complains:\n%s", said)
	}

	_, again, stop := serve(t, s) // reads what was saved
	stop()
	if strings.Contains(again.String(), "level=WARN") {
		t.Errorf("after a restart it complains:\n%s", again)
	}
}

// TestPastDamaged wants a damaged past to be set aside, and told in a line.
func TestPastDamaged(t *testing.T) {
	s := settings(clustertest.NewFleet(t, clustertest.Nodes(1)))
	s.HistoryFile = filepath.Join(t.TempDir(), "history")
	if err := os.WriteFile(s.HistoryFile, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, said, stop := serve(t, s)
	stop()
	if n := strings.Count(said.String(), "level=WARN"); n != 1 || !strings.Contains(said.String(), s.HistoryFile) {
		t.Errorf("%d warnings:\n%s", n, said)
	}
	if kept, err := os.ReadFile(s.HistoryFile + ".bad"); err != nil || string(kept) != "nonsense" {
		t.Errorf("set aside is %q, %v", kept, err)
	}
}

// TestPastKilled wants what a kill in the middle of saving has left to be gone after the
// next save: otherwise each would leave a file as large as the past.
func TestPastKilled(t *testing.T) {
	s := settings(clustertest.NewFleet(t, clustertest.Nodes(1)))
	s.HistoryFile = filepath.Join(t.TempDir(), "history")
	if err := os.WriteFile(s.HistoryFile+".new", []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, said, stop := serve(t, s)
	stop()
	files, err := os.ReadDir(filepath.Dir(s.HistoryFile))
	if err != nil || len(files) != 1 || files[0].Name() != "history" || strings.Contains(said.String(), "level=WARN") {
		t.Errorf("there are %v, %v; it says\n%s", files, err, said)
	}
}

// TestPastCannotBeKept wants a file that cannot be written to be told of at the start.
func TestPastCannotBeKept(t *testing.T) {
	s := settings(clustertest.NewFleet(t, clustertest.Nodes(1)))
	s.HistoryFile = filepath.Join(t.TempDir(), "missing", "history")
	_, said, stop := serve(t, s)
	defer stop()
	until(t, "the warning", func() bool { return strings.Contains(said.String(), "level=WARN") })
	if text := said.String(); !strings.Contains(text, s.HistoryFile) {
		t.Errorf("it says\n%s", text)
	}
}

// TestWatchedEnd ends an admin while somebody follows a page.
func TestWatchedEnd(t *testing.T) {
	url, _, stop := serve(t, settings(clustertest.NewFleet(t, clustertest.Nodes(1), clustertest.Topics(1))))
	defer stop()
	r, err := http.Get(url + "/events?page=/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if kind := r.Header.Get("Content-Type"); r.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		t.Fatalf("%s, %s", r.Status, kind)
	}
	if _, err := r.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	stop()
}

// until waits until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(20 * time.Millisecond) { // real connections: no fake clock
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not happen", what)
		}
	}
}
