package cluster

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// A round with each kind of fault. Everything arrives, and everybody finds
// everybody again in time.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, flags{})
	c.consume(orders)
	c.consume(newcomers)
	stopReaders, stopWriters := c.read(c.readers), c.produce()
	c.watch()
	c.settle()
	c.makeTopic()
	q3, l2 := c.node("q3"), c.node("l2")
	c.play(plan{{0, 1 * time.Second, killed, "q3", ""}})
	c.eventually("q3 to be linked with l2", func() bool { now, _ := c.link(q3, l2); return now.Linked })
	// q3 has nothing to tell l2, so it is a PING that is not answered. l2 is killed
	// meanwhile, of which q3 does not hear.
	heal := c.mustBegin(plan{{what: cut, a: "q3", b: "l2"}})
	c.play(slices.Concat(plan{
		{1500 * time.Millisecond, 2 * time.Second, killed, "l2", ""},
		{4500 * time.Millisecond, 1 * time.Second, killed, "q1", ""},
		{7500 * time.Millisecond, 1 * time.Second, killed, "q2", ""},
		{12500 * time.Millisecond, 4 * time.Second, cut, reader1, "q1"},
		{12500 * time.Millisecond, 4 * time.Second, cut, writers, "q2"},
		{13500 * time.Millisecond, 3 * time.Second, cutOneWay, "q3", reader2},
		{16500 * time.Millisecond, 2 * time.Second, frozen, "l1", ""},
		{17500 * time.Millisecond, 1 * time.Second, stopped, "l2", ""},
	}, c.everyLink(fault{at: 3500 * time.Millisecond, lasts: 6 * time.Second, what: rough})))
	c.noticesCut(q3, l2)
	heal()
	c.finish(stopWriters, stopReaders)
}

// link is how a qd stands with a lookupd.
type link struct {
	Address   string
	Linked    bool
	LastError string `json:"last_error"`
}

// link asks a qd how it stands with a lookupd. ok is false while it is starting.
func (c *cluster) link(q, l *node) (_ link, ok bool) {
	c.t.Helper()
	var answer struct{ Lookupds []link }
	if c.ask(q, "GET", "/lookupds", nil, &answer) != nil {
		return link{}, false
	}
	at := slices.IndexFunc(answer.Lookupds, func(one link) bool { return one.Address == l.host.Address()+":"+lookupTCP })
	if at < 0 {
		c.t.Fatalf("%s has no link to %s: %+v", q.name(), l.name(), answer)
	}
	return answer.Lookupds[at], true
}

// noticesCut waits until a qd has noticed that it is cut off from a lookupd.
func (c *cluster) noticesCut(q, l *node) {
	c.t.Helper()
	c.eventually(q.name()+" to notice that it is cut off from "+l.name(), func() bool {
		now, ok := c.link(q, l)
		return ok && !now.Linked && now.LastError != ""
	})
}

// makeTopic makes a topic while one lookupd is dead: the other knows its channels,
// so every daemon has them before the first message that is published there.
func (c *cluster) makeTopic() {
	heal := c.mustBegin(plan{{what: killed, a: "l1"}})
	c.createTopic(c.daemons[0], newcomers)
	c.eventually("the other lookupd to list the channels", func() bool { return c.channels(c.node("l2"), newcomers) == len(channelNames) })
	c.publishToEach(newcomers)
	heal()
}

// channels returns how many channels of a topic a lookupd lists.
func (c *cluster) channels(l *node, topic string) int {
	var answer struct{ Channels []string }
	c.must(c.ask(l, "GET", "/channels?topic="+topic, nil, &answer))
	return len(answer.Channels)
}

// publishToEach publishes to a topic on each daemon.
func (c *cluster) publishToEach(topic string) {
	for _, q := range c.daemons {
		w := c.newWriter(topic, 1, q)
		stored := 0
		c.eventually("publishes to be stored on "+q.name(), func() bool {
			for stored < 20 && w.publish(c.t.Context()) == nil {
				stored++
			}
			return stored == 20
		})
		c.must(w.Close())
	}
}

// With both lookupds away, those who are connected go on, find a daemon that was
// killed again, and topics can be made; and when the lookupds are back they learn
// everything, and the daemons what they have not heard.
func TestClusterWithoutLookupd(t *testing.T) {
	t.Parallel()
	// Whoever waited for the answer of a lookupd that is away would wait for longer
	// than the test does.
	c := newCluster(t, flags{qd: []string{"--http-client-request-timeout=10m"}})
	c.consume(orders)
	stopReaders, stopWriters := c.read(c.readers), c.produce()
	c.watch()
	c.settle()
	c.createTopic(c.daemons[0], newcomers)
	for _, l := range c.lookups {
		c.eventually(l.name()+" to list the channels", func() bool { return c.channels(l, newcomers) == len(channelNames) })
	}
	heal := c.mustBegin(plan{{what: killed, a: "l1"}, {what: frozen, a: "l2"}})
	strict := c.readers[0].channel
	c.moreArrives(strict)
	c.play(plan{{what: killed, a: "q1"}})
	c.moreArrives(strict)
	for _, q := range c.daemons {
		c.createTopic(q, lonely)
	}
	c.publishToEach(newcomers) // makes it, on all but the first
	heal()
	for _, q := range c.daemons {
		c.eventually(q.name()+" to have the channels that others have", func() bool { return c.has(q, newcomers, channelNames) })
	}
	c.consume(newcomers)
	stopNewcomers := c.read(c.readers[3:])
	c.finish(stopWriters, func() { stopReaders(); stopNewcomers() })
}

// has reports whether a qd has a topic with these channels.
func (c *cluster) has(q *node, topic string, channels []string) bool {
	c.t.Helper()
	had, err := c.hadBy(c.t.Context(), q)
	c.must(err)
	return !slices.ContainsFunc(channels, func(ch string) bool { return !slices.Contains(had, topic+"/"+ch) })
}

// moreArrives waits until so many more messages have come from each daemon.
func (c *cluster) moreArrives(ch *channel) {
	c.t.Helper()
	const more = 100
	for _, q := range c.daemons {
		before := ch.arrived(tcp(q)).count
		c.eventually("more messages from "+q.name(), func() bool { return ch.arrived(tcp(q)).count >= before+more })
	}
}

// Faults of all kinds, at random and over each other, for as long as SOAK says.
// Now and then there are none, until all promises are kept.
func TestSoakCluster(t *testing.T) {
	minutes, err := strconv.ParseFloat(os.Getenv("SOAK"), 64)
	if err != nil {
		t.Skip("SOAK is not set to a number of minutes")
	}
	end := time.Now().Add(time.Duration(minutes * float64(time.Minute)))
	c := newCluster(t, flags{})
	c.consume(orders)
	stopReaders, stopWriters := c.read(c.readers), c.produce()
	c.watch()
	c.settle()
	random := rand.New(rand.NewPCG(c.seed, 0))
	for wave := 1; wave == 1 || time.Now().Before(end); wave++ {
		t.Logf("wave %d", wave)
		c.play(c.randomPlan(random, time.Minute))
		c.settle()
	}
	c.finish(stopWriters, stopReaders)
}
