package work

import (
	"context"
	"flag"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/broker"
	"github.com/millrace-mq/millrace/apps/bench/load"
	"github.com/millrace-mq/millrace/apps/bench/null"
)

// small is a load that a test's broker carries in no time.
var small = Settings{
	Messages: 1000, Seconds: 0.01, Size: 50, Batch: 7, Producers: 2, Consumers: 2, Window: 3,
	Channels: 3, Connections: 2, InFlight: 5, Waiters: 4, Conns: 5, Rate: 2000, Topics: 5, Stall: 10 * time.Second,
}

func find(t *testing.T, name string) Work {
	t.Helper()
	for _, w := range Works() {
		if w.Name == name {
			return w
		}
	}
	t.Fatalf("there is no %s", name)
	return Work{}
}

func TestEveryMessageOnce(t *testing.T) {
	for _, w := range Works() {
		if w.Name == "idle" || w.Name == "http" {
			continue // its broker must be a process; or one with HTTP, as in TestOnNull
		}
		t.Run(w.Name, func(t *testing.T) {
			results, err := w.Run(t.Context(), new(faulty).start(t), small)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if r.Messages == 0 || r.Rate <= 0 || r.Seconds <= 0 {
					t.Errorf("no figures: %+v", r)
				}
				if each := map[string]int64{"drain": 1, "both": 1, "fanout": 3, "spill, drain": 1, "latency": 1}[r.Work]; r.Deliveries != each*r.Messages {
					t.Errorf("%d deliveries of %d messages", r.Deliveries, r.Messages)
				}
				if w.Name == "latency" && (r.Latency == nil || r.Latency.Samples != 20 || r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P999) {
					t.Errorf("latency %+v", r.Latency)
				}
			}
		})
	}
}

func TestOnNull(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- null.Run(ctx, l, small.Size) }()
	go func() { ended <- null.RunHTTP(ctx, h) }()
	defer func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()
	for _, w := range Works() {
		_, err := w.Run(t.Context(), broker.Target{TCP: l.Addr().String(), HTTP: h.Addr().String(), Null: true}, small)
		if (err == nil) != w.OnNull {
			t.Errorf("%s: %v", w.Name, err)
		}
	}
}

// What a broker does wrong is an error that says what.
func TestFaults(t *testing.T) {
	at := func(n, copies int) func(int) int {
		return func(i int) int {
			if i == n {
				return copies
			}
			return 1
		}
	}
	for _, c := range []struct {
		name   string
		work   string
		broker *faulty
		want   string
	}{
		{"loses one", "drain", &faulty{copies: at(500, 0)}, "nothing happened for 1s while waiting for channel c0: "},
		{"delivers one twice", "both", &faulty{copies: at(500, 2)}, ", 1 delivered twice"},
		{"loses one and delivers another twice", "drain",
			&faulty{copies: func(i int) int { return []int{0, 2, 1}[min(i, 2)] }}, "1 messages lost, 1 delivered twice"},
		{"answers no publish", "publish", &faulty{silent: true}, "nothing happened for 1s while waiting for the broker to answer publishes"},
		{"refuses to identify", "publish", &faulty{refuse: "IDENTIFY"}, "the broker answered E_INVALID not IDENTIFY"},
		{"refuses a publish", "both", &faulty{refuse: "MPUB"}, "the broker answered E_INVALID not MPUB"},
		{"refuses single publishes", "latency", &faulty{refuse: "PUB"}, "the broker answered E_INVALID not PUB"},
		{"refuses to subscribe", "drain", &faulty{refuse: "SUB"}, "the broker answered E_INVALID not SUB"},
		{"refuses RDY", "fanout", &faulty{refuse: "RDY"}, "the broker answered E_INVALID not RDY"},
		{"refuses FIN", "drain", &faulty{refuse: "FIN"}, "the broker answered E_INVALID not FIN"},
		{"refuses the end", "both", &faulty{refuse: "CLS"}, "the broker answered E_INVALID not CLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := small
			// Long enough for all messages on a busy machine: the fault ends it.
			s.Seconds, s.Consumers, s.Stall = 10, 1, time.Second
			_, err := find(t, c.work).Run(t.Context(), c.broker.start(t), s)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	s := Subject{TCP: l.Addr().String()}
	_, err = s.Run(t.Context(), find(t, "publish"), small)
	if err == nil || !strings.Contains(err.Error(), "connecting to the broker: ") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v", err)
	}
}

// An interrupted run ends at once, whatever it is doing.
func TestInterrupt(t *testing.T) {
	for _, w := range Works() {
		target := new(faulty).start(t)
		target.PID = 1
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		s := small
		s.Messages, s.Seconds, s.Stall = 1<<40, 1000, time.Hour
		if _, err := w.Run(ctx, target, s); err == nil {
			t.Errorf("%s: no error", w.Name)
		}
		cancel()
	}
}

func TestValidate(t *testing.T) {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	var s Settings
	s.Common(fs)
	s.Streaming(fs)
	if err := fs.Parse([]string{"--batch=0", "--size=8", "--seconds=0"}); err != nil {
		t.Fatal(err)
	}
	err := s.Validate(fs)
	for _, want := range []string{"--batch 0", "--size 8: must be 16 or more", "--seconds 0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	fs = flag.NewFlagSet("", flag.ContinueOnError)
	s = Settings{}
	s.Common(fs)
	s.Idle(fs)
	if err := s.Validate(fs); err != nil {
		t.Errorf("flags that were not declared are looked at: %v", err)
	}
	if load.MinSize != 16 {
		t.Error("the least size in the test is no longer that of load")
	}
}
