package main

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/apps/to_http/endpoint"
)

// sayEvery is how often failures, or refusals, of an endpoint are told of at most:
// there may be thousands a second.
const sayEvery = time.Second

// report tells of requests: latencies every so many, and why they fail.
type report struct {
	every int // 0 is never
	log   *slog.Logger

	mu   sync.Mutex // guards below; never held across a write
	took map[string][]time.Duration
	said map[string]*saying
}

// saying is something that is told once a while.
type saying struct {
	last time.Time
	more int // not told of since
}

func newReport(every int, log *slog.Logger) *report {
	return &report{every: every, log: log, took: make(map[string][]time.Duration), said: make(map[string]*saying)}
}

// request notes a request.
func (r *report) request(name string, took time.Duration, result endpoint.Result) {
	if result.Outcome == endpoint.Failed {
		r.say(slog.LevelWarn, "a request failed", name, "error", result.Err)
	}
	if r.every == 0 {
		return
	}
	r.mu.Lock()
	all := append(r.took[name], took)
	r.took[name] = all
	if len(all) >= r.every {
		delete(r.took, name)
	}
	r.mu.Unlock()
	if len(all) >= r.every {
		r.latencies(name, all)
	}
}

func (r *report) latencies(name string, all []time.Duration) {
	slices.Sort(all)
	var sum time.Duration
	for _, d := range all {
		sum += d
	}
	at := func(percent int) time.Duration { return all[(len(all)-1)*percent/100].Round(time.Microsecond) }
	r.log.Info("requests", "endpoint", name, "count", len(all), "mean", (sum / time.Duration(len(all))).Round(time.Microsecond),
		"p50", at(50), "p95", at(95), "p99", at(99), "max", at(100))
}

// say logs what is about a thing, but not too often: "more" is how often it was not.
func (r *report) say(level slog.Level, what, thing string, about ...any) {
	now := time.Now()
	r.mu.Lock()
	s := r.said[what+thing]
	if s == nil {
		s = &saying{}
		r.said[what+thing] = s
	}
	if now.Sub(s.last) < sayEvery {
		s.more++
		r.mu.Unlock()
		return
	}
	more := s.more
	s.last, s.more = now, 0
	r.mu.Unlock()
	if more > 0 {
		about = append(about, "unlogged", more)
	}
	r.log.Log(context.Background(), level, what, about...)
}
