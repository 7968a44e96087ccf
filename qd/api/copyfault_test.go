package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/queue"
)

// deadAndLarge is a disk with n dead messages of 100 KB in channel c of topic t, ten of
// which are published at a time, and a daemon's settings for it.
func deadAndLarge(t *testing.T, n int, level broker.Level) (*medium, func(*broker.Settings, *api.Config)) {
	t.Helper()
	m := newMedium(t)
	for dir := m.path; dir != "/"; { // which a power cut must not take
		dir = filepath.Dir(dir)
		if err := m.disk.SyncDir(dir); err != nil {
			t.Fatal(err)
		}
	}
	adjust := func(s *broker.Settings, c *api.Config) {
		s.Durability, s.SegmentBytes, c.MaxMsgSize, c.MaxBodySize = level, 4<<20, 1<<20, 64<<20
	}
	d := m.start(t, adjust)
	d.create("t")
	d.do("/channel/policy?topic=t&channel=c&max_attempts=1", nil)
	for i := range n {
		d.do("/pub?topic=t", large(i))
	}
	k := d.read("t", "c", "k", time.Minute)
	for _, m := range k.take(n) {
		k.requeue(m, 0)
	}
	k.close()
	d.create("to")
	d.stop()
	return m, adjust
}

func large(i int) string { return fmt.Sprintf("%d ", i) + strings.Repeat("x", 100_000) }

// numbered are the numbers that the messages of a channel in a state begin with.
func (d *daemon) numbered(topic, state string) (all []int) {
	d.t.Helper()
	for _, s := range d.page(topic, "c", state) {
		var i int
		if s.Body == nil {
			d.t.Errorf("%s cannot be read", s.ID)
		} else if _, err := fmt.Sscan(*s.Body, &i); err != nil {
			d.t.Error(err)
		}
		all = append(all, i)
	}
	return all
}

var told = regexp.MustCompile(`: (\d+) messages? (?:was|were) moved, up to and including ([0-9a-f]{16}); then: `)

// toldCount is how many messages an answer says were moved.
func toldCount(t *testing.T, w *httptest.ResponseRecorder) int {
	t.Helper()
	if w.Code == 200 {
		var c copied
		if err := json.Unmarshal(w.Body.Bytes(), &c); err != nil || c.More {
			t.Fatalf("%v in %s", err, w.Body)
		}
		return c.Count
	}
	if found := told.FindStringSubmatch(w.Body.String()); found != nil {
		n, _ := strconv.Atoi(found[1])
		return n
	}
	return 0
}

// TestMoveDespiteFaults moves while the first operation that writes to the disk fails,
// with all that follow or alone, then the second, and so on, and ends the daemon there:
// by a kill, or at level fsync by a power cut. No message is ever lost; and as long as
// the daemon runs, each is in one place, and as many were moved as the answer says.
func TestMoveDespiteFaults(t *testing.T) {
	const all = 23
	for name, c := range map[string]struct {
		level broker.Level
		fail  func(d *disktest.Disk, n int)
		end   func(d *disktest.Disk) *disktest.Disk
	}{
		"disk, all fail":  {broker.Disk, func(d *disktest.Disk, n int) { d.FailAlways(n) }, (*disktest.Disk).Kill},
		"disk, one fails": {broker.Disk, func(d *disktest.Disk, n int) { d.FailAt(n, nil) }, (*disktest.Disk).Kill},
		"fsync, all fail": {broker.Fsync, func(d *disktest.Disk, n int) { d.FailAlways(n) }, powerCut},
	} {
		t.Run(name, func(t *testing.T) {
			m, adjust := deadAndLarge(t, all, c.level)
			partly := 0
			for n := 0; ; n++ {
				trial := &medium{m.path, m.disk.Kill()}
				met, some := moveWithFault(t, trial, adjust, all, func() { c.fail(trial.disk, n) }, c.end)
				if some {
					partly++
				}
				if !met || t.Failed() {
					break
				}
			}
			if partly == 0 {
				t.Error("no fault came in the middle")
			}
		})
	}
}

func powerCut(d *disktest.Disk) *disktest.Disk {
	return d.Crash(disktest.Some, rand.New(rand.NewPCG(1, uint64(d.Operations()))))
}

