package clients

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/broker"
	"github.com/millrace-mq/millrace/apps/bench/work"
	"github.com/millrace-mq/millrace/qd"
)

// daemon runs a qd in this process until the test ends.
func daemon(t *testing.T) broker.Target {
	t.Helper()
	s := qd.Defaults()
	s.TCPAddress, s.HTTPAddress, s.DataPath = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	d, err := qd.Listen(s, slog.New(slog.DiscardHandler), new(slog.LevelVar))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return broker.Target{Name: "qd", TCP: d.TCPAddr().String(), HTTP: d.HTTPAddr().String()}
}

// small is a load that takes no time.
func small(t broker.Target) Bench {
	return Bench{
		Subject: work.Subject{TCP: t.TCP, HTTP: t.HTTP}, Progress: new(strings.Builder),
		Rounds: 1, Messages: 2000, Seconds: 0.001, Size: 20, Batch: 10, MaxInFlight: 100, Stall: 10 * time.Second,
	}
}

func TestEveryWorkload(t *testing.T) {
	b := small(daemon(t))
	rows, err := b.Run(t.Context())
	if err != nil || len(rows) != len(b.workloads()) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, r := range rows {
		if r.Messages <= 0 || r.Rate <= 0 || r.Goal <= 0 || r.Seconds <= 0 {
			t.Errorf("no figures: %+v", r)
		}
	}
	var table strings.Builder
	if err := Table(&table, rows); err != nil || strings.Count(table.String(), "\n") != len(rows)+2 || !strings.Contains(table.String(), "| allocations/message |") {
		t.Errorf("%v\n%s", err, table.String())
	}
}

// fake stands for Python's client: it says that it did what it was told, and does
// nothing.
const fake = `#!/bin/sh
echo '{"messages": 2000, "seconds": 0.5, "cpu_seconds": 0.25}'
`

func TestAuditOfPython(t *testing.T) {
	b := small(daemon(t))
	b.Python, b.Interpreter = t.TempDir(), "sh"
	if err := os.WriteFile(filepath.Join(b.Python, script), []byte(fake), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := b.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "Python, publish one by one: the broker has counted 0 messages of the 2001 published") {
		t.Errorf("a script that publishes nothing passes: %v", err)
	}
}

func TestPythonIsLeftOut(t *testing.T) {
	b := small(broker.Target{})
	b.Python, b.Interpreter = t.TempDir(), "no-such-interpreter"
	if len(b.workloads()) != 5 || !strings.Contains(b.Progress.(*strings.Builder).String(), "Python's client is left out: ") {
		t.Errorf("%d workloads, %q", len(b.workloads()), b.Progress)
	}
}

func TestMedian(t *testing.T) {
	if r := median([]Row{{Rate: 3}, {Rate: 1}, {Rate: 2}, {Rate: 9}}); r.Rate != 2 {
		t.Errorf("the median is %v", r.Rate)
	}
}
