package queue

import (
	"slices"
	"testing"
)

// block publishes messages that fill a block of their own.
func (w *world) block() { w.publish(1, MaxBlock) }

// TestReadsAndWritesTakeTurns drains a backlog on disk as fast as it can be
// read, while as much is published as the disk can be read. What waits to be
// written must not pile up in memory, and publishers must be told when it
// does.
func TestReadsAndWritesTakeTurns(t *testing.T) {
	w := newWorld(t, "t", 0, 1)
	c := w.topic.AddChannel("c", 1)
	k := c.Subscribe(nil, 1000)
	k.SetReady(1)
	for range 400 {
		w.block()
		w.work(10)
	}
	var run Run
	for range 300 {
		if w.topic.Behind() <= 8 { // or else a publisher waits
			w.block()
		}
		c.Next(k, &run, 1, 1)
		finishAll(t, c, k)
		w.work(1)
		if w.topic.backlog.tail.len() > 10 {
			t.Fatalf("%d blocks wait to be written; publishers are told of %d", w.topic.backlog.tail.len(), w.topic.Behind())
		}
	}
	if written := w.made - 400; k.delivered < 100 || written < 100 {
		t.Errorf("the consumer got %d messages while %d were written", k.delivered, written)
	}
	w.audit()
}

// TestEveryBacklogGetsTheDisk has publishers keep the disk busy with the
// topic's own backlog, while channels wait for what they have there.
func TestEveryBacklogGetsTheDisk(t *testing.T) {
	w := newWorld(t, "t", 0, 1)
	names := []string{"a", "b", "c"}
	var ks []*Consumer
	for _, name := range append([]string{"fast"}, names...) {
		k := w.topic.AddChannel(name, 1).Subscribe(nil, 1000)
		k.SetReady(1)
		ks = append(ks, k)
	}
	var run Run
	next := func(k *Consumer) {
		k.channel.Next(k, &run, 1, 1)
		k.channel.Release(&run)
		finishAll(t, k.channel, k)
	}
	for range 100 { // the other channels' parts go to disks of their own
		w.block()
		next(ks[0])
		w.work(10)
	}
	for range 400 {
		for w.topic.Behind() < 8 {
			w.block()
		}
		for _, k := range ks[1:] {
			next(k)
		}
		w.work(1)
	}
	for i, k := range ks[1:] {
		if k.delivered < 25 {
			t.Errorf("channel %s got %d messages in the time that the disk needs for 400 blocks", names[i], k.delivered)
		}
	}
	w.audit()
}

// TestBrokenDisk fails every write: what is in memory must be delivered all
// the same, in order, and publishers told how far behind the disk is.
func TestBrokenDisk(t *testing.T) {
	w := newWorld(t, "t", 2, 1)
	c := w.topic.AddChannel("c", 1)
	k := c.Subscribe("k", 1000)
	k.SetReady(100)
	fail := func() bool {
		job, ok := w.topic.Work()
		if ok {
			w.topic.Failed(job)
		}
		return ok
	}
	for range 30 {
		w.block()
		fail()
	}
	if n := w.topic.Behind(); n < 25 {
		t.Errorf("publishers are told that %d blocks are behind", n)
	}
	var run Run
	var got []int
	take := func() {
		for c.Next(k, &run, 1<<20, 1) {
			got = append(got, numbersOf(t, &run)...)
		}
	}
	for awake := true; awake; awake = len(w.topic.Woken()) > 0 {
		job, tried := w.topic.Work()
		take() // a consumer that finds the next block on its way to disk …
		if tried {
			w.topic.Failed(job)
			if len(got) < 30 && len(w.topic.Woken()) == 0 {
				t.Fatalf("a consumer sleeps through a failure after %d messages", len(got))
			}
			take() // … has it when that has failed
		}
	}
	if len(got) != 30 || !slices.IsSorted(got) {
		t.Errorf("delivered from memory: %v", got)
	}
	w.audit()
}