// moveWithFault moves all messages, and reports whether a fault was met, and whether it
// left some on this side and some on the other.
func moveWithFault(t *testing.T, m *medium, adjust func(*broker.Settings, *api.Config), all int, fail func(), end func(*disktest.Disk) *disktest.Disk) (met, partly bool) {
	t.Helper()
	d := m.start(t, adjust)
	fail()
	w := d.send("POST", "/message/move?topic=t&channel=c&to=to&all=true", nil)
	met = m.disk.Failed()
	ended := end(m.disk)
	m.disk.Heal()
	moved, left := d.numbered("to", "ready"), d.numbered("t", "dead")
	if count := toldCount(t, w); count != len(moved) || len(moved)+len(left) != all || !slices.Equal(missing(all, moved, left), nil) {
		t.Errorf("%d %s: moved were %v, left %v", w.Code, w.Body, moved, left)
	}
	d.stop()

	again := &medium{m.path, ended}
	d = again.start(t, adjust)
	movedNow, leftNow := d.numbered("to", "ready"), d.numbered("t", "dead")
	if lost := missing(all, movedNow, leftNow); lost != nil {
		t.Errorf("lost are %v; %d %s", lost, w.Code, w.Body)
	}
	if len(movedNow) < len(moved) || w.Code == 200 && len(leftNow) > 0 {
		t.Errorf("%d %s: %v moved were, but %v; left are %v", w.Code, w.Body, moved, movedNow, leftNow)
	}
	d.stop()
	return met, len(moved) > 0 && len(left) > 0
}

// missing are the numbers below all that are in none of some.
func missing(all int, some ...[]int) (none []int) {
	for i := range all {
		if !slices.ContainsFunc(some, func(s []int) bool { return slices.Contains(s, i) }) {
			none = append(none, i)
		}
	}
	return none
}

// A disk that is full in the middle ends a copy with what it has come to, and where to
// go on once there is room.
func TestCopyToAFullDisk(t *testing.T) {
	const all = 35
	m, adjust := deadAndLarge(t, all, broker.Disk)
	d := m.start(t, adjust)
	free, size, err := m.disk.Space(m.path)
	if err != nil {
		t.Fatal(err)
	}
	m.disk.SetCapacity(int64(size-free) + 2_500_000) // for two times eleven
	w := d.send("POST", "/message/copy?topic=t&channel=c&to=to&all=true&state=dead", nil)
	got := w.Body.String()
	if w.Code != 503 || !strings.HasPrefix(got, `{"message":"DISK_FULL: 22 messages were copied, up to and including `) || !strings.Contains(got, "; then: topic to: writing its log: ") {
		t.Fatalf("%d %s", w.Code, got)
	}
	if n, _ := d.published("to"); n != 22 {
		t.Errorf("%d were copied", n)
	}
	last := regexp.MustCompile(`[0-9a-f]{16}`).FindString(got)
	m.disk.SetCapacity(1 << 30)
	if rest := d.transfer("copy", "to=to&all=true&state=dead&after="+last); rest != (copied{Count: all - 22}) {
		t.Errorf("%+v", rest)
	}
	if got := d.numbered("to", "ready"); len(got) != all || missing(all, got) != nil {
		t.Errorf("%v", got)
	}
}

// Two who ask for the same messages at the same time do not both get them; and who
// would wait for too long is told so.
func TestMovesOneAtATime(t *testing.T) {
	d := logged(t)
	d.die(5000)
	var counts [4]int
	var users sync.WaitGroup
	for i := range counts {
		users.Go(func() { counts[i] = d.transfer("move", "to=to&all=true").Count })
	}
	users.Wait()
	if sum := counts[0] + counts[1] + counts[2] + counts[3]; sum != 5000 || slices.Max(counts[:]) != 5000 {
		t.Errorf("%d were moved", counts)
	}
	if n, _ := d.published("to"); n != 5000 {
		t.Errorf("%d were published", n)
	}
}

