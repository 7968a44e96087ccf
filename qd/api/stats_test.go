package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/session"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// machine is what differs from one machine, or run, to the next.
var machine = regexp.MustCompile(`(?m)built w/\S+\)|"(heap|gc|next_gc|disk)_\w+": \d+|^   (heap|gc|next_gc)_\w+ +\t\d+$|qd v\S+`)

// golden compares an answer to the file called name.
func golden(t *testing.T, name string, w *httptest.ResponseRecorder) {
	t.Helper()
	got := w.Body.Bytes()
	if strings.HasSuffix(name, ".json") {
		var indented bytes.Buffer
		if err := json.Indent(&indented, got, "", "  "); err != nil {
			t.Fatalf("%v in %s", err, got)
		}
		got = append(indented.Bytes(), '\n')
	}
	got = machine.ReplaceAllFunc(got, func(m []byte) []byte {
		return regexp.MustCompile(`\d+$|/go\S+\)|v\S+`).ReplaceAll(m, []byte("*"))
	})
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-rewrite accepts this):\n%s", path, got)
	}
}

// busy is a daemon with something in every state, two days old.
func busy(t *testing.T) *daemon {
	began := time.Now()
	consumer := session.Client{
		ID: "id", Hostname: "host", RemoteAddress: "192.0.2.1:50001", UserAgent: "agent/1", Connection: 42, LastActive: began.Add(time.Hour),
		State: protocol.StateSubscribed, Connected: began, SampleRate: 50, Deflate: true,
		TopologyZone: "z", TopologyRegion: "r", MsgTimeout: time.Minute,
	}
	closing := session.Client{
		ID: "late", Hostname: "host", RemoteAddress: "192.0.2.1:50002", UserAgent: "agent/2", Connection: math.MaxUint64, LastActive: began,
		State: protocol.StateClosing, Connected: began.Add(time.Minute), TLS: true, Authed: true, Snappy: true,
		TLSVersion: "TLS1.3", TLSCipherSuite: "TLS_AES_128_GCM_SHA256", TLSNegotiatedProtocol: "p",
		AuthIdentity: "someone", AuthIdentityURL: "http://id.example/someone",
	}
	producer := session.Client{
		ID: "pub", Hostname: "source", RemoteAddress: "[2001:db8::1]:50003", UserAgent: "agent/3", Connection: 7, LastActive: began.Add(time.Minute),
		State: protocol.StateInit, Connected: began, PubCounts: map[string]uint64{"orders": 6, "audit": 2},
	}
	d := start(t, func(_ *broker.Settings, c *api.Config) {
		c.Clients = func() []session.Client { return []session.Client{consumer, producer, closing} }
	})
	for _, topic := range []string{"orders", "audit", "idle"} {
		d.topic(topic)
	}
	d.expect("POST", "/channel/create?topic=orders&channel=ship", nil, 200, "")
	d.expect("POST", "/channel/create?topic=orders&channel=bill", nil, 200, "")
	d.expect("POST", "/channel/pause?topic=orders&channel=bill", nil, 200, "")
	d.expect("POST", "/mpub?topic=orders", "1\n2\n3\n4\n5\n6\n", 200, "OK")
	d.expect("POST", "/pub?topic=orders&defer=3600000", "later", 200, "OK")
	d.expect("POST", "/mpub?topic=audit", "1\n22\n", 200, "OK")
	d.expect("POST", "/topic/pause?topic=audit&reason=a+<b>%26\"c\"&by=ann&for=2h", nil, 200, "")
	d.expect("POST", "/topic/pause?topic=idle", nil, 200, "")

	subscribe(t, d, closing, 0)
	k, held := subscribe(t, d, consumer, 4)
	time.Sleep(250 * time.Millisecond)
	for i, m := range held {
		id, _ := protocol.ParseID(m.ID[:])
		switch i {
		case 0:
			k.Finish([]uint64{id}, func(_ int, err error) { t.Error(err) })
		case 1:
			if err := k.Requeue(id, 20*time.Minute); err != nil {
				t.Error(err)
			}
		}
	}
	time.Sleep(10*time.Minute + 1250*time.Millisecond)
	return d
}

