package cluster

import (
	"testing"
	"time"
)

// Topics that something is changed of. All have channels and are everywhere.
const (
	gone    = "gone"    // is deleted
	changed = "changed" // is paused, and has a channel that is deleted and one that is paused
	anew    = "anew"    // is hidden by a tombstone, deleted, and made anew
	hidden  = "hidden"  // is hidden by a tombstone on one daemon
	denied  = "denied"  // is deleted on a lookupd, and nowhere else
)

// What is changed while a lookupd is cut off from all daemons is what it says when
// it is back: it was not away, and has heard of none of it.
func TestClusterChanges(t *testing.T) {
	t.Parallel()
	c := newCluster(t, flags{lookupd: []string{"--tombstone-lifetime=1h"}})
	for _, q := range c.daemons {
		for _, topic := range []string{gone, changed, anew, hidden, denied} {
			c.createTopic(q, topic)
		}
	}
	c.watch()
	c.settle()

	l1, l2 := c.lookups[0], c.lookups[1]
	heal := c.mustBegin(plan{{what: cut, a: "q1", b: "l2"}, {what: cut, a: "q2", b: "l2"}, {what: cut, a: "q3", b: "l2"}})
	for _, l := range c.lookups {
		c.bury(l, hidden, c.daemons[0])
		for _, q := range c.daemons {
			c.bury(l, anew, q)
		}
	}
	for _, q := range c.daemons {
		c.post(q, "/topic/delete?topic="+gone)
		c.post(q, "/channel/delete?topic="+changed+"&channel="+channelNames[1])
		c.post(q, "/channel/pause?topic="+changed+"&channel="+channelNames[0])
		c.post(q, "/topic/delete?topic="+anew)
		c.createTopic(q, anew)
		c.buried.Delete(burial{anew, q})
	}
	c.post(c.daemons[1], "/topic/pause?topic="+changed)
	c.eventually("l1 to say all that", func() bool { a := c.accounts(); return a.lookups[l1.name()] == a.daemons })
	if a := c.accounts(); a.lookups[l2.name()] == a.daemons {
		t.Errorf("l2 is cut off, and says\n%s", a.daemons)
	}
	// The daemons know nothing of this: they say it again when l1 asks them to.
	c.post(l1, "/topic/delete?topic="+denied)
	if got := c.channels(l1, denied); got != 0 {
		t.Errorf("l1 lists %d channels of a topic that was deleted there", got)
	}
	for _, q := range c.daemons {
		c.noticesCut(q, l2)
	}
	// For so long that the new connections are there before the old ones, which
	// try ever more rarely, have told l2 what they have still to say.
	pause(t.Context(), 8*time.Second)
	heal()
	c.finish(func() {}, func() {})
}

// bury has a lookupd hide a topic on a daemon.
func (c *cluster) bury(l *node, topic string, q *node) {
	c.t.Helper()
	c.buried.Store(burial{topic, q}, true)
	c.post(l, "/topic/tombstone?topic="+topic+"&node="+q.web)
}

func (c *cluster) post(n *node, path string) {
	c.t.Helper()
	c.must(c.ask(n, "POST", path, nil, nil))
}

// accounts asks all daemons.
func (c *cluster) accounts() accounts {
	c.t.Helper()
	a, err := c.askAll(c.t.Context())
	c.must(err)
	return a
}