// TestBehindWhilePurging empties a topic whose files cannot be deleted.
// Publishers must learn that nothing can be written.
func TestBehindWhilePurging(t *testing.T) {
	w := newWorld(t, "t", 0, 1)
	for range 10 {
		w.block()
		w.work(1)
	}
	w.topic.Empty()
	for range 10 {
		w.block()
		job, ok := w.topic.Work()
		if !ok || job.Kind != Purge {
			t.Fatalf("work %v, %v", job.Kind, ok)
		}
		w.topic.Failed(job)
	}
	if n := w.topic.Behind(); n < 9 {
		t.Errorf("publishers are told that %d blocks are behind", n)
	}
	w.work(100)
	if n := w.topic.Behind(); n > 1 || len(w.disks[""]) < 9 {
		t.Errorf("%d blocks behind, %d on disk", n, len(w.disks[""]))
	}
	w.audit()
}

// TestEmptyWhileStalled empties a channel whose consumer waits for the disk,
// which then breaks. New messages, which are in memory, must be delivered.
func TestEmptyWhileStalled(t *testing.T) {
	w := newWorld(t, "t", 0, 1)
	c := w.topic.AddChannel("c", 1)
	k := c.Subscribe(nil, 1000)
	k.SetReady(1)
	w.block()
	w.topic.Idle()
	w.work(1)
	var run Run
	if c.Next(k, &run, 1000, 1) {
		t.Fatal("what is on disk comes without being read")
	}
	c.Empty()
	if job, ok := w.topic.Work(); ok {
		w.topic.Failed(job)
	}
	w.topic.Woken()
	w.publish(1, 10)
	if len(w.topic.Woken()) != 1 || !c.Next(k, &run, 1000, 1) {
		t.Error("a new message is not delivered")
	}
	w.audit()
}

// TestPurgesFirst checks that a stop, which ends the work at the first piece
// that is no deletion, has no deletion left.
func TestPurgesFirst(t *testing.T) {
	for turn := range 5 { // whoever's turn it is
		purgesFirst(t, turn)
	}
}

func purgesFirst(t *testing.T, turn int) {
	w := newWorld(t, "t", 0, 1)
	fast := w.topic.AddChannel("fast", 1)
	for _, name := range []string{"emptied", "deleted"} {
		w.topic.AddChannel(name, 1)
	}
	k := fast.Subscribe(nil, 1000)
	k.SetReady(100)
	var run Run
	for range 5 {
		w.block()
		fast.Next(k, &run, 1<<20, 1)
		finishAll(t, fast, k)
		w.work(100)
	}
	w.block()
	w.block() // of which the first is to be written
	w.topic.Channel("emptied").Empty()
	w.topic.RemoveChannel(w.topic.Channel("deleted"))
	w.topic.turn = turn
	var kinds []WorkKind
	for job, ok := w.topic.Work(); ok; job, ok = w.topic.Work() {
		kinds = append(kinds, job.Kind)
		w.perform(job)
	}
	if want := []WorkKind{Purge, Purge, Write}; !slices.Equal(kinds[:3], want) {
		t.Errorf("the work is %v", kinds)
	}
	w.audit()
}

// TestLossWhilePaused has a topic lose what it has on disk, of which part was
// published before a pause and part after it. What is held back stays so.
func TestLossWhilePaused(t *testing.T) {
	w := newWorld(t, "t", 0, 1)
	c := w.topic.AddChannel("c", 1)
	w.publish(3, 10)
	w.topic.Idle()
	w.work(1)
	w.topic.Pause(Pause{})
	w.publish(5, 10) // held back, in memory
	k := c.Subscribe(nil, 1000)
	k.SetReady(100)
	var run Run
	if c.Next(k, &run, 1<<20, 1) {
		t.Fatal("what is on disk comes without being read")
	}
	job, _ := w.topic.Work()
	if lost := w.topic.DidRead(job, nil, true); lost != 3 {
		t.Errorf("%d messages are said to be lost", lost)
	}
	if c.Next(k, &run, 1<<20, 1) {
		t.Error("what is held back is delivered")
	}
	w.audit()
	if c.Depth() != 0 || w.topic.Depth() != 5 || c.Counts().Lost != 3 {
		t.Errorf("depth %d, %d held back, %d lost", c.Depth(), w.topic.Depth(), c.Counts().Lost)
	}
	w.topic.Unpause(1)
	got := 0
	for c.Next(k, &run, 1<<20, 1) {
		got += run.N
	}
	if got != 5 {
		t.Errorf("%d messages come in the end", got)
	}
}