// Moves, copies, revivals and consumers at the same time: whatever was published is
// somewhere.
func TestMovesInAStorm(t *testing.T) {
	d := newMedium(t).start(t, func(s *broker.Settings, _ *api.Config) { s.SegmentBytes = 16 << 10 })
	d.create("t")
	d.create("to")
	d.create("copies")
	d.do("/channel/policy?topic=t&channel=c&max_attempts=1", nil)
	const all = 4000
	published := make(chan struct{})
	var others, publisher sync.WaitGroup
	publisher.Go(func() {
		for i := range all {
			d.do("/pub?topic=t", strconv.Itoa(i))
		}
		close(published)
	})
	until := func(do func()) {
		others.Go(func() {
			for {
				do()
				select {
				case <-published:
					return
				default:
				}
			}
		})
	}
	var finished sync.Map
	until(func() {
		k, err := d.topic("t").Subscribe("c", nil, broker.Membership{Timeout: time.Minute})
		if err != nil {
			t.Error(err)
			return
		}
		r := &reader{t, k}
		for i, m := range r.takeSome() {
			if i%5 == 0 {
				finished.Store(string(m.Body), true)
				r.finish([]protocol.Message{m})
			} else {
				r.requeue(m, 0)
			}
		}
		r.close()
	})
	until(func() { d.transferWhole("move", "to=to&all=true") })
	until(func() { d.send("POST", "/message/revive?topic=t&channel=c&all=true", nil) })
	for _, state := range []string{"ready", "dead", "deferred"} {
		until(func() { d.transferWhole("copy", "to=copies&all=true&state="+state) })
	}
	publisher.Wait()
	others.Wait()

	where := make(map[string]bool)
	finished.Range(func(body, _ any) bool { where[body.(string)] = true; return true })
	for _, topic := range []string{"t", "to"} {
		for _, state := range []string{"ready", "in_flight", "deferred", "dead"} {
			for _, body := range d.allOf(topic, state) {
				where[body] = true
			}
		}
	}
	if len(where) != all {
		t.Errorf("%d of %d are left", len(where), all)
	}
}

// transferWhole is transfer if nobody is before it, and finds nothing unreadable: what
// has gone elsewhere meanwhile is not damaged.
func (d *daemon) transferWhole(act, query string) {
	w := d.send("POST", "/message/"+act+"?topic=t&channel=c&"+query, nil)
	if w.Code != 200 && w.Code != 503 || strings.Contains(w.Body.String(), "unreadable") {
		d.t.Errorf("%s %s: %d %s", act, query, w.Code, w.Body)
	}
}

// allOf are the bodies of all messages of a channel c that are in a state.
func (d *daemon) allOf(topic, state string) (bodies []string) {
	d.t.Helper()
	for after := "0000000000000000"; after != ""; {
		var p seenPage
		d.get("/channel/messages?channel=c&limit=1000&topic="+topic+"&state="+state+"&after="+after, &p)
		for _, s := range p.Messages {
			bodies = append(bodies, *s.Body)
		}
		after = p.Next
	}
	return bodies
}

// takeSome takes what is delivered now, a hundred at most.
func (r *reader) takeSome() []protocol.Message {
	r.t.Helper()
	var run queue.Run
	defer r.Release(&run)
	r.SetReady(100)
	defer r.SetReady(0)
	ok, err := r.Next(&run, 1<<20)
	if err != nil {
		r.t.Fatal(err)
	}
	if !ok {
		return nil
	}
	frames := slices.Clone(run.Frames)
	for _, again := range run.Again {
		frames = again.Append(frames)
	}
	return parse(r.t, frames)
}

// A copy whose time is up, or that nobody waits for any more, has done something at
// least, so that who goes on from there comes to an end.
func TestCopyOutOfTime(t *testing.T) {
	gone, leave := context.WithCancel(t.Context())
	leave()
	for _, c := range []struct {
		name   string
		ctx    context.Context
		within time.Duration
	}{{"late", t.Context(), -1}, {"left", gone, time.Hour}} {
		t.Run(c.name, func(t *testing.T) {
			atLevels(t, func(t *testing.T, d *daemon) {
				const all = 30
				d.die(all)
				what := broker.Copying{Channel: "c", To: "to", All: true, State: queue.DeadMessages, Limit: 1000, Within: c.within}
				count := 0
				for more := true; more && count <= all; {
					done, err := d.topic("t").Copy(c.ctx, what)
					if err != nil || done.Count != 1 {
						t.Fatalf("%+v, %v", done, err)
					}
					count += done.Count
					more, what.After = done.More, done.Last
				}
				if n, _ := d.published("to"); count != all || n != all {
					t.Errorf("%d were copied, %d published", count, n)
				}
			})
		})
	}
}

// Somebody deletes the other topic again and again: it is made anew, and nothing else
// comes of it.
func TestCopyToWhatIsDeleted(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		d.die(1)
		id := d.look("dead")[0].ID
		done := make(chan struct{})
		var other sync.WaitGroup
		defer other.Wait()
		defer close(done)
		for range 2 {
			other.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						d.send("POST", "/topic/delete?topic=to", nil)
					}
				}
			})
		}
		for range 600 {
			if got := d.transfer("copy", "to=to&id="+id); got != (copied{Count: 1}) {
				t.Errorf("%+v", got)
			}
		}
	})
}
