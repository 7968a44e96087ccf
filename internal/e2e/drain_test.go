package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/e2e/ledger"
)

// get returns the status and the body of the answer to GET.
func (d daemon) get(path string) string {
	r, err := client.Get("http://" + d.http + path)
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(r.StatusCode, " ", string(body))
}

// Publishers that know two daemons notice nothing of one that is told to end:
// consumers get the rest of what it has, it ends before its time is up, and every
// message that was acknowledged comes, and comes once.
func TestDrainUnderLoad(t *testing.T) {
	for _, level := range []string{"memory", "disk"} {
		t.Run(level, func(t *testing.T) { drainUnderLoad(t, level) })
	}
}

func drainUnderLoad(t *testing.T, level string) {
	books := ledger.New()
	channel := books.AddChannel("orders", "ship", false)
	var daemons []daemon
	var processes []*process
	var producers, consumers []func(context.Context)
	var kind atomic.Bool // consumers are quick from now on
	for range 2 {
		d := newDaemon(t, "--durability="+level, "--drain-timeout=10m")
		daemons, processes = append(daemons, d), append(processes, d.start(t))
		d.post(t, "/topic/create?topic=orders", "")
		d.post(t, "/channel/create?topic=orders&channel=ship", "")
		c := &consumer{
			daemon: d, topic: "orders", channel: "ship", reader: channel.Reader(), kind: kind.Load,
			manner: manner{ready: 10, slow: 20 * time.Millisecond, requeue: 31},
		}
		consumers = append(consumers, func(ctx context.Context) { keepTrying(ctx, c.consume) })
	}
	w, err := millrace.NewWriter(millrace.WriterConfig{Addresses: []string{daemons[0].tcp, daemons[1].tcp}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range 4 {
		producers = append(producers, publishing(t, w, books.AddLane("orders", false)))
	}
	stopConsumers := inBackground(t, consumers)
	stopProducers := inBackground(t, producers)
	eventually(t, "a backlog", func() bool { _, c := daemons[0].stats("orders"); return c["ship"].Depth > 200 })
	processes[0].signal(syscall.SIGTERM)
	eventually(t, "the other daemon to be published to", func() bool { n, _ := daemons[1].stats("orders"); return n > 200 })
	kind.Store(true)
	if got := processes[0].status(); got != 0 {
		t.Errorf("it ended with status %d", got)
	}
	if said := processes[0].stderr.String(); !strings.Contains(said, "msg=drained messages=0") {
		t.Errorf("it did not say that it has drained:\n%s", said)
	}
	stopProducers()
	eventually(t, "the other daemon to be drained", func() bool { return daemons[1].drained("orders", "ship") })
	stopConsumers()
	v := books.Audit(0)
	if t.Logf("%v", v); v.Broken() > 0 || v.Acknowledged < 400 {
		t.Errorf("%d promises were broken: %v\n%s", v.Broken(), v, strings.Join(v.Faults, "\n"))
	}
}

// publishing returns a producer that publishes through w, singly and in batches,
// and takes no error for an answer.
func publishing(t *testing.T, w *millrace.Writer, lane *ledger.Lane) func(context.Context) {
	return func(ctx context.Context) {
		for n := 0; pause(ctx, beat); n++ {
			messages := 1 + n%2*4
			first := lane.Attempt(messages)
			list := bodies(first, messages)
			var err error
			if messages == 1 {
				err = w.Publish(context.WithoutCancel(ctx), "orders", list[0])
			} else {
				err = w.PublishMany(context.WithoutCancel(ctx), "orders", list)
			}
			if err != nil {
				t.Errorf("a publish failed: %v", err)
				return
			}
			lane.Acknowledge(first, messages)
		}
	}
}

// What is left when the time is up, or somebody insists, is there after the next
// start: SIGTERM begins a drain, a second one or Ctrl-C ends it, Ctrl-C alone
// begins none.
func TestSignalsWhileDraining(t *testing.T) {
	const long, short, none = "--drain-timeout=10m", "--drain-timeout=300ms", "--drain-timeout=0"
	for _, c := range []struct {
		name    string
		flag    string
		signals []os.Signal // the second once it drains
	}{
		{"twice", long, []os.Signal{syscall.SIGTERM, syscall.SIGTERM}},
		{"and Ctrl-C", long, []os.Signal{syscall.SIGTERM, os.Interrupt}},
		{"Ctrl-C", long, []os.Signal{os.Interrupt}},
		{"time is up", short, []os.Signal{syscall.SIGTERM}},
		{"no time", none, []os.Signal{syscall.SIGTERM}},
	} {
		for _, program := range []string{"qd", "standalone"} {
			t.Run(program+" "+c.name, func(t *testing.T) {
				d, l := newDaemon(t), newLookup(t)
				start := func() *process { return d.start(t) }
				if program == "standalone" {
					start = func() *process { return startStandalone(t, d, l, c.flag) }
				} else {
					d.flags = []string{c.flag}
				}
				p := start()
				d.post(t, "/topic/create?topic=orders", "")
				d.post(t, "/channel/create?topic=orders&channel=ship", "")
				d.post(t, "/pub?topic=orders", "left")
				p.signal(c.signals[0])
				if len(c.signals) > 1 {
					eventually(t, "it to drain", func() bool { return strings.HasPrefix(d.get("/ready"), "503 DRAINING: ") })
					if program == "standalone" {
						eventually(t, "its lookupd to list the topic", func() bool { return l.lists("orders") })
					}
					p.signal(c.signals[1])
				}
				if got := p.status(); got != 0 {
					t.Errorf("it ended with status %d", got)
				}
				p = start()
				if _, channels := d.stats("orders"); channels["ship"].Depth != 1 {
					t.Errorf("after the next start there is %+v", channels)
				}
				p.stop(os.Interrupt)
			})
		}
	}
}

// startStandalone starts qd and lookupd in one process.
func startStandalone(t *testing.T, d daemon, l lookup, flags ...string) *process {
	t.Helper()
	p := start(t, nil, "standalone", append(flags, "--tcp-address="+d.tcp, "--http-address="+d.http, "--data-path="+d.data,
		"--admin-http-address=127.0.0.1:0", "--lookupd-tcp-address="+l.tcp, "--lookupd-http-address="+l.http)...)
	answering(t, p, d.http)
	return p
}

// A drain that is asked for over HTTP is answered, and the daemon ends when the
// last message is finished. Clients that have nothing to say do not keep it.
func TestDrainOverHTTP(t *testing.T) {
	d := newDaemon(t)
	p := d.start(t)
	d.post(t, "/pub?topic=orders", "only")
	idle, err := dial(d.tcp, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	r, err := http.Post("http://"+d.http+"/drain", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var answer struct {
		State    string
		Messages int
		Deadline int64
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || answer.State != "draining" || answer.Messages != 1 || answer.Deadline != 0 {
		t.Errorf("%+v, %v", answer, err)
	}
	tail := start(t, nil, "tail", "--topic=orders", "--channel=ship", "-n=1", "--qd-tcp-address="+d.tcp)
	if got := tail.status(); got != 0 || strings.TrimSpace(tail.stdout.String()) != "only" {
		t.Errorf("tail: status %d, %q", got, tail.stdout.String())
	}
	if got := p.status(); got != 0 {
		t.Errorf("qd ended with status %d", got)
	}
}

// From a drain on, lookupd no longer names the daemon to those who publish, and
// still does to consumers: one that comes now finds it, and what it has.
func TestLookupdHearsOfADrain(t *testing.T) {
	l := newLookup(t)
	l.start(t)
	d := newDaemon(t, "--lookupd-tcp-address="+l.tcp, "--drain-timeout=10m")
	p := d.start(t)
	d.post(t, "/pub?topic=orders", "only")
	producers := func() (available int, ok bool) {
		var answer struct{ Producers []json.RawMessage }
		status, err := getJSON("http://"+l.http+"/producers/available?topic=orders", &answer)
		return len(answer.Producers), err == nil && status == http.StatusOK
	}
	eventually(t, "lookupd to offer the daemon to publishers", func() bool { n, ok := producers(); return ok && n == 1 })
	p.signal(syscall.SIGTERM)
	eventually(t, "lookupd not to offer it any more", func() bool { n, ok := producers(); return ok && n == 0 })
	if !l.lists("orders") {
		t.Error("lookupd does not name the daemon to consumers any more")
	}
	tail := start(t, nil, "tail", "--topic=orders", "--channel=ship", "-n=1", "--lookupd-http-address="+l.http)
	if got := tail.status(); got != 0 || strings.TrimSpace(tail.stdout.String()) != "only" {
		t.Errorf("tail: status %d, %q", got, tail.stdout.String())
	}
	if got := p.status(); got != 0 {
		t.Errorf("qd ended with status %d", got)
	}
	eventually(t, "lookupd to forget the daemon", func() bool { return !l.lists("orders") })
}
