package sampler

import (
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
)

func read(text string) (*stats, error) {
	return readStats(strings.NewReader(text), "n:1", newNames(), nil)
}

// All that a qd tells, in any order, with fields that nobody knows in between.
func TestReadStats(t *testing.T) {
	got, err := read(`{"unknown":[1,{"a":null}],"producers":null,"topics":[
		{"channels":[
			{"clients":[{"client_id":"x"}],"channel_name":"b","depth":1,"backend_depth":2,"in_flight_count":3,"deferred_count":4,"message_count":18446744073709551615,
			 "requeue_count":6,"timeout_count":7,"client_count":8,"paused":true,"finished_count":9,"dead_count":10,"max_attempts":11,
			 "e2e_processing_latency":{"count":3,"percentiles":[{"quantile":0.99,"value":1500},{"quantile":0.5,"value":1e3}]},
			 "pause":{"reason":"why","by":"who","since":1000000000,"until":2000000000,"more":1}},
			{"channel_name":"a","e2e_processing_latency":{"percentiles":null},"pause":null}],
		 "depth":9223372036854775807,"topic_name":"t","backend_depth":1,"message_count":2,"message_bytes":3,"paused":false,"durability":"fsync",
		 "log_segments":4,"log_bytes":5,"oldest":946684800000000001,"damaged_records":6,"lost_count":7,
		 "retention_age":3600000000000,"retention_bytes":8,"max_messages":9,"max_bytes":10,"overflow":"drop-oldest"},
		{"topic_name":"a\u0062","channels":null}],
		"node":{"state":"failing","disk_free":1,"disk_size":2,"memory_used":3,"memory_limit":18446744073709551615},
		"start_time":946684800,"health":"NOK - disk","version":"1.3.0"} trailing nonsense`)
	if err != nil {
		t.Fatal(err)
	}
	second := func(n int64) time.Time { return time.Unix(n, 0).UTC() }
	want := &stats{
		version: "1.3.0", health: "NOK - disk", started: second(946684800), state: "failing", millrace: true,
		diskFree: 1, diskSize: 2, memoryUsed: 3, memoryLimit: math.MaxUint64, bytes: got.bytes,
		topics: []fleet.NodeTopic{
			{Name: "ab", Node: "n:1"},
			{
				Name: "t", Node: "n:1", Figures: fleet.Figures{Depth: math.MaxInt64, OnDisk: 1, Messages: 2}, Bytes: 3,
				Durability: "fsync", Segments: 4, LogBytes: 5, Oldest: time.Unix(946684800, 1).UTC(), Damaged: 6, Lost: 7,
				Policy: fleet.Policy{RetentionAge: time.Hour, RetentionBytes: 8, MaxMessages: 9, MaxBytes: 10, Overflow: "drop-oldest"},
				Channels: []fleet.NodeChannel{
					{Name: "a", Node: "n:1"},
					{
						Name: "b", Node: "n:1", MaxAttempts: 11, Paused: true,
						Figures: fleet.Figures{Depth: 1, OnDisk: 2, InFlight: 3, Deferred: 4, Dead: 10, Messages: math.MaxUint64, Requeued: 6, TimedOut: 7, Finished: 9, Clients: 8},
						Pause:   &fleet.Pause{Reason: "why", By: "who", Since: second(1), Until: second(2)},
						Latency: []fleet.Percentile{{Quantile: 0.99, Value: 1500}, {Quantile: 0.5, Value: 1000}},
					},
				},
			},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// What is no daemon's answer is refused as a whole.
func TestNoStats(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":            ``,
		"text":               `OK`,
		"a page":             `<html>`,
		"a list":             `[]`,
		"a string":           `"x"`,
		"no topics":          `{"version":"1.3.0"}`,
		"topics of no kind":  `{"topics":1}`,
		"topics by name":     `{"topics":{"a":{}}}`,
		"a topic's name":     `{"topics":["a"]}`,
		"depth in words":     `{"topics":[{"topic_name":"a","depth":"1"}]}`,
		"paused as a number": `{"topics":[{"topic_name":"a","paused":1}]}`,
		"name as a number":   `{"topics":[{"topic_name":1}]}`,
		"half of it":         `{"topics":[{"topic_name":"a"}`,
		"half a name":        `{"topics":[{"topic_name":"a`,
		"comma":              `{"topics":[,]}`,
		"depth of lists":     `{"x":` + strings.Repeat("[", 20_000) + `}`,
	} {
		if got, err := read(text); err == nil || !strings.Contains(err.Error(), "not what NSQ's daemons answer") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// What is odd and can be understood is understood.
func TestOddStats(t *testing.T) {
	for text, want := range map[string]fleet.NodeTopic{
		`{"topic_name":"<script>alert(1)</script>","depth":-3}`:         {Name: "<script>alert(1)</script>", Figures: fleet.Figures{Depth: -3}},
		"{\"topic_name\":\"a\xff\xfeb\"}":                               {Name: "a��b"},
		`{"topic_name":"\ud800 \u0000"}`:                                {Name: "� \x00"},
		`{"topic_name":"e","depth":1e3,"message_count":1.5}`:            {Name: "e", Figures: fleet.Figures{Depth: 1000, Messages: 1}},
		`{"topic_name":"l","message_count":99999999999999999999}`:       {Name: "l", Figures: fleet.Figures{Messages: math.MaxUint64}},
		`{"topic_name":"n","message_count":-1,"depth":null}`:            {Name: "n"},
		`{"topic_name":"d","depth":99999999999999999999}`:               {Name: "d", Figures: fleet.Figures{Depth: math.MaxInt64}},
		`{"topic_name":"x","topic_name":"y","oldest":-5,"paused":null}`: {Name: "y"},
	} {
		got, err := read(`{"topics":[` + text + `]}`)
		if want.Node = "n:1"; err != nil || len(got.topics) != 1 || !reflect.DeepEqual(got.topics[0], want) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	got, err := read(`{"topics":[{"topic_name":""},{},{"topic_name":"` + strings.Repeat("x", 1<<20) + `"},{"topic_name":"a","channels":[{}]},{"topic_name":"a"}]}`)
	if err != nil || got.left != 4 || len(got.topics) != 1 {
		t.Errorf("names that are none: %+v, %v", got, err)
	}
}

// endless answers with text again and again.
type endless struct {
	begin, again string
	sent         int64
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		k := copy(p[n:], e.begin)
		if e.begin = e.begin[k:]; e.begin == "" {
			e.begin = e.again
		}
		n += k
	}
	if e.sent += int64(n); e.sent > 1<<30 {
		return 0, errors.New("it read on for a gigabyte")
	}
	return n, nil
}

// An answer without end has one: by the piece, or by what is too many.
func TestEndlessStats(t *testing.T) {
	for name, e := range map[string]*endless{
		"a name":    {begin: `{"topics":[{"topic_name":"`, again: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
		"a number":  {begin: `{"start_time":1`, again: "11111111111111111111111111111111111111111"},
		"blanks":    {begin: `{"topics":[`, again: "                                             "},
		"topics":    {begin: `{"topics":[`, again: `{"topic_name":"a"},`},
		"channels":  {begin: `{"topics":[{"topic_name":"a","channels":[`, again: `{"channel_name":"b"},`},
		"a key":     {begin: `{"`, again: "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"},
		"objects":   {begin: ``, again: `{"a":`},
		"latencies": {begin: `{"topics":[{"e2e_processing_latency":{"percentiles":[`, again: `{"quantile":1},`},
	} {
		t.Run(name, func(t *testing.T) {
			from := io.LimitReader(e, 128<<20) // as Stream does, later
			_, err := readStats(from, "n:1", newNames(), nil)
			if err == nil {
				t.Error("that was an answer")
			}
			if most := int64(80 << 20); e.sent > most {
				t.Errorf("%d MiB were read before %v", e.sent>>20, err)
			}
		})
	}
}

// Names are kept once, whoever tells them, and not for ever.
func TestNames(t *testing.T) {
	n := newNames()
	a := n.get([]byte("name"), "")
	if b := n.get([]byte("name"), "hint"); a != b || n.get([]byte("hint"), "hint") != "hint" || len(n.all) != 1 {
		t.Errorf("%q, %q, %d names", a, b, len(n.all))
	}
	for i := range 30_000 {
		n.get(fmt.Append(nil, i), "")
	}
	if n.trim(20_000); len(n.all) == 0 {
		t.Error("names that are in use are gone")
	}
	if n.trim(5000); len(n.all) != 0 {
		t.Errorf("%d names are kept that nobody uses", len(n.all))
	}
}

// FuzzReadStats has any bytes be an answer: it is understood or refused, and what is
// understood can be merged.
func FuzzReadStats(f *testing.F) {
	f.Add([]byte(`{"topics":[{"topic_name":"a","channels":[{"channel_name":"c","depth":1,"pause":{"reason":"x"}}]},{"topic_name":"a"}]}`))
	f.Add([]byte(`{"topics":[{"topic_name":"b"},{"topic_name":"a","e2e_processing_latency":{"percentiles":[{"quantile":1}]}}],"node":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readStats(strings.NewReader(string(b)), "n:1", newNames(), nil)
		if err != nil {
			return
		}
		again, err := readStats(strings.NewReader(string(b)), "n:1", newNames(), s.topics)
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("with a hint: %+v, %v; without: %+v", again, err, s)
		}
		snap := &fleet.Snapshot{Nodes: []*fleet.Node{{Address: "n:1", Topics: s.topics}, {Address: "o:1", Topics: again.topics}}}
		snap.Merge()
		if len(snap.Topics) != len(s.topics) {
			t.Fatalf("%d topics of %d", len(snap.Topics), len(s.topics))
		}
	})
}

// The next poll waits until this one has cost no more than a tenth of the time, here or at
// a daemon.
func TestPeriod(t *testing.T) {
	for _, tt := range []struct {
		spent, making, used time.Duration // used: of processors, by all of this process
		largest             int64
		want                time.Duration
	}{
		{0, 0, time.Minute, 0, 2 * time.Second},
		{50 * time.Millisecond, 50 * time.Millisecond, time.Minute, 1 << 20, 2 * time.Second},
		{700 * time.Millisecond, 100 * time.Millisecond, time.Minute, 1 << 20, 8 * time.Second},
		{5 * time.Second, 5 * time.Second, 600 * time.Millisecond, 1 << 20, 6 * time.Second},
		{50 * time.Millisecond, 0, time.Minute, 25 << 20, 5 * time.Second},
	} {
		r := round{Sampler: &Sampler{settings: Settings{Period: 2 * time.Second}}, before: time.Hour}
		for range 2 { // what the one before has cost is settled
			r.spent, r.largest = tt.spent, tt.largest
			r.settle(tt.making, r.before+tt.used)
			if got := r.period(); got != tt.want {
				t.Errorf("%+v: %v, want %v", tt, got, tt.want)
			}
		}
	}
}
