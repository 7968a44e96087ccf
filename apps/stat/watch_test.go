package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/apps/stat/board"
)

// fleetOf plays daemons with one topic, into which 100 messages a second come on each; its
// channel is emptied.
func fleetOf(t *testing.T, nodes, stock, lookupds int) *clustertest.Fleet {
	f := clustertest.NewFleet(t, clustertest.InMemory(), clustertest.Nodes(nodes), clustertest.Stock(stock), clustertest.Lookupds(lookupds),
		clustertest.Topics(1), clustertest.Channels(1))
	for _, n := range f.Nodes {
		n.Change(func(d *clustertest.Daemon) {
			topic := d.Topic(clustertest.TopicName(0))
			topic.PerSecond = 100
			topic.Channel(clustertest.ChannelName(0)).PerSecond = 100
		})
	}
	return f
}

// shown runs stat until --count is reached, and returns what it wrote and logged.
func shown(t *testing.T, f *clustertest.Fleet, s *settings) (out, logged string, err error) {
	t.Helper()
	var o, l strings.Builder
	log := slog.New(slog.NewTextHandler(&l, nil))
	s.interval = 2 * time.Second
	err = s.watch(t.Context(), f.Cluster(t), log, s.lines(&o, log))
	return o.String(), l.String(), err
}

// fields are the words of the nth line.
func fields(text string, n int) []string {
	return strings.Fields(strings.Split(text, "\n")[n])
}

// Qd and nsqd are asked in the same way, through lookupds or by name.
func TestColumns(t *testing.T) {
	for name, c := range map[string]struct{ stock, lookupds int }{
		"qd": {0, 0}, "nsqd": {2, 0}, "qd, found by a lookupd": {0, 1}, "both": {1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fleetOf(t, 2, c.stock, c.lookupds)
				s := &settings{only: board.Only{Topic: clustertest.TopicName(0), Channel: clustertest.ChannelName(0)}, count: 3}
				out, logged, err := shown(t, f, s)
				if err != nil || strings.Count(out, "\n") != 5 || logged != "" {
					t.Fatalf("%v, wrote\n%s and logged\n%s", err, out, logged)
				}
				for line := 2; line < 5; line++ {
					if w := fields(out, line); w[0] != "200" || w[1] != "200" {
						t.Errorf("200 messages a second come and go, and line %d is %q", line, w)
					}
				}
				q := f.Nodes[0].Calls("/stats")[0].Query
				if q.Get("topic") != s.only.Topic || q.Get("channel") != s.only.Channel {
					t.Errorf("asked for %v: all that a daemon has", q)
				}
			})
		})
	}
}

// A daemon that goes is said and counted, and its restart makes no rate negative.
func TestNodeGoesAndComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleetOf(t, 2, 0, 0)
		go func() {
			time.Sleep(5 * time.Second)
			f.Nodes[1].Down()
			time.Sleep(6 * time.Second)
			f.Nodes[1].Heal()
			f.Nodes[1].Restart()
		}()
		s := &settings{count: 16}
		out, logged, err := shown(t, f, s)
		if err != nil {
			t.Fatal(err)
		}
		for line := 1; line <= 16; line++ {
			w := fields(out, line)
			in, want := w[3], "200"
			if w[1] == "1/2" {
				want = "100"
			}
			if in != want || w[4] != want || w[1] == "1/2" && !strings.HasPrefix(w[14], f.Nodes[1].Address()) {
				t.Errorf("line %d is %q, want rates of %s", line, w, want)
			}
		}
		if !strings.Contains(out, " 1/2 |") {
			t.Errorf("wrote\n%s", out)
		}
		last := fields(out, 16)
		if last[1] != "2/2" || last[3] != "200" || last[len(last)-1] != "-" {
			t.Errorf("in the end %q", last)
		}
		if !strings.Contains(logged, "does not answer") || !strings.Contains(logged, "answers again") {
			t.Errorf("logged\n%s", logged)
		}
	})
}

// Whoever asks for what is not there is told, and by the exit status.
func TestNotThere(t *testing.T) {
	for name, c := range map[string]struct {
		change func(f *clustertest.Fleet)
		only   board.Only
		want   string
	}{
		"a topic":     {nil, board.Only{Topic: "nope"}, `topic "nope": no daemon that answers has it`},
		"a channel":   {nil, board.Only{Topic: clustertest.TopicName(0), Channel: "nope"}, `channel "nope" of topic`},
		"all daemons": {func(f *clustertest.Fleet) { f.Nodes[0].Down() }, board.Only{}, "no queue daemon answers: qd-0:4151: "},
		"the lookupd": {func(f *clustertest.Fleet) { f.Lookupds[0].Down() }, board.Only{}, "no queue daemon answers: lookupd-0:4161: "},
		"daemons":     {func(f *clustertest.Fleet) { f.Nodes[0].Unlist() }, board.Only{}, "lookupds list no queue daemon"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fleetOf(t, 1, 0, 1)
				if c.change != nil {
					c.change(f)
				}
				out, logged, err := shown(t, f, &settings{only: c.only, count: 2})
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v, want %s", err, c.want)
				}
				if out == "" || logged == "" {
					t.Errorf("wrote %q and logged %q", out, logged)
				}
			})
		})
	}
}

// A line is an object, with null for rates that are not known.
func TestJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleetOf(t, 1, 0, 1)
		out, _, err := shown(t, f, &settings{json: true, count: 2})
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		for line := range strings.Lines(out) {
			lines++
			var o struct {
				Total  struct{ In_per_second *float64 }
				Topics []struct {
					Topic    string
					Channels []struct {
						Channel        string
						Out_per_second *float64
					}
				}
				Nodes []struct{ Up bool }
			}
			if err := json.Unmarshal([]byte(line), &o); err != nil {
				t.Fatal(err)
			}
			if len(o.Topics) != 1 || len(o.Topics[0].Channels) != 1 || len(o.Nodes) != 1 || !o.Nodes[0].Up ||
				o.Total.In_per_second == nil || *o.Total.In_per_second != 100 || *o.Topics[0].Channels[0].Out_per_second != 100 {
				t.Errorf("%s", line)
			}
		}
		if lines != 2 {
			t.Errorf("%d lines", lines)
		}
	})
}

// broken is an output that fails.
type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

// A reader that has gone is a good end, a disk that is full is none; and without --count it
// ends when it is told to.
func TestEnds(t *testing.T) {
	for name, c := range map[string]struct{ err, want error }{
		"reader gone": {syscall.EPIPE, nil}, "disk full": {syscall.ENOSPC, syscall.ENOSPC},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fleetOf(t, 1, 0, 0)
				s := &settings{interval: time.Second}
				err := s.watch(t.Context(), f.Cluster(t), slog.New(slog.DiscardHandler), s.lines(broken{c.err}, nil))
				if !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := fleetOf(t, 1, 0, 0)
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		var out strings.Builder
		s := &settings{interval: time.Second}
		err := s.watch(ctx, f.Cluster(t), slog.New(slog.DiscardHandler), s.lines(&out, nil))
		if err != nil || strings.Count(out.String(), "\n") < 6 {
			t.Errorf("%v after\n%s", err, out.String())
		}
	})
}
