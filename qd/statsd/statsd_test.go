package statsd_test

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/qd/stats"
	"github.com/millrace-mq/millrace/qd/statsd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func percentiles(pairs ...float64) (all []stats.Percentile) {
	for pair := range slices.Chunk(pairs, 2) {
		all = append(all, stats.Percentile{Quantile: pair[0], Value: pair[1]})
	}
	return all
}

// Two intervals of all that is pushed, as text.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		defer r.stop()
		c, scratch := channel(1, "ship", 100), channel(2, "x#ephemeral", 1)
		c.Latency.Percentiles = percentiles(1, 2e9, 0.999, 1.5e9, 0.99, 1e9, 0.29, 7)
		orders := topic(1, "orders", 120, c, scratch)
		orders.Latency.Percentiles = percentiles(0.95, 1234.9)
		memory := stats.Memory{
			HeapObjects: 1, HeapIdleBytes: 2, HeapInUseBytes: 3, HeapReleasedBytes: 4,
			GCPauseUsec100: 5, GCPauseUsec99: 6, GCPauseUsec95: 7, NextGCBytes: 8, GCTotalRuns: 9,
		}
		r.set(func() {
			r.figures = stats.Daemon{Topics: []stats.Topic{orders, topic(2, "t#ephemeral", 1)}, Memory: &memory}
		})
		pass(2*time.Minute - time.Second/2)
		first := r.take()
		r.set(func() {
			r.figures.Topics[0].MessageCount += 30
			r.figures.Topics[0].Channels[0].MessageCount += 20
			r.figures.Topics[0].Channels[0].RequeueCount++
			next := memory
			next.GCTotalRuns++
			r.figures.Memory = &next
		})
		pass(time.Minute)
		golden(t, "lines.txt", strings.Join(first, "\n")+"\n\n"+strings.Join(r.take(), "\n")+"\n")
	})
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-rewrite accepts this):\n%s", path, got)
	}
}

// What is not wanted is left out.
func TestLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *statsd.Config) { c.ExcludeEphemeral, c.MemStats, c.Prefix = true, false, "" })
		defer r.stop()
		r.set(func() {
			r.figures = stats.Daemon{
				Topics: []stats.Topic{topic(1, "t", 1, channel(1, "c#ephemeral", 1)), topic(2, "t#ephemeral", 1, channel(1, "c", 1))},
				Memory: &stats.Memory{},
			}
		})
		pass(90 * time.Second)
		want := []string{"topic.t.message_count:1|c", "topic.t.message_bytes:10|c", "topic.t.depth:3|g", "topic.t.backend_depth:2|g"}
		if got := r.take(); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
}

// Counters over deletion, creation anew, and counts that fall: what is pushed is
// never negative, and adds up.
func TestCounters(t *testing.T) {
	steps := []struct {
		what   string
		topics []stats.Topic
		topic  string // delta of t, and of its channel c; empty if it is not pushed
		chann  string
	}{
		{"first", []stats.Topic{topic(1, "t", 10, channel(1, "c", 7))}, "10", "7"},
		{"nothing new", []stats.Topic{topic(1, "t", 10, channel(1, "c", 7))}, "0", "0"},
		{"channel anew", []stats.Topic{topic(1, "t", 11, channel(2, "c", 9))}, "1", "9"},
		{"damaged ones go", []stats.Topic{topic(1, "t", 11, channel(2, "c", 5))}, "0", "0"},
		{"others come", []stats.Topic{topic(1, "t", 11, channel(2, "c", 12))}, "0", "3"},
		{"topic gone", nil, "", ""},
		{"topic anew", []stats.Topic{topic(5, "t", 30, channel(1, "c", 30))}, "30", "30"},
		{"a larger one of the same name", []stats.Topic{topic(6, "t", 40, channel(1, "c", 40))}, "40", "40"},
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *statsd.Config) { c.MemStats = false })
		defer r.stop()
		time.Sleep(time.Second)
		for _, step := range steps {
			r.set(func() { r.figures.Topics = step.topics })
			pass(time.Minute)
			got := strings.Join(r.take(), "\n")
			for pattern, want := range map[string]string{
				`topic\.t\.message_count:(.*)\|c`: step.topic, `topic\.t\.channel\.c\.message_count:(.*)\|c`: step.chann,
			} {
				found := regexp.MustCompile(pattern).FindStringSubmatch(got)
				if want == "" && found != nil || want != "" && (found == nil || found[1] != want) {
					t.Errorf("%s: %s is %q, want %q", step.what, pattern, found, want)
				}
			}
		}
	})
}

