package audit_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
)

// receiver is the other end of a webhook.
type receiver struct {
	mu     sync.Mutex
	got    []map[string]any
	tries  int
	status int   // 0: 200
	err    error // in place of an answer
	hang   bool
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	hang := r.hang
	r.tries++
	r.mu.Unlock()
	if hang {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	status := max(r.status, 200)
	if r.status == 0 {
		var m map[string]any
		if err := json.Unmarshal(body, &m); err != nil || req.Method != "POST" || req.Header.Get("Content-Type") != "application/json" {
			return nil, errors.New("no notification")
		}
		r.got = append(r.got, m)
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
}

func (r *receiver) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *receiver) count() (got, tries int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got), r.tries
}

const hookURL = "https://user:pass@hook.example/notify?token=s3cret"

func TestWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := new(receiver)
		r := start(t, audit.Settings{Webhook: hookURL, Transport: to})
		defer r.stop()
		e := audit.Entry{
			At: time.Unix(1_700_000_000, 0), Who: "anna", From: "192.0.2.7", UserAgent: "curl/8", URL: "http://admin/api/topics/t/c",
			Action: "pause-channel", Topic: "t", Channel: "c", Node: "q1:4151", Via: "api",
		}
		number := r.act(e, audit.Result{Node: "q1:4151", OK: true})
		e.Action, e.Channel = "tombstone", ""
		r.act(e)
		e.Refused = "no"
		r.Begin(e)
		open := r.Begin(audit.Entry{Action: "drain-node"})
		synctest.Wait()
		if len(to.got) != 2 {
			t.Fatalf("told of %d, want 2: neither of what was refused nor of what has not ended", len(to.got))
		}
		host, _ := os.Hostname()
		for key, want := range map[string]any{
			"action": "pause_channel", "topic": "t", "channel": "c", "node": "q1:4151", "timestamp": 1.7e9, "user": "anna",
			"remote_ip": "192.0.2.7", "user_agent": "curl/8", "url": "http://admin/api/topics/t/c", "via": host,
		} {
			if to.got[0][key] != want {
				t.Errorf("%s is %v, want %v", key, to.got[0][key], want)
			}
		}
		if entry := to.got[0]["entry"].(map[string]any); entry["number"] != float64(number) || entry["via"] != "api" || len(entry["results"].([]any)) != 1 {
			t.Errorf("our entry: %v", entry)
		}
		if to.got[1]["action"] != "tombstone_topic_producer" {
			t.Errorf("a tombstone is told as %v", to.got[1]["action"])
		}
		r.End(open)
		synctest.Wait()
		if n, _ := to.count(); n != 3 {
			t.Error("the end of a long action is not told")
		}
	})
}

// What fails is tried again, more and more rarely, in order; nothing else notices, and
// the secrets of the URL are in no log line.
func TestAWebhookThatFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail func(*receiver)
	}{
		{"unreachable", func(r *receiver) { r.err = errors.New("connection refused") }},
		{"hangs", func(r *receiver) { r.hang = true }},
		{"answers 503", func(r *receiver) { r.status = 503 }},
		{"answers 429", func(r *receiver) { r.status = 429 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to := new(receiver)
				tt.fail(to)
				r := start(t, audit.Settings{Webhook: hookURL, Transport: to})
				defer r.stop()
				first, second := r.act(audit.Entry{Topic: "first"}), r.act(audit.Entry{Topic: "second"})
				time.Sleep(10 * time.Minute)
				if _, tries := to.count(); tries < 10 || tries > 30 {
					t.Errorf("%d tries in ten minutes", tries)
				}
				to.set(func() { to.err, to.hang, to.status = nil, false, 0 })
				time.Sleep(time.Minute)
				if n, _ := to.count(); n != 2 || to.got[0]["topic"] != "first" || to.got[1]["topic"] != "second" {
					t.Errorf("%d and %d: told of %v", first, second, to.got)
				}
				said := r.said.String()
				if n := strings.Count(said, "\n"); n < 5 || n > 25 || strings.Contains(said, "s3cret") || strings.Contains(said, "pass") {
					t.Errorf("said in %d lines: %s", n, said)
				}
			})
		})
	}
}

// One that is not understood does not hold up others.
func TestAWebhookThatRefuses(t *testing.T) {
	for _, status := range []int{301, 400, 401, 404} {
		synctest.Test(t, func(t *testing.T) {
			to := &receiver{status: status}
			r := start(t, audit.Settings{Webhook: hookURL, Transport: to})
			defer r.stop()
			r.act(audit.Entry{Topic: "first"})
			synctest.Wait()
			to.set(func() { to.status = 0 })
			r.act(audit.Entry{Topic: "second"})
			synctest.Wait()
			if n, tries := to.count(); n != 1 || tries != 2 || to.got[0]["topic"] != "second" {
				t.Errorf("status %d: %d tries, told of %v", status, tries, to.got)
			}
			if said := r.said.String(); !strings.Contains(said, "an audit entry is not taken") {
				t.Errorf("status %d: said %q", status, said)
			}
		})
	}
}

// The queue is bounded; the oldest go, and how many is told.
func TestAWebhookThatIsAwayForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{err: errors.New("no route")}
		r := start(t, audit.Settings{Webhook: hookURL, Transport: to, Keep: 10})
		defer r.stop()
		for range 10_000 {
			r.act(audit.Entry{})
		}
		to.set(func() { to.err = nil })
		time.Sleep(time.Hour)
		n, _ := to.count()
		if last := to.got[n-1]["entry"].(map[string]any)["number"]; n < 4000 || n > 5000 || last != 10_000.0 {
			t.Errorf("told of %d, the last of them %v", n, last)
		}
		if said := r.said.String(); !strings.Contains(said, "count=59") {
			t.Errorf("said: %s", said)
		}
	})
}

// The end does not wait for a webhook.
func TestTheEndOfAWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{hang: true}
		r := start(t, audit.Settings{Webhook: hookURL, Transport: to})
		r.act(audit.Entry{})
		r.act(audit.Entry{})
		synctest.Wait()
		began := time.Now()
		r.stop()
		if took := time.Since(began); took > 0 {
			t.Errorf("the end takes %v", took)
		}
		if said := r.said.String(); !strings.Contains(said, "count=2") {
			t.Errorf("said: %s", said)
		}
	})
}
