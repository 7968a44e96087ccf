package api_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/disk/disktest"
	"github.com/millrace-mq/millrace/qd/queue"
)

// A message that is damaged on disk is listed, as what it is.
func TestDamagedBody(t *testing.T) {
	m := newMedium(t)
	d := m.start(t, nil)
	d.topic("t")
	d.do("/channel/create?topic=t&channel=c", nil)
	d.do("/pub?topic=t&defer=3600000", "needle")
	damage(t, m.disk, "needle")
	got := d.look("deferred")
	if len(got) != 1 || !got[0].Unreadable || got[0].Body != nil || got[0].Base64 != nil || got[0].Due == 0 {
		t.Errorf("%+v", got)
	}
}

// What was emptied out of a topic, in the midst of its log, is not shown.
func TestEmptiedIsNotShown(t *testing.T) {
	atLevels(t, func(t *testing.T, d *daemon) {
		d.do("/topic/create?topic=t", nil)
		d.do("/channel/create?topic=t&channel=c", nil)
		d.do("/mpub?topic=t", "a\nb")
		d.do("/topic/pause?topic=t", nil)
		d.do("/mpub?topic=t", "gone\ngone")
		d.do("/topic/empty?topic=t", nil)
		d.do("/pub?topic=t", "c")
		d.do("/topic/unpause?topic=t", nil)
		var got []string
		for _, m := range d.look("ready") {
			got = append(got, *m.Body)
		}
		if want := []string{"a", "b", "c"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// Everything that looks, and what operators do, while the topic is in use.
func TestLookingUnderLoad(t *testing.T) {
	d := logged(t)
	done := make(chan struct{})
	var users sync.WaitGroup
	users.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				d.send("POST", "/mpub?topic=t", "a\nb\nc")
				d.send("POST", "/pub?topic=t&defer=1", "d")
				d.consume("t")
			}
		}
	})
	users.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				d.send("POST", "/channel/seek?topic=t&channel=c&to=earliest", nil)
				d.send("POST", "/channel/policy?topic=t&channel=c&max_attempts=1", nil)
				d.send("POST", "/topic/policy?topic=t&retention_age=1s", nil)
				d.send("POST", "/topic/delete?topic=t", nil)
			}
		}
	})
	for range 40 {
		for _, path := range []string{
			"/channel/messages?topic=t&channel=c&state=ready", "/channel/messages?topic=t&channel=c&state=in_flight",
			"/message?topic=t&id=0000000400000000", "/topic/policy?topic=t", "/stats?format=json&topic=t",
		} {
			if w := d.send("GET", path, nil); w.Code != 200 && w.Code != 404 {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	}
	close(done)
	users.Wait()
}

// Who looks into a topic that somebody deletes is told so, and not of files.
func TestLookingIntoADeletedTopic(t *testing.T) {
	d := logged(t)
	topic := d.topic("t")
	d.do("/channel/create?topic=t&channel=c", nil)
	d.do("/pub?topic=t", "x")
	d.do("/topic/delete?topic=t", nil)
	if _, _, err := topic.Message(1); !errors.Is(err, broker.ErrGone) {
		t.Errorf("looking for a message: %v", err)
	}
	for _, text := range []string{"0000000000abcdef", "0"} {
		place, err := broker.ParsePlace(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := topic.Seek("c", place); !errors.Is(err, broker.ErrGone) {
			t.Errorf("a move to %s: %v", text, err)
		}
	}
}

// consume finishes what channel c can deliver now, as far as nobody moves the
// channel, or deletes it.
func (d *daemon) consume(topic string) {
	k, err := d.topic(topic).Subscribe("c", nil, broker.Membership{Timeout: time.Minute})
	if err != nil {
		return
	}
	k.SetReady(100)
	var run queue.Run
	for ok := true; ok; {
		if ok, err = k.Next(&run, 1<<20); err != nil {
			break
		}
		for _, m := range parse(d.t, slices.Clone(run.Frames)) {
			k.Finish([]uint64{number(m)}, func(int, error) {})
		}
	}
	k.Release(&run)
	if err := k.Close(); err != nil {
		d.t.Error(err)
	}
}

// damage changes a byte of the only place on the disk that has text.
func damage(t *testing.T, disk *disktest.Disk, text string) {
	t.Helper()
	found := 0
	for _, path := range disk.Paths() {
		if i := strings.Index(string(disk.Bytes(path)), text); i >= 0 {
			disk.Flip(path, int64(i), 1)
			found++
		}
	}
	if found != 1 {
		t.Fatalf("%q is in %d files", text, found)
	}
}
