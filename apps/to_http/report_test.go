package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/apps/to_http/endpoint"
	"github.com/millrace-mq/millrace/internal/logtest"
)

func TestLatencies(t *testing.T) {
	var logged logtest.Lines
	r := newReport(100, slog.New(slog.NewTextHandler(&logged, nil)))
	for n := range 199 {
		r.request("a", time.Duration(n%100+1)*time.Millisecond, endpoint.Result{Outcome: endpoint.Taken})
		r.request("b", time.Second, endpoint.Result{Outcome: endpoint.Taken})
	}
	lines := strings.Split(strings.TrimSpace(logged.String()), "\n")
	want := "level=INFO msg=requests endpoint=a count=100 mean=50.5ms p50=50ms p95=95ms p99=99ms max=100ms"
	if len(lines) != 2 || !strings.HasSuffix(lines[0], want) || !strings.Contains(lines[1], "endpoint=b count=100 mean=1s") {
		t.Errorf("logged:\n%s", logged.String())
	}
}

// Failures are told of once a second at most, with how many were not.
func TestFailuresAreToldSparsely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged logtest.Lines
		r := newReport(0, slog.New(slog.NewTextHandler(&logged, nil)))
		fail := func(name string) {
			r.request(name, time.Millisecond, endpoint.Result{Err: errors.New(name + " fails")})
		}
		for range 1000 {
			fail("a")
		}
		fail("b")
		time.Sleep(time.Second)
		fail("a")
		time.Sleep(time.Second)
		fail("a")
		lines := strings.Split(strings.TrimSpace(logged.String()), "\n")
		if len(lines) != 4 || strings.Contains(lines[0], "unlogged") || !strings.HasSuffix(lines[2], `error="a fails" unlogged=999`) || strings.Contains(lines[3], "unlogged") {
			t.Errorf("logged:\n%s", logged.String())
		}
	})
}
