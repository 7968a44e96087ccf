package qd_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd"
	"github.com/millrace-mq/millrace/qd/stats"
)

// consumers are those of the one channel, by /stats, the longest connected first.
func consumers(t *testing.T, d *qd.Daemon) []stats.Client {
	t.Helper()
	r, err := http.Get(fmt.Sprintf("http://%s/stats?format=json", d.HTTPAddr()))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var all stats.Daemon
	if err := json.NewDecoder(r.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	if len(all.Topics) != 1 || len(all.Topics[0].Channels) != 1 {
		t.Fatalf("%+v", all)
	}
	return all.Topics[0].Channels[0].Clients
}

func disconnect(t *testing.T, d *qd.Daemon, connection string) (status int) {
	t.Helper()
	r, err := http.Post(fmt.Sprintf("http://%s/client/disconnect?connection=%s", d.HTTPAddr(), connection), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	return r.StatusCode
}

// TestDisconnect looks at a consumer, and has it disconnected: what it held goes
// to another one.
func TestDisconnect(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	d, stop := start(t, settings(t))
	begun := time.Now()
	stuck := subscribe(t, d)
	put(t, d, "first")
	first := stuck.message()
	time.Sleep(time.Millisecond) // so that there is something to be measured
	stuck.say(protocol.AppendFin(nil, first.ID))
	put(t, d, "second")
	second, received := stuck.message(), time.Now()

	var c stats.Client
	for deadline := time.Now().Add(30 * time.Second); c.FinishCount == 0; time.Sleep(time.Millisecond) {
		all := consumers(t, d)
		if len(all) != 1 || time.Now().After(deadline) {
			t.Fatalf("the FIN is not counted: %+v", all)
		}
		c = all[0]
	}
	if c.InFlightCount != 1 || c.TimeoutCount != 0 || c.Held < int64(time.Millisecond) || c.Held > int64(time.Minute) {
		t.Errorf("%+v", c)
	}
	if left := time.Unix(0, c.NextTimeout).Sub(received); left <= 0 || left > time.Minute {
		t.Errorf("it has %v to answer", left)
	}
	if at := time.Unix(0, c.LastActive); at.Before(begun) || at.After(time.Now()) {
		t.Errorf("it was active at %v", at)
	}
	if status := disconnect(t, d, c.Connection); status != 200 {
		t.Fatalf("status %d", status)
	}
	if m := subscribe(t, d).message(); m.ID != second.ID || m.Attempts != 2 {
		t.Errorf("then comes %q, attempt %d", m.Body, m.Attempts)
	}
	if _, _, err := protocol.ReadFrame(stuck.conn, nil, 1<<20); err == nil {
		t.Error("the connection goes on")
	}
	if all := consumers(t, d); len(all) != 1 || all[0].Connection == c.Connection {
		t.Errorf("%+v", all)
	}
	if status := disconnect(t, d, c.Connection); status != 404 {
		t.Errorf("again: status %d", status)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
