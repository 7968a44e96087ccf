package qd_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd"
)

// ask sends a request to the daemon's HTTP side and returns the answer.
func ask(t *testing.T, d *qd.Daemon, method, path, body string) string {
	t.Helper()
	r, err := http.NewRequest(method, fmt.Sprintf("http://%s%s", d.HTTPAddr(), path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(answer.StatusCode, " ", string(text))
}

// running runs a daemon that is expected to end by itself; stop ends it. Both
// ways tell what Run returned.
func running(t *testing.T, s qd.Settings) (d *qd.Daemon, stop func() error, ended <-chan error) {
	t.Helper()
	d, err := qd.Listen(s, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() { end <- d.Run(ctx) }()
	return d, func() error { cancel(); return <-end }, end
}

// finishAll finishes what the consumer is given, n messages, in order.
func (c *consumer) finishAll(bodies ...string) {
	c.t.Helper()
	for _, want := range bodies {
		m := c.message()
		if string(m.Body) != want {
			c.t.Fatalf("%q came, want %q", m.Body, want)
		}
		c.say(protocol.AppendFin(nil, m.ID))
	}
}

const refused = `503 {"message":"DRAINING: this daemon takes no more messages; publish to another"}`

// TestTerminate refuses publishes while consumers finish what there is, and ends
// the daemon when they have, long before the time is up.
func TestTerminate(t *testing.T) {
	s := settings(t)
	s.DrainTimeout = time.Hour
	d, _, ended := running(t, s)
	put(t, d, "a")
	put(t, d, "b")
	if got := ask(t, d, "GET", "/ready", ""); got != "200 OK" {
		t.Errorf("ready before: %s", got)
	}
	d.Terminate()
	if got := ask(t, d, "POST", "/pub?topic=t", "c"); got != refused {
		t.Errorf("a publish: %s", got)
	}
	if got := ask(t, d, "GET", "/ready", ""); !strings.HasPrefix(got, "503 DRAINING: ") {
		t.Errorf("ready: %s", got)
	}
	if got := ask(t, d, "GET", "/live", ""); got != "200 OK" {
		t.Errorf("live: %s", got)
	}
	subscribe(t, d).finishAll("a", "b") // connected only now
	if err := <-ended; err != nil {
		t.Error(err)
	}

	d, stop := start(t, s) // nothing is left, and the next life takes publishes
	put(t, d, "d")
	subscribe(t, d).finishAll("d")
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestTerminateWithNothingLeft ends at once, as does one that has no time.
func TestTerminateWithNothingLeft(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Hour} {
		s := settings(t)
		s.DrainTimeout = timeout
		d, _, ended := running(t, s)
		if timeout == 0 {
			put(t, d, "kept")
		}
		d.Terminate()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestDrainOverHTTP ends at its time, and what is left comes after the next start.
func TestDrainOverHTTP(t *testing.T) {
	for _, level := range []string{"memory", "disk"} {
		s := settings(t)
		if err := s.Durability.Set(level); err != nil {
			t.Fatal(err)
		}
		d, _, ended := running(t, s)
		put(t, d, "a")
		put(t, d, "b")
		got := ask(t, d, "POST", "/drain", "")
		if !strings.HasPrefix(got, `200 {"state":"draining"`) || !strings.Contains(got, `"messages":2`) || strings.Contains(got, `"deadline"`) {
			t.Errorf("%s", got)
		}
		subscribe(t, d).finishAll("a")
		if got := ask(t, d, "POST", "/drain?timeout=1ms", ""); !strings.Contains(got, "cannot be taken back") {
			t.Errorf("%s", got)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		d, stop := start(t, s)
		subscribe(t, d).finishAll("b")
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

// TestStopWhileDraining: whoever stops the daemon need not wait for the drain.
func TestStopWhileDraining(t *testing.T) {
	s := settings(t)
	s.DrainTimeout = time.Hour
	d, stop, _ := running(t, s)
	put(t, d, "a")
	d.Terminate()
	if got := ask(t, d, "POST", "/pub?topic=t", "b"); got != refused {
		t.Errorf("a publish: %s", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	d, stop = start(t, s)
	subscribe(t, d).finishAll("a")
	if err := stop(); err != nil {
		t.Error(err)
	}
}
