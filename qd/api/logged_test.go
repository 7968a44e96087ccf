package api_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/session"
)

// medium is a disk in memory that daemons use one after the other.
type medium struct {
	path string
	disk *disktest.Disk
}

func newMedium(t testing.TB) *medium {
	t.Helper()
	m := &medium{t.TempDir(), disktest.New()}
	if err := m.disk.MkdirAll(m.path); err != nil {
		t.Fatal(err)
	}
	return m
}

// start starts a daemon of level disk.
func (m *medium) start(t testing.TB, adjust func(*broker.Settings, *api.Config)) *daemon {
	t.Helper()
	return start(t, func(s *broker.Settings, c *api.Config) {
		s.DataPath, s.FS, s.Durability, s.SegmentBytes = m.path, m.disk, broker.Disk, 64<<10
		if adjust != nil {
			adjust(s, c)
		}
	})
}

// logged is a daemon of level disk on a disk of its own.
func logged(t testing.TB) *daemon {
	t.Helper()
	return newMedium(t).start(t, nil)
}

// do sends a POST that has to be answered 200.
func (d *daemon) do(path string, body any) {
	d.t.Helper()
	if w := d.send("POST", path, body); w.Code != 200 {
		d.t.Fatalf("POST %s: %d %s", path, w.Code, w.Body)
	}
}

// get sends a GET and decodes the answer.
func (d *daemon) get(path string, into any) {
	d.t.Helper()
	w := d.send("GET", path, nil)
	if w.Code != 200 {
		d.t.Fatalf("GET %s: %d %s", path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		d.t.Fatalf("GET %s: %v in %s", path, err, w.Body)
	}
}

// reader is a consumer of a channel.
type reader struct {
	t testing.TB
	*broker.Consumer
}

// read subscribes as somebody called id.
func (d *daemon) read(topic, channel, id string, timeout time.Duration) *reader {
	d.t.Helper()
	owner := &connection{session.Client{ID: id, Hostname: id + ".example", RemoteAddress: "192.0.2.1:50001"}}
	k, err := d.topic(topic).Subscribe(channel, owner, broker.Membership{Timeout: timeout})
	if err != nil {
		d.t.Fatal(err)
	}
	r := &reader{d.t, k}
	d.t.Cleanup(r.close)
	return r
}

func (r *reader) close() {
	if err := r.Close(); err != nil {
		r.t.Error(err)
	}
}

// take takes n messages that are delivered now or soon.
func (r *reader) take(n int) (got []protocol.Message) {
	r.t.Helper()
	var run queue.Run
	defer r.Release(&run)
	deadline := time.After(10 * time.Second)
	for len(got) < n {
		r.SetReady(n)
		ok, err := r.Next(&run, 1<<20)
		if err != nil {
			r.t.Fatal(err)
		}
		if !ok {
			select {
			case <-r.Awake():
			case <-deadline:
				r.t.Fatalf("%d messages came, want %d", len(got), n)
			}
			continue
		}
		frames := slices.Clone(run.Frames)
		for _, again := range run.Again {
			frames = again.Append(frames)
		}
		got = append(got, parse(r.t, frames)...)
	}
	r.SetReady(0)
	return got
}

func (r *reader) finish(messages []protocol.Message) {
	r.t.Helper()
	for _, m := range messages {
		r.Finish([]uint64{number(m)}, func(_ int, err error) { r.t.Error(err) })
	}
}

func (r *reader) requeue(m protocol.Message, delay time.Duration) {
	r.t.Helper()
	if err := r.Requeue(number(m), delay); err != nil {
		r.t.Error(err)
	}
}

func number(m protocol.Message) uint64 {
	id, _ := protocol.ParseID(m.ID[:])
	return id
}

// bodies takes n messages, finishes them, and returns what is in them.
func (r *reader) bodies(n int) (bodies []string) {
	r.t.Helper()
	got := r.take(n)
	r.finish(got)
	for _, m := range got {
		bodies = append(bodies, string(m.Body))
	}
	return bodies
}

// seen is a message as the API shows it.
type seen struct {
	ID                  string
	Timestamp           int64
	State, Reason       string
	Attempts            int
	Due, Deadline, Died int64
	Size                int
	Body                *string
	Base64              []byte `json:"body_base64"`
	Truncated           bool
	Unreadable          bool
	Client              *struct {
		ID            string `json:"client_id"`
		Hostname      string
		RemoteAddress string `json:"remote_address"`
	}
}

type seenPage struct {
	Messages []seen
	Next     string
}

// look returns the first page of a state of channel c of topic t.
func (d *daemon) look(state string) []seen {
	d.t.Helper()
	var p seenPage
	d.get("/channel/messages?topic=t&channel=c&state="+state, &p)
	return p.Messages
}