// subscribe adds a consumer of orders/ship that takes n messages.
func subscribe(t *testing.T, d *daemon, c session.Client, n int) (*broker.Consumer, []protocol.Message) {
	t.Helper()
	k, err := d.topic("orders").Subscribe("ship", &connection{c}, broker.Membership{Timeout: 15 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	k.SetReady(n)
	var run queue.Run
	defer k.Release(&run)
	var got []protocol.Message
	for len(got) < n {
		if ok, err := k.Next(&run, 1<<20); !ok || err != nil {
			t.Fatalf("Next: %v, %v", ok, err)
		}
		got = append(got, parse(t, slices.Clone(run.Frames))...)
	}
	return k, got
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := busy(t)
		for name, query := range map[string]string{
			"all.json":            "format=json",
			"no_clients.json":     "format=json&include_clients=false&include_mem=0",
			"topic.json":          "format=json&topic=orders&include_mem=false",
			"channel.json":        "format=json&channel=ship&include_mem=false&include_clients=0",
			"unknown_topic.json":  "format=json&topic=none&include_mem=false",
			"unknown_both.json":   "format=json&topic=orders&channel=none&include_mem=false&include_clients=false",
			"all.txt":             "",
			"no_clients.txt":      "include_clients=false&include_mem=false",
			"unknown_topic.txt":   "topic=none&include_mem=0&include_clients=0&format=xml",
			"unknown_channel.txt": "channel=none&include_mem=0&include_clients=0",
		} {
			golden(t, name, d.send("GET", "/stats?"+query, nil))
		}
	})
}

// Quantiles, if some are asked for: listed before there is anything to tell, too.
func TestStatsOfLatencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, func(s *broker.Settings, _ *api.Config) {
			s.Percentiles, s.PercentileWindow = []float64{1, 0.99, 0.5}, 10*time.Minute
		})
		d.topic("t")
		d.expect("POST", "/channel/create?topic=t&channel=quiet", nil, 200, "")
		d.expect("POST", "/channel/create?topic=t&channel=c", nil, 200, "")
		for i := range 10 {
			d.expect("POST", "/pub?topic=t", "x", 200, "OK")
			time.Sleep(time.Duration(i+1) * 100 * time.Millisecond)
			d.drain("t")
		}
		golden(t, "latency.json", d.send("GET", "/stats?format=json&include_mem=false", nil))
		golden(t, "latency.txt", d.send("GET", "/stats?include_mem=false", nil))
	})
}

// A topic with a log, a policy, and messages that are dead, damaged and missing.
func TestStatsOfLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMedium(t)
		d := m.start(t, nil)
		d.limited()
		d.do("/topic/policy?topic=t&durability=fsync&retention_age=1h&max_messages=100&overflow=drop-oldest", nil)
		d.do("/topic/create?topic=bytes&retention_bytes=1000&max_bytes=1000000", nil)
		d.do("/topic/create?topic=m&durability=memory&max_messages=5", nil)
		for _, body := range []string{"one", "two", "three"} {
			d.bury(body)
		}
		dead := d.look("dead")
		time.Sleep(time.Hour / 2)
		d.do("/message/revive?topic=t&channel=c&id="+dead[0].ID, nil)
		d.do("/message/delete?topic=t&channel=c&id="+dead[1].ID, nil)
		d.do("/mpub?topic=t", "needle\nneedless")
		d.do("/pub?topic=t", "whole")
		golden(t, "logged.json", d.send("GET", "/stats?format=json&include_mem=false", nil))
		d.stop()

		damage(t, m.disk, "needle\x00")
		d = m.start(t, nil)
		if got := d.read("t", "c", "k", time.Minute).bodies(2); !slices.Equal(got, []string{"one", "whole"}) {
			t.Errorf("%q", got)
		}
		synctest.Wait() // for the first look at the disk's space
		golden(t, "damaged.json", d.send("GET", "/stats?format=json&topic=t&include_mem=false&include_clients=false", nil))
		golden(t, "damaged.txt", d.send("GET", "/stats?topic=t&include_mem=false&include_clients=false", nil))
	})
}

// /stats is read while everything it shows changes.
func TestStatsUnderLoad(t *testing.T) {
	d := start(t, nil)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
				d.send("POST", "/pub?topic=t", "x")
				d.drain("t")
				d.send("POST", "/topic/delete?topic=t", nil)
			}
		}
	}()
	for range 300 {
		for _, path := range []string{"/stats", "/stats?format=json", "/stats?format=json&topic=t&channel=c"} {
			if w := d.send("GET", path, nil); w.Code != 200 {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
	}
	close(done)
	<-ended
}
