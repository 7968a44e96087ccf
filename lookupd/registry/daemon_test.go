package registry_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// connect opens another connection of the daemon at host, which speaks the
// extension.
func (w *world) connect(name, host string) {
	info := protocol.PeerInfo{BroadcastAddress: host, TCPPort: 4150, HTTPPort: 4151, Extended: true, Instance: "i"}
	w.peers[name] = w.Join(info, name, w.now)
}

// says registers the topic or, after a slash, a channel of it.
func (w *world) says(peer, topic, channel string, generation uint64) {
	w.Register(w.peers[peer], registry.Registration{Topic: topic, Channel: channel, Generation: generation})
}

func (w *world) synced(peer string) {
	for w.Synced(w.peers[peer], 1) == 1 {
	}
}

func TestWhatBecomesOfADaemonThatWasCutOff(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world)
		want string // of t, whose channel c and generation 5 it had before
	}{
		"it is away":                  {func(*world) {}, "[c] []"},
		"it says the same":            {func(w *world) { w.says("new", "t", "c", 5); w.synced("new") }, "[c] [a]"},
		"it has not yet said it":      {func(w *world) { w.says("new", "u", "", 6) }, "[c] []"},
		"it has deleted the topic":    {func(w *world) { w.synced("new") }, "unknown"},
		"it has deleted the channel":  {func(w *world) { w.says("new", "t", "", 5); w.synced("new") }, "[] [a]"},
		"another has the channel":     {func(w *world) { w.says("b", "t", "c", 1); w.synced("new") }, "[c] [b]"},
		"another has the topic":       {func(w *world) { w.says("b", "t", "", 1); w.synced("new") }, "[] [b]"},
		"another deletes the channel": {func(w *world) { w.says("b", "t", "c", 1); w.Unregister(w.peers["b"], "t", "c", 1) }, "[c] [b]"},
		"another deletes the topic":   {func(w *world) { w.says("b", "t", "c", 1); w.Unregister(w.peers["b"], "t", "", 1) }, "[c] []"},
		"an operator created the channel": {func(w *world) {
			w.CreateChannel("t", "d")
			w.says("new", "t", "c", 5)
			w.synced("new")
		}, "[c d] [a]"},
		"it is cut off again before it has said all": {func(w *world) {
			w.says("new", "t", "c", 5)
			leave(w, "new")
			w.connect("newer", "a")
			w.synced("newer")
		}, "unknown"},
		"it is not heard of again": {func(w *world) {
			w.now = w.now.Add(away)
			w.Expire(w.now, 100)
			w.connect("late", "a")
			w.synced("late")
		}, "[c] []"},
	} {
		for _, cut := range []string{"seen", "not seen"} {
			t.Run(name+", the cut was "+cut, func(t *testing.T) {
				w := newWorld("b")
				w.connect("old", "a")
				w.says("old", "t", "c", 5)
				if cut == "seen" {
					leave(w, "old")
				}
				w.connect("new", "a")
				if cut == "not seen" && name == "it is not heard of again" {
					leave(w, "old")
				}
				c.do(w)
				if got := w.found("t"); got != c.want {
					t.Errorf("found %s, want %s", got, c.want)
				}
				if err := w.Audit(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestAnOldConnectionThatSpeaksIsShownAgain(t *testing.T) {
	w := newWorld()
	w.connect("old", "a")
	w.says("old", "t", "c", 1)
	w.connect("new", "a")
	w.says("new", "t", "", 1)
	if got := w.found("t"); got != "[c] [a]" {
		t.Errorf("with the old one hidden: %s", got)
	}
	if w.Seen(w.peers["new"], w.now) || !w.Seen(w.peers["old"], w.now) || w.Seen(w.peers["old"], w.now) {
		t.Error("it is not said once, and of the old one, that it shares its identity")
	}
	if got := w.found("t"); got != "[c] [a a]" {
		t.Errorf("with both speaking: %s", got)
	}
	w.synced("new")
	if got := w.found("t"); got != "[c] [a a]" {
		t.Errorf("the one has taken from the other: %s", got)
	}
}

func TestWhoIsAskedForEverythingAgain(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world)
		want bool
	}{
		"nothing happens":               {func(*world) {}, false},
		"its topic is deleted":          {func(w *world) { w.DeleteTopic("t") }, true},
		"its channel is deleted":        {func(w *world) { w.DeleteChannel("t", "c") }, true},
		"another's channel is deleted":  {func(w *world) { w.DeleteChannel("t", "d") }, false},
		"it deletes its topic":          {func(w *world) { w.Unregister(w.peers["a"], "t", "", 1) }, false},
		"its topic is buried":           {func(w *world) { w.Tombstone("t", "a:4151", 0, w.now) }, false},
		"a later connection is synced":  {func(w *world) { w.connect("new", "a"); w.synced("new") }, true},
		"a later connection is not yet": {func(w *world) { w.connect("new", "a") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld("nsqd")
			w.connect("a", "a")
			w.says("a", "t", "c", 1)
			w.register("nsqd", "t", "c")
			w.register("nsqd", "t", "d")
			c.do(w)
			if got := w.Resync(w.peers["a"]); got != c.want {
				t.Errorf("it is: %v", got)
			}
			if w.Resync(w.peers["a"]) || w.Resync(w.peers["nsqd"]) {
				t.Error("it is asked twice, or one that would not understand is")
			}
		})
	}
}

func TestTombstonesAndGenerations(t *testing.T) {
	reconnect := func(w *world) {
		leave(w, "a")
		w.connect("a", "a")
	}
	for name, c := range map[string]struct {
		upTo uint64 // that the tombstone of generation 5 says
		do   func(w *world)
		want string
	}{
		"nothing":                        {0, func(*world) {}, "[c] []"},
		"an earlier one was meant":       {4, func(*world) {}, "[c] [a]"},
		"said again":                     {0, func(w *world) { w.says("a", "t", "c", 5) }, "[c] []"},
		"a later one":                    {0, func(w *world) { w.says("a", "t", "c", 6) }, "[c] [a]"},
		"a later one, meant too":         {6, func(w *world) { w.says("a", "t", "c", 6) }, "[c] []"},
		"a later one has other channels": {0, func(w *world) { w.says("a", "t", "d", 6) }, "[d] [a]"},
		"an earlier one is stale":        {0, func(w *world) { w.says("a", "t", "d", 4) }, "[c] []"},
		"deleted, created":               {0, func(w *world) { w.Unregister(w.peers["a"], "t", "", 5); w.says("a", "t", "", 6) }, "[] [a]"},
		"its deletion is stale":          {0, func(w *world) { w.says("a", "t", "", 6); w.Unregister(w.peers["a"], "t", "", 5) }, "[] [a]"},
		"the same over a reconnect":      {0, func(w *world) { reconnect(w); w.says("a", "t", "c", 5) }, "[c] []"},
		"a later one over a reconnect":   {0, func(w *world) { reconnect(w); w.says("a", "t", "c", 6) }, "[c] [a]"},
		"the same over two reconnects":   {0, func(w *world) { reconnect(w); w.says("a", "t", "c", 5); reconnect(w); w.says("a", "t", "c", 5) }, "[c] []"},
		"its time is over":               {0, func(w *world) { w.advance(tombstone); reconnect(w); w.says("a", "t", "c", 5) }, "[c] [a]"},
		"the cut was not seen": {0, func(w *world) {
			w.connect("new", "a")
			w.says("new", "t", "c", 5)
			w.synced("new")
		}, "[c] []"},
		"the old connection had something left to say": {0, func(w *world) {
			w.connect("new", "a")
			w.Seen(w.peers["a"], w.now)
			w.says("new", "t", "c", 5)
			w.synced("new")
			leave(w, "a")
		}, "[c] []"},
		"set while it was away": {4, func(w *world) {
			leave(w, "a")
			w.Tombstone("t", "a:4151", 0, w.now)
			w.connect("a", "a")
			w.says("a", "t", "c", 5)
		}, "[c] []"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			w.connect("a", "a")
			w.says("a", "t", "c", 5)
			w.Tombstone("t", "a:4151", c.upTo, w.now)
			c.do(w)
			if got := w.found("t"); got != c.want {
				t.Errorf("found %s, want %s", got, c.want)
			}
			if err := w.Audit(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Of two earlier connections with tombstones for the same generation, the one that
// was buried last counts.
func TestTheLatestTombstoneCounts(t *testing.T) {
	w := newWorld()
	w.connect("old", "a")
	w.says("old", "t", "", 5)
	w.connect("newer", "a")
	w.says("newer", "t", "", 7)
	w.Tombstone("t", "a:4151", 9, w.now) // of both
	w.now = w.now.Add(tombstone / 2)
	w.Tombstone("t", "a:4151", 5, w.now) // of the older one
	w.connect("newest", "a")
	w.says("newest", "t", "", 5)
	w.now = w.now.Add(tombstone - 1)
	if got := w.found("t"); got != "[] []" {
		t.Errorf("just before its end: %s", got)
	}
	w.now = w.now.Add(1)
	if got := w.found("t"); got != "[] [a]" {
		t.Errorf("at its end: %s", got)
	}
}

// A daemon that never comes to the end of its list must not leave every beginning
// behind.
func TestCutOffAgainAndAgain(t *testing.T) {
	w := newWorld()
	for i := range 100 {
		w.connect("a", "a")
		for _, topic := range []string{"t", "u", "v"} {
			w.says("a", topic, "", uint64(i+1))
		}
		leave(w, "a")
	}
	if c := w.Counts(w.now); c.Away != 1 {
		t.Errorf("%d are away", c.Away)
	}
}

// Thousands of names, added and taken away in no order, stay in order in every
// index; and so do the channels of one topic.
func TestManyNames(t *testing.T) {
	w := newWorld("a", "b")
	names := make([]string, 5_000)
	for i := range names {
		names[i] = fmt.Sprintf("name-%d", i)
	}
	check := func(what string, got, want []string) {
		t.Helper()
		want = slices.Sorted(slices.Values(want))
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d names, want %d, or their order is wrong", what, len(got), len(want))
		}
		if err := w.Audit(); err != nil {
			t.Error(err)
		}
	}
	shuffled := slices.Clone(names)
	rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	const some = 300 // channels, more than the columns that lie together
	for i, name := range shuffled {
		w.register("a", name, "")
		w.register("b", names[i], "")
		if i < some {
			w.Register(w.peers["a"], registry.Registration{Topic: "name-0", Channel: name, Paused: i%2 == 0})
		}
	}
	all := func() []string { return w.Topics("", len(names)) }
	check("topics", all(), names)
	check("channels", w.Channels("name-0"), shuffled[:some])
	for _, name := range shuffled[some/2 : some] {
		w.DeleteChannel("name-0", name)
	}
	check("channels that are left", w.Channels("name-0"), shuffled[:some/2])
	if found, _ := w.Lookup("name-0", w.now); len(found.Producers) != 2 || len(found.Producers[0].PausedChannels) != some/4 {
		t.Errorf("paused: %v", found.Producers)
	}
	w.CreateTopic("name-0")
	kept := []string{"name-0"}
	for i, name := range shuffled {
		if name == "name-0" {
			continue
		}
		if i%3 == 0 {
			kept = append(kept, name)
		} else {
			w.DeleteTopic(name)
		}
	}
	check("topics that are left", all(), kept)
	var topics []string
	for after := ""; ; after = topics[len(topics)-1] {
		part := w.PeerTopics(w.peers["a"], after, 7, w.now)
		if len(part) == 0 {
			break
		}
		for _, p := range part {
			topics = append(topics, p.Name)
		}
	}
	check("topics of a peer", topics, kept)
	leave(w, "a")
	leave(w, "b")
	check("topics that nobody has", all(), kept)
	if c := w.Counts(w.now); c.Registrations != 0 || c.Topics != len(kept) {
		t.Errorf("counted: %+v", c)
	}
}

// What a daemon has had is remembered for as long as is set, and no longer.
func TestRememberedForAWhile(t *testing.T) {
	w := newWorld()
	w.connect("a", "a")
	w.says("a", "t", "c", 1)
	leave(w, "a")
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{away - 1, 1}, {1, 0}} {
		w.now = w.now.Add(c.after)
		w.Expire(w.now, 100)
		if n := w.Counts(w.now).Away; n != c.want {
			t.Errorf("%d are remembered, want %d", n, c.want)
		}
	}
}

// A connection that died while the lookupd was held up may be read after the one that
// took its place. It hides that one no longer than until its own end is read.
func TestADeadConnectionThatIsReadLate(t *testing.T) {
	w := newWorld()
	w.connect("lives", "a")
	w.says("lives", "t", "c", 1)
	w.synced("lives")
	w.connect("dead", "a")
	leave(w, "dead")
	if got := w.found("t"); got != "[c] [a]" {
		t.Errorf("found %s", got)
	}
}