// Packets are full but not too large, hold whole lines, and are spread over the
// interval but for its last second.
func TestPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *statsd.Config) { c.PacketSize = 200 })
		defer r.stop()
		r.set(r.fifty)
		long := strings.Repeat("n", 250) // longer than a packet: alone in one
		r.set(func() { r.figures.Topics = append(r.figures.Topics, topic(99, long, 0)) })
		pass(2*time.Minute - time.Millisecond)
		got := r.got
		for i, p := range got {
			whole := strings.HasPrefix(p.text, "nsq.a_4151.topic.") && strings.HasSuffix(p.text, "\n")
			if n := strings.Count(p.text, "\n"); !whole || len(p.text) > 200 && n > 1 {
				t.Errorf("packet %d of %d bytes and %d lines: %q", i, len(p.text), n, p.text)
			}
			if next := i + 1; next < len(got) {
				line, _, _ := strings.Cut(got[next].text, "\n")
				if len(p.text)+len(line)+1 <= 200 {
					t.Errorf("packet %d had room for %q", i, line)
				}
				if gap := got[next].at - p.at; gap < time.Second/10 {
					t.Errorf("packet %d comes %v after the one before it", next, gap)
				}
			}
		}
		first, last := got[0].at, got[len(got)-1].at
		if first != time.Minute || last < 117*time.Second || last > 119*time.Second {
			t.Errorf("from %v to %v", first, last)
		}
	})
}

// A stop sends what is left of a push at once.
func TestStopWithinAPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, nil)
		r.set(r.fifty)
		pass(time.Minute + time.Second)
		r.stop()
		if got := len(r.take()); got != 4*50 {
			t.Errorf("%d lines, want %d", got, 4*50)
		}
		if at := time.Since(epoch); at != time.Minute+time.Second {
			t.Errorf("stopped after %v", at)
		}
	})
}

// A server that is away is dialed again each interval and logged twice; what it
// missed for want of a connection it gets later.
func TestServerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(c *statsd.Config) { c.MemStats = false })
		time.Sleep(time.Second)
		r.set(func() { r.figures.Topics = []stats.Topic{topic(1, "t", 1)} })
		for i, step := range []struct {
			away func()
			got  string // the first line, without what it begins with
		}{
			{func() { r.nowhere = errors.New("no such host") }, ""},
			{func() { r.nowhere = errors.New("no such host") }, ""},
			{func() { r.stuck = true }, ""},
			{func() {}, "5"},
			{func() { r.deaf = errors.New("connection refused") }, ""},
			{func() {}, "1"}, // what was sent to nobody is lost, as UDP is
		} {
			r.set(func() {
				r.nowhere, r.deaf, r.stuck = nil, nil, false
				step.away()
				r.figures.Topics[0].MessageCount++
			})
			pass(time.Minute)
			if n := len(r.dials); n != i+1 || r.dials[i] != "udp statsd.example:8125" {
				t.Fatalf("dialed %q", r.dials)
			}
			want := step.got
			if want != "" {
				want = "nsq.a_4151.topic.t.message_count:" + want + "|c"
			}
			if got := r.take()[0]; got != want {
				t.Errorf("push %d begins with %q, want %q", i, got, want)
			}
		}
		r.stop()
		golden(t, "away.txt", r.log.String())
	})
}

func TestPrefix(t *testing.T) {
	for _, tt := range []struct{ pattern, host, want string }{
		{"nsq.%s", "a.example", "nsq.a_example_4151."},
		{"nsq.%s.", "127.0.0.1", "nsq.127_0_0_1_4151."},
		{"%s-%s", "a", "a_4151-a_4151."},
		{"plain", "a", "plain."},
		{"", "a", ""},
		{"%s", "2001:db8::1", "[2001_db8__1]_4151."},
	} {
		if got := statsd.Prefix(tt.pattern, tt.host, 4151); got != tt.want {
			t.Errorf("Prefix(%q, %q) is %q, want %q", tt.pattern, tt.host, got, tt.want)
		}
	}
}

// Over a real socket, on IPv6 where there is any.
func TestSocket(t *testing.T) {
	l, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		if l, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- statsd.Run(ctx, statsd.Config{
			Address: l.LocalAddr().String(), Interval: 10 * time.Millisecond, PacketSize: 508,
			Gather: func() stats.Daemon { return stats.Daemon{Topics: []stats.Topic{topic(1, "t", 1)}} },
			Dial:   new(net.Dialer).DialContext, Log: slog.New(slog.DiscardHandler),
		})
	}()
	if err := l.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1000)
	n, _, err := l.ReadFrom(b)
	if want := "topic.t.message_count:1|c\ntopic.t.message_bytes:10|c\ntopic.t.depth:3|g\ntopic.t.backend_depth:2|g\n"; err != nil || string(b[:n]) != want {
		t.Errorf("%q, %v", b[:n], err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
