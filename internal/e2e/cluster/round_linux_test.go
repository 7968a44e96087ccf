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
	c := newCluster(t)
	c.consume(orders)
	c.consume(newcomers)
	stopReaders, stopWriters := c.read(c.readers), c.produce()
	c.watch()
	c.settle()
	c.makeTopic()
	c.play(slices.Concat(plan{
		{0 * time.Second, 1 * time.Second, killed, "q3", ""},
		// Long enough for a PING to be sent, and not to be answered. l2 is killed
		// meanwhile, of which q3 does not hear.
		{2500 * time.Millisecond, 21500 * time.Millisecond, cut, "q3", "l2"},
		{4 * time.Second, 2 * time.Second, killed, "l2", ""},
		{7 * time.Second, 1 * time.Second, killed, "q1", ""},
		{10 * time.Second, 1 * time.Second, killed, "q2", ""},
		{15 * time.Second, 4 * time.Second, cut, reader1, "q1"},
		{15 * time.Second, 4 * time.Second, cut, writers, "q2"},
		{16 * time.Second, 3 * time.Second, cutOneWay, "q3", reader2},
		{19 * time.Second, 2 * time.Second, frozen, "l1", ""},
		{20 * time.Second, 1 * time.Second, stopped, "l2", ""},
	}, c.everyLink(fault{at: 6 * time.Second, lasts: 6 * time.Second, what: rough})))
	c.finish(stopWriters, stopReaders)
}

// makeTopic makes a topic while one lookupd is dead: the other knows its channels,
// so every daemon has them before the first message that is published there.
func (c *cluster) makeTopic() {
	heal, err := c.begin(fault{what: killed, a: "l1"})
	c.must(err)
	c.createTopic(c.daemons[0], newcomers)
	c.eventually("the other lookupd to list the channels", func() bool {
		var answer struct {
			Channels []string `json:"channels"`
		}
		err := c.ask(c.node("l2"), "GET", "/channels?topic="+newcomers, nil, &answer)
		return err == nil && len(answer.Channels) == len(channelNames)
	})
	c.publishToEach(newcomers)
	c.must(heal())
}

// publishToEach publishes to a topic on each daemon.
func (c *cluster) publishToEach(topic string) {
	for _, q := range c.daemons {
		w := c.newWriter(topic, 1, q)
		c.promptly("publishing to a new topic on "+q.name(), func() {
			stored := 0
			c.eventually("publishes to be stored", func() bool {
				for stored < 20 && w.publish(c.t.Context()) == nil {
					stored++
				}
				return stored == 20
			})
		})
		c.must(w.Close())
	}
}

// promptly does something that must not wait for a lookupd that is away: no longer
// than a second, that is, and some for the machine. The connection and the answer
// that a lookupd is given time for would be 7 s.
func (c *cluster) promptly(what string, do func()) {
	const limit = 6 * time.Second
	began := time.Now()
	do()
	took := time.Since(began).Round(time.Millisecond)
	c.t.Logf("%s took %v", what, took)
	if took > limit {
		c.t.Errorf("%s took %v, more than %v", what, took, limit)
	}
}

// With both lookupds down, those who are connected go on, find a daemon that was
// killed again, and topics can be made; and the lookupds learn everything when
// they are back.
func TestClusterWithoutLookupd(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.consume(orders)
	stopReaders, stopWriters := c.read(c.readers), c.produce()
	c.watch()
	c.settle()
	var heals []func() error
	for _, f := range []fault{{what: killed, a: "l1"}, {what: frozen, a: "l2"}} {
		heal, err := c.begin(f)
		c.must(err)
		heals = append(heals, heal)
	}
	strict := c.readers[0].channel
	c.moreArrives(strict)
	heal, err := c.begin(fault{what: killed, a: "q1"})
	c.must(err)
	c.must(heal())
	c.moreArrives(strict)
	for _, q := range c.daemons {
		c.promptly("creating a topic on "+q.name(), func() { c.createTopic(q, newcomers) })
	}
	c.publishToEach(newcomers)
	c.consume(newcomers)
	stopNewcomers := c.read(c.readers[3:])
	for _, heal := range heals {
		c.must(heal())
	}
	c.finish(stopWriters, func() { stopReaders(); stopNewcomers() })
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
	c := newCluster(t)
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
