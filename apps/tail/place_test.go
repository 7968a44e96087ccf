package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/protocol"
)

func TestPlaces(t *testing.T) {
	began := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	message := func(second int, id byte) *millrace.Message {
		return &millrace.Message{Address: "q:1", ID: protocol.MessageID{id}, Timestamp: began.Add(time.Duration(second) * time.Second)}
	}
	var log strings.Builder
	follow := newPlaces("t", "", began, slog.New(slog.NewTextHandler(&log, nil)))
	want := func(p *places, refused error, place string) {
		t.Helper()
		if got := p.next("q:1", refused); got != place {
			t.Errorf("the next place is %q, want %q", got, place)
		}
	}
	want(follow, nil, "")
	want(follow, nil, "2026-11-20T08:00:00Z") // nothing was shown yet
	follow.note([]*millrace.Message{message(1, 'a'), message(2, 'b'), message(2, 'c'), message(1, 'd')})
	want(follow, nil, "2026-11-20T08:00:02Z")
	for id, again := range map[byte]bool{'b': true, 'c': true, 'd': false, 'e': false} {
		if got := follow.again(message(2, id)); got != again {
			t.Errorf("message %c was shown before: %t", id, got)
		}
	}
	follow.note([]*millrace.Message{message(3, 'f')})
	if follow.again(message(3, 'f')) {
		t.Error("what comes on a connection that goes on is requeued, not shown again")
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}

	since := newPlaces("t", "earliest", began, slog.New(slog.NewTextHandler(&log, nil)))
	want(since, nil, "earliest")
	want(since, errors.New("needs a log"), "")
	want(since, errors.New("needs a log"), "")
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "retention_age") {
		t.Errorf("logged %d lines: %s", n, &log)
	}
}
