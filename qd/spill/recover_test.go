package spill

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/queue"
)

// frames are those of messages with IDs from from up to but not including to.
func frames(from, to int) (b []byte) {
	for i := from; i < to; i++ {
		b = protocol.AppendMessage(b, 7, 1, uint64(i), make([]byte, 100))
	}
	return b
}

// fill appends records of ten messages each, with IDs from from on.
func fill(t *testing.T, q *Queue, from, to int) {
	t.Helper()
	for ; from < to; from += 10 {
		if err := q.Append(frames(from, from+10), 10); err != nil {
			t.Fatal(err)
		}
	}
}

// crash copies the files of a queue, without those that say how much there is
// if it was never synced.
func crash(t *testing.T, cfg Config, synced bool) Config {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	cfg.Dir = to
	if !synced {
		for _, f := range files(t, cfg) {
			if strings.HasSuffix(f, metaSuffix) {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return cfg
}

// first returns the IDs that the records of a queue begin with, and empties it.
func first(t *testing.T, cfg Config) (ids []int) {
	t.Helper()
	q := open(t, cfg)
	records := q.Records()
	for {
		payload, _, ok, err := q.Next()
		if !ok && err == nil {
			break
		}
		if err != nil {
			ids = append(ids, -1)
			continue
		}
		id, _ := protocol.ParseID(payload[protocol.IDOffset:protocol.BodyOffset])
		ids = append(ids, int(id))
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if len(ids) != records {
		t.Errorf("%d records come of %d", len(ids), records)
	}
	return ids
}

// TestRecover recovers queues after crashes at different moments, twice over
// since the first recovery may have crashed too.
func TestRecover(t *testing.T) {
	type state struct {
		cfg Config
		q   *Queue
	}
	tests := map[string]struct {
		build  func(t *testing.T, s *state) Config // of the crashed queue
		below  uint64
		want   []int // IDs that records begin with; -1 is a damaged one
		wanted Recovered
	}{
		"never synced": {
			build: func(t *testing.T, s *state) Config { fill(t, s.q, 10, 110); return crash(t, s.cfg, false) },
			want:  []int{10, 20, 30, 40, 50, 60, 70, 80, 90, 100}, wanted: Recovered{Records: 10, Messages: 100, First: 10},
		},
		"nothing": {
			build:  func(t *testing.T, s *state) Config { return crash(t, s.cfg, false) },
			wanted: Recovered{First: math.MaxUint64},
		},
		"read since the sync": {
			build: func(t *testing.T, s *state) Config {
				fill(t, s.q, 10, 110)
				if err := s.q.Rest(); err != nil { // a sync
					t.Fatal(err)
				}
				for range 2 {
					if _, _, ok, err := s.q.Next(); !ok || err != nil {
						t.Fatal(ok, err)
					}
				}
				if err := s.q.Rest(); err != nil {
					t.Fatal(err)
				}
				if _, _, ok, err := s.q.Next(); !ok || err != nil {
					t.Fatal(ok, err)
				}
				return crash(t, s.cfg, true)
			},
			want: []int{30, 40, 50, 60, 70, 80, 90, 100}, wanted: Recovered{Records: 8, Messages: 80, First: 30},
		},
		"others have the rest": {
			build: func(t *testing.T, s *state) Config { fill(t, s.q, 10, 110); return crash(t, s.cfg, false) },
			below: 70,
			want:  []int{10, 20, 30, 40, 50, 60}, wanted: Recovered{Records: 6, Messages: 60, First: 10},
		},
		"in the middle of a stop": { // which puts what was read before the rest
			build: func(t *testing.T, s *state) Config {
				fill(t, s.q, 10, 60)
				front := s.q.Prepend()
				fill(t, front, 10, 40)
				return crash(t, s.cfg, false)
			},
			want: []int{10, 20, 30, 40, 50}, wanted: Recovered{Records: 5, Messages: 50, First: 10},
		},
		"a record torn": {
			build: func(t *testing.T, s *state) Config {
				fill(t, s.q, 10, 40)
				cfg := crash(t, s.cfg, false)
				truncate(t, cfg, -100)
				return cfg
			},
			want: []int{10, 20}, wanted: Recovered{Records: 2, Messages: 20, First: 10},
		},
		"a length torn": {
			build: func(t *testing.T, s *state) Config {
				fill(t, s.q, 10, 40)
				cfg := crash(t, s.cfg, false)
				truncate(t, cfg, 2)
				return cfg
			},
			want: []int{10, 20, 30}, wanted: Recovered{Records: 3, Messages: 30, First: 10},
		},
		"zeros at the end": {
			build: func(t *testing.T, s *state) Config {
				fill(t, s.q, 10, 40)
				cfg := crash(t, s.cfg, false)
				truncate(t, cfg, 5000)
				return cfg
			},
			want: []int{10, 20, 30}, wanted: Recovered{Records: 3, Messages: 30, First: 10},
		},
		"a record damaged": {
			build: func(t *testing.T, s *state) Config {
				fill(t, s.q, 10, 40)
				cfg := crash(t, s.cfg, false)
				name := last(t, cfg)
				data, err := os.ReadFile(name)
				if err == nil {
					data[len(data)/2] ^= 1
					err = os.WriteFile(name, data, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				return cfg
			},
			want: []int{10, -1, 30}, wanted: Recovered{Records: 3, Messages: 20, Damaged: 1, First: 10},
		},
	}
	for name, test := range tests {
		for _, fileBytes := range []int64{1 << 20, 2000} {
			if fileBytes == 2000 && (test.wanted.Damaged > 0 || strings.Contains(name, "torn") || strings.Contains(name, "zeros")) {
				continue // they are about a single file
			}
			t.Run(fmt.Sprintf("%s, files of %d bytes", name, fileBytes), func(t *testing.T) {
				s := &state{cfg: config(t, fileBytes)}
				s.q = open(t, s.cfg)
				cfg := test.build(t, s)
				defer func() {
					if err := s.q.Purge(); err != nil {
						t.Error(err)
					}
				}()
				if test.below == 0 {
					test.below = math.MaxUint64
				}
				for range 2 {
					got, err := RecoverBlocks(cfg, "t:c", test.below)
					if err != nil {
						t.Fatal(err)
					}
					if got != test.wanted {
						t.Errorf("recovered %+v, not %+v", got, test.wanted)
					}
				}
				if got := first(t, cfg); fmt.Sprint(got) != fmt.Sprint(test.want) {
					t.Errorf("records %v come, not %v", got, test.want)
				}
			})
		}
	}
}

// last is the newest data file.
func last(t *testing.T, cfg Config) (name string) {
	t.Helper()
	for _, f := range files(t, cfg) {
		if strings.HasSuffix(f, dataSuffix) && !strings.HasSuffix(f, metaSuffix) {
			name = f
		}
	}
	return name
}

// truncate makes the newest data file n bytes longer or shorter.
func truncate(t *testing.T, cfg Config, n int64) {
	t.Helper()
	info, err := os.Stat(last(t, cfg))
	if err == nil {
		err = os.Truncate(last(t, cfg), info.Size()+n)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRecoverSaved recovers a queue of parked messages, which are in no order.
func TestRecoverSaved(t *testing.T) {
	cfg := config(t, 1<<20)
	q := open(t, cfg)
	for _, id := range []int{50, 10, 30, 10} {
		saved := []queue.Saved{{Due: int64(id), Frame: frames(id, id+1)}}
		if err := q.AppendSaved(saved); err != nil {
			t.Fatal(err)
		}
	}
	crashed := crash(t, cfg, false)
	if err := q.Purge(); err != nil {
		t.Fatal(err)
	}
	found, err := RecoverSaved(crashed, "t:c")
	if err != nil || found.Messages != 4 {
		t.Fatal(found, err)
	}
	q = open(t, crashed)
	saved, damaged, err := q.TakeSaved()
	if err != nil || damaged != 0 || len(saved) != 4 || saved[0].Due != 50 || saved[3].Due != 10 {
		t.Error(saved, damaged, err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if left := files(t, crashed); len(left) > 0 {
		t.Errorf("an empty queue leaves %v", left)
	}
}

// TestNames keeps queues apart whose names look like parts of others'.
func TestNames(t *testing.T) {
	cfg := config(t, 1000)
	names := []string{":", ":c", ":c.diskqueue.000000.dat", "!c", ":c.diskqueue.meta.dat", ":cc"}
	for i, name := range names {
		q, err := Open(cfg, name)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, q, 100*i, 100*i+50)
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range names {
		found, err := RecoverBlocks(cfg, name, math.MaxUint64)
		if err != nil || found.Records != 5 || found.First != uint64(100*i) {
			t.Errorf("queue %s: %+v, %v", name, found, err)
		}
		q, err := Open(cfg, name)
		if err != nil || q.Records() != 5 {
			t.Fatal(q.Records(), err)
		}
		if err := q.Purge(); err != nil {
			t.Fatal(err)
		}
	}
	if left := files(t, cfg); len(left) > 0 {
		t.Errorf("purged queues leave %v", left)
	}
}

// TestRest closes a queue's files between all operations.
func TestRest(t *testing.T) {
	cfg := config(t, 3000)
	q := open(t, cfg)
	rest := func() {
		if err := q.Rest(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		add(t, q, i, i+1)
		rest()
		if i%2 == 1 {
			want(t, q, i/2, i/2+1)
			rest()
		}
	}
	want(t, q, 50, 100)
	rest()
	noBadFiles(t, cfg)
	if left := files(t, cfg); len(left) > 0 {
		t.Errorf("an empty queue leaves %v", left)
	}
}
