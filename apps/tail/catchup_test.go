package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/protocol"
)

func TestCatchUp(t *testing.T) {
	type seen struct {
		at                 time.Duration
		connected, missing int
		busy               bool
		last               time.Duration // 0: none came
	}
	const s = time.Second
	tests := map[string]struct {
		looks []seen
		done  bool // at the last look
		want  string
	}{
		"quiet":            {[]seen{{1 * s, 1, 0, false, 1 * s}, {2 * s, 1, 0, false, 1 * s}, {3 * s, 1, 0, false, 1 * s}}, true, ""},
		"nothing there":    {[]seen{{1 * s, 1, 0, false, 0}, {3 * s, 1, 0, false, 0}}, true, ""},
		"just connected":   {[]seen{{5 * s, 1, 0, false, 0}}, false, ""},
		"still coming":     {[]seen{{1 * s, 1, 0, false, 1 * s}, {9 * s, 1, 0, false, 9 * s}}, false, ""},
		"output is slow":   {[]seen{{1 * s, 1, 0, true, 1 * s}, {99 * s, 1, 0, true, 1 * s}}, false, ""},
		"none yet":         {[]seen{{10 * s, 0, 0, false, 0}}, false, ""},
		"none at all":      {[]seen{{11 * s, 0, 0, false, 0}}, false, "is its name right"},
		"one of two":       {[]seen{{1 * s, 1, 1, false, 0}, {9 * s, 1, 1, false, 1 * s}}, false, ""},
		"one of two only":  {[]seen{{1 * s, 1, 1, false, 0}, {12 * s, 1, 1, false, 1 * s}}, false, "1 of 2 daemons could not be reached"},
		"went away":        {[]seen{{1 * s, 1, 0, false, 1 * s}, {2 * s, 0, 1, false, 1 * s}, {5 * s, 0, 1, false, 1 * s}}, false, ""},
		"and stays so":     {[]seen{{1 * s, 1, 0, false, 1 * s}, {2 * s, 0, 1, false, 1 * s}, {13 * s, 0, 1, false, 1 * s}}, false, "1 of 1 daemons"},
		"and comes back":   {[]seen{{1 * s, 1, 0, false, 1 * s}, {2 * s, 0, 1, false, 1 * s}, {9 * s, 1, 0, false, 1 * s}, {11 * s, 1, 0, false, 1 * s}}, true, ""},
		"another has more": {[]seen{{1 * s, 1, 1, false, 1 * s}, {20 * s, 1, 1, false, 20 * s}}, false, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			began := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
			c := catchUp{since: began}
			for i, look := range tt.looks {
				var last time.Time
				if look.last > 0 {
					last = began.Add(look.last)
				}
				done, err := c.look(began.Add(look.at), look.connected, look.missing, look.busy, last)
				if i < len(tt.looks)-1 {
					if done || err != nil {
						t.Fatalf("look %d: done %t, error %v", i, done, err)
					}
				} else if done != tt.done || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
					t.Errorf("done %t, error %v; want %t and %q", done, err, tt.done, tt.want)
				}
			}
		})
	}
}

// stall is an output that takes nothing until it is let go.
type stall struct {
	audience
	let chan struct{}
}

func (s *stall) Write(p []byte) (int, error) {
	<-s.let
	return s.audience.Write(p)
}

// What waits for a slow output when its connection is lost is not shown again; and who
// ends meanwhile is not kept by it.
func TestSlowOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stall{let: make(chan struct{})}
		began := time.Now()
		w := &watch{settings: &settings{}, screen: newScreen(out, 0, func() {})}
		st := &stream{watch: w, places: newPlaces("t", "", began, slog.New(slog.DiscardHandler)), lot: lot{shown: make(chan int, 1)}}
		showing, end := context.WithCancel(t.Context())
		go w.screen.run(showing)
		work, giveUp := context.WithCancel(t.Context())
		handled := make(chan error, 1)
		message := func(id byte) *millrace.Message {
			return &millrace.Message{Address: "q:1", ID: protocol.MessageID{id}, Timestamp: began.Add(time.Second), Body: []byte{id}}
		}
		handle := func(ids string) {
			var batch []*millrace.Message
			for _, id := range []byte(ids) {
				batch = append(batch, message(id))
			}
			handled <- st.HandleBatch(work, batch)
		}
		go handle("ab")
		synctest.Wait()
		if place := st.places.next("q:1", nil); place != began.Add(time.Second).Format(time.RFC3339Nano) {
			t.Errorf("it goes on at %q, want behind what waits to be shown", place)
		}
		out.let <- struct{}{}
		if err := <-handled; err != nil {
			t.Error(err)
		}
		go handle("abc")
		synctest.Wait()
		giveUp()
		if err := <-handled; err != nil || !w.screen.stuck.Load() {
			t.Errorf("it ended with %v; the output is known to be stuck: %t", err, w.screen.stuck.Load())
		}
		if err := st.HandleBatch(work, []*millrace.Message{message('d')}); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end another batch is handled, with %v", err)
		}
		close(out.let)
		synctest.Wait()
		end()
		synctest.Wait()
		if got := strings.Fields(out.seen.String()); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("shown: %q", got)
		}
	})
}
