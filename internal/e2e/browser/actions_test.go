package browser

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// worker is somebody who changes things at the pages of a house.
type worker struct {
	*testing.T
	*house
	*tab
}

// deeds are how all actions are done by hand: the page is found as a person would, the
// results are read, and the daemons are asked whether it has happened. TestActions fails
// if the admin has an action that is not here.
var deeds = []struct {
	action string
	do     func(worker)
}{
	{"create-topic", createTopic},
	{"create-channel", createChannel},
	{"publish", publish},
	{"pause-topic", pauseTopic},
	{"pause-topic", pauseSome},
	{"unpause-topic", resumeTopic},
	{"pause-channel", pauseChannel},
	{"unpause-channel", resumeChannel},
	{"pause-node", pauseNode},
	{"unpause-node", resumeNode},
	{"topic-policy", topicPolicy},
	{"channel-policy", channelPolicy},
	{"seek", seek},
	{"disconnect", disconnect},
	{"empty-channel", emptyChannel},
	{"delete-channel", deleteChannel},
	{"empty-topic", emptyTopic},
	{"delete-topic", deleteTopic},
	{"delete-topic", deleteSome},
	{"revive", reviveDead},
	{"delete-dead", deleteDead},
	{"copy", copyDead},
	{"move", moveDead},
	{"forget", forget},
	{"tombstone", tombstone},
	{"drain-node", drain},
}

// TestActions does everything that can be done, by clicks and keys, at the page where a
// person would, and wants it to have happened on each daemon, and to be in the audit log.
func TestActions(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	var table struct {
		Actions []struct{ Name string }
	}
	ask(t, h.base+"/api/actions", &table)
	var there, tested []string
	for _, a := range table.Actions {
		there = append(there, a.Name)
	}
	for _, d := range deeds {
		tested = append(tested, d.action)
	}
	slices.Sort(there)
	slices.Sort(tested)
	if tested = slices.Compact(tested); !slices.Equal(there, tested) {
		t.Errorf("the admin has the actions\n%v, and tested are\n%v", there, tested)
	}

	for i := range h.qds { // what several of them begin with
		h.post(i, "/topic/create", "", "topic", "orders", "max_messages", "1000", "overflow", "drop-oldest")
		h.post(i, "/channel/create", "", "topic", "orders", "channel", "ship", "max_attempts", "7")
		h.publish(i, "orders", 5)
	}
	for _, d := range deeds {
		t.Run(d.action, func(t *testing.T) {
			before := h.entries(t, d.action)
			d.do(worker{t, h.of(t), open(t, h.base)})
			if h.entries(t, d.action) == before {
				t.Errorf("no %s from a page was done and is in the audit log", d.action)
			}
		})
	}
}

// of is the house for a part of a test.
func (h *house) of(t *testing.T) *house {
	one := *h
	one.t = t
	return &one
}

// entries counts what the audit log has of an action that was done at a page.
func (h *house) entries(t *testing.T, action string) (n int) {
	t.Helper()
	var log struct {
		Entries []struct {
			Via     string
			Done    bool
			Who     string
			Results []struct{ OK bool }
		}
	}
	ask(t, h.base+"/api/audit?limit=1000&action="+action, &log)
	for _, e := range log.Entries {
		if e.Via == "page" && e.Done && e.Who == "local" && len(e.Results) > 0 {
			n++
		}
	}
	return n
}

// audited wants the audit page to have an action at its top, and the entry to be the one
// whose results were shown.
func (w worker) audited(o outcome) {
	w.T.Helper()
	w.link("Audit log")
	w.at("/audit")
	top := w.eval(`(() => { const a = document.querySelector("main tbody tr th a"); return a.innerText + " " + a.getAttribute("href"); })()`)
	if want := fmt.Sprintf("%s /audit/%d", o.Title, o.Number); top != want {
		w.T.Errorf("the audit page begins with %q, want %q", top, want)
	}
}

// want fails the test unless something is as it should be.
func want[V comparable](t *testing.T, what string, got, want V) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func createTopic(w worker) {
	w.visit("/topics")
	w.link("Create topic")
	w.fill("topic", "made.by-hand_1")
	w.fill("max_messages", "1000")
	w.choose("overflow", "drop-oldest")
	w.button("Create topic")
	o := w.done(3) // both daemons, for it has settings, and the lookupd
	s := w.topic("made.by-hand_1")
	want(w.T, "daemons that have it", s.There, 2)
	want(w.T, "its bound", s.Most, 1000)
	want(w.T, "beyond that", s.Overflow, "drop-oldest")
	w.audited(o)

	// A name that cannot be is refused, with what was typed still there.
	w.visit("/do/create-topic")
	w.fill("topic", "<b>no</b>")
	w.button("Create topic")
	w.at("/do/create-topic")
	w.shows("is no name of a topic")
	w.expect("400 (Bad Request)")
}

func createChannel(w worker) {
	w.reach("/topics/orders")
	w.link("Create channel")
	w.fill("channel", "made-too")
	w.fill("max_attempts", "7")
	w.button("Create channel")
	o := w.done(3)
	s := w.channel("orders", "made-too")
	want(w.T, "daemons that have it", s.There, 2)
	want(w.T, "attempts", s.MaxAttempts, 7)
	w.audited(o)
}

func publish(w worker) {
	before := w.topic("orders").Messages
	w.reach("/topics/orders")
	w.link("Publish a message")
	w.fill("body", `{"test":true}`)
	w.fill("delay", "30m")
	w.button("Publish a message")
	o := w.done(1)
	want(w.T, "messages", w.topic("orders").Messages, before+1)
	wait(w.T, "being deferred", func() bool { return w.channel("orders", "ship").Deferred == 1 })
	w.audited(o)

	w.visit("/do/publish?topic=orders")
	w.fill("body", "at once")
	w.button("Publish a message")
	w.done(1)
	wait(w.T, "being in line", func() bool { return w.channel("orders", "ship").Depth == before+1 })
	var log struct {
		Entries []struct{ Detail string }
	}
	ask(w.T, w.house.base+"/api/audit?action=publish", &log)
	for _, e := range log.Entries {
		if strings.Contains(e.Detail, "at once") || strings.Contains(e.Detail, `"test"`) {
			w.T.Errorf("the audit log has a message's body: %s", e.Detail)
		}
	}
}

func topicPolicy(w worker) {
	w.reach("/topics/orders")
	w.more("Change the topic's settings")
	w.until("what is now standing in the form", `document.querySelector("main [name=max_messages]").value === "1000"`)
	w.fill("max_messages", "2000")
	w.button("Change the topic's settings")
	o := w.done(2)
	s := w.topic("orders")
	want(w.T, "its bound", s.Most, 2000)
	want(w.T, "what was left alone", s.Overflow, "drop-oldest")
	w.audited(o)
}

func channelPolicy(w worker) {
	w.reach("/topics/orders/ship")
	w.link("Change the channel's settings")
	w.until("what is now standing in the form", `document.querySelector("main [name=max_attempts]").value === "7"`)
	w.fill("max_attempts", "9")
	w.button("Change the channel's settings")
	o := w.done(2)
	want(w.T, "attempts", w.channel("orders", "ship").MaxAttempts, 9)
	w.audited(o)
}

func seek(w worker) {
	for i := range w.qds {
		w.post(i, "/topic/create", "", "topic", "past", "retention_age", "1h")
		w.post(i, "/channel/create", "", "topic", "past", "channel", "again")
		w.publish(i, "past", 4)
		w.post(i, "/channel/empty", "", "topic", "past", "channel", "again")
	}
	want(w.T, "messages before", w.channel("past", "again").Depth, 0)
	w.reach("/topics/past/again")
	w.more("Move channel to a place")
	w.fill("to", "earliest")
	w.confirm("Move channel to a place", "again", "past")
	o := w.done(2)
	want(w.T, "messages again", w.channel("past", "again").Depth, 8)
	w.audited(o)
}

// confirm types the name of what is to be lost. Another name does nothing, whether the
// page's script sees that, or nothing but the server does.
func (w worker) confirm(action, name, other string) {
	w.T.Helper()
	button := `document.querySelector("main form.do button.danger")`
	w.until("the button's waiting for the name", button+".disabled")
	w.fill("confirm", other)
	want(w.T, "the button may be pressed with "+other, w.eval("!"+button+".disabled"), "false")
	w.load("sending the form as if there were no script", chromedp.Evaluate[chromedp.Void](`document.querySelector("main form.do").submit()`))
	w.at("/do/")
	w.shows("Nothing has been done.")
	w.expect("400 (Bad Request)")
	w.fill("confirm", name)
	w.button(action)
}

func disconnect(w worker) {
	c := subscribe(w.T, tcpOf(w.qds[1]), "orders", "idle", "tenacious", 0)
	wait(w.T, "the consumer", func() bool { return w.channel("orders", "idle").Clients == 1 })
	w.reach("/topics/orders/idle")
	w.shows("tenacious")
	w.follow("main tbody a", "Disconnect tenacious")
	w.button("Disconnect client")
	o := w.done(1)
	want(w.T, "the node", o.Results[0].Node, w.qds[1].http)
	wait(w.T, "its end", func() bool { return w.channel("orders", "idle").Clients == 0 })
	if n, err := c.conn.Read(make([]byte, 1<<10)); err == nil && n == 0 {
		w.T.Error("the consumer is still connected")
	}
	w.audited(o)
}

func emptyChannel(w worker) {
	if w.channel("orders", "ship").Depth == 0 {
		w.T.Fatal("nothing is there to be dropped")
	}
	w.reach("/topics/orders/ship")
	w.more("Empty channel")
	w.until("the live count", `/Depth\s+1\d/.test(document.querySelector("main dl.now").innerText)`)
	w.confirm("Empty channel", "ship", "orders")
	o := w.done(2)
	s := w.channel("orders", "ship")
	want(w.T, "messages left", s.Depth+s.Deferred, 0)
	w.audited(o)
}

func deleteChannel(w worker) {
	for i := range w.qds {
		w.post(i, "/channel/create", "", "topic", "orders", "channel", "old")
	}
	w.reach("/topics/orders/old")
	w.more("Delete channel")
	w.shows("consumers are disconnected")
	w.confirm("Delete channel", "old", "OLD")
	o := w.done(3)
	want(w.T, "daemons that have it", w.channel("orders", "old").There, 0)
	w.audited(o)
}

func emptyTopic(w worker) {
	for i := range w.qds {
		w.publish(i, "unread", 3)
	}
	w.reach("/topics/unread")
	w.more("Empty topic")
	w.confirm("Empty topic", "unread", "unrea")
	o := w.done(2)
	want(w.T, "messages left", w.topic("unread").Depth, 0)
	want(w.T, "daemons that have it", w.topic("unread").There, 2)
	w.audited(o)
}

func deleteTopic(w worker) {
	for i := range w.qds {
		w.publish(i, "doomed", 3)
	}
	w.reach("/topics/doomed")
	w.more("Delete topic")
	w.confirm("Delete topic", "doomed", "yes")
	o := w.done(3)
	want(w.T, "daemons that have it", w.topic("doomed").There, 0)
	w.audited(o)
}

// deleteSome deletes two topics of a list: their number is typed.
func deleteSome(w worker) {
	for _, name := range []string{"some-1", "some-2", "some-3"} {
		for i := range w.qds {
			w.post(i, "/topic/create", "", "topic", name)
		}
	}
	w.reach("/topics/some-3")
	w.visit("/topics?q=some-")
	w.click(`main [aria-label="Choose some-1"]`, "")
	w.click(`main [aria-label="Choose some-2"]`, "")
	w.button("Delete topic")
	w.confirm("Delete topic", "2", "some-1")
	w.done(3)
	for name, there := range map[string]int{"some-1": 0, "some-2": 0, "some-3": 2} {
		want(w.T, name, w.topic(name).There, there)
	}
}

func forget(w worker) {
	w.visit("/lookup")
	w.fill("topic", "left-behind")
	w.button("Create topic")
	w.done(1) // the lookupd
	want(w.T, "daemons that have it", w.topic("left-behind").There, 0)
	w.visit("/lookup")
	w.shows("left-behind")
	w.follow("main a", "Forget left-behind")
	w.confirm("Forget in lookupds", "left-behind", "orders")
	o := w.done(1)
	var known struct{ Topics []string }
	ask(w.T, "http://"+w.lookup.http+"/topics", &known)
	if slices.Contains(known.Topics, "left-behind") || !slices.Contains(known.Topics, "orders") {
		w.T.Errorf("the lookupd knows %v", known.Topics)
	}
	w.audited(o)
}

func tombstone(w worker) {
	node := w.qds[1]
	for i := range w.qds {
		w.publish(i, "elsewhere", 1)
	}
	w.reach("/topics/elsewhere")
	w.visit("/nodes/" + node.http)
	w.follow("main tbody a", "Remove elsewhere from this node")
	w.confirm("Remove topic from the node", "elsewhere", node.http)
	o := w.done(2) // the lookupd, and then the node
	want(w.T, "daemons that have it", w.topic("elsewhere").There, 1)
	want(w.T, "whether that node has it", w.topic("elsewhere", node).There, 0)
	w.audited(o)

	w.visit("/lookup")
	w.click("main summary", "Remove a topic from a node")
	w.fill("topic", "orders")
	w.choose("node", w.qds[0].http)
	w.button("Go on…")
	w.at("/do/tombstone?")
	w.shows("What it is done to")
	w.link("Cancel")
	w.at("/topics/orders")
	want(w.T, "daemons that have what was not removed", w.topic("orders").There, 2)
}

func drain(w worker) {
	node := newProgram(w.T, "qd", "--tcp-address=127.0.0.1:0", "--data-path="+w.T.TempDir(), "--lookupd-tcp-address="+tcpOf(w.lookup))
	node.start()
	w.reach("/nodes/" + node.http)
	w.more("Drain node")
	w.fill("timeout", "5m")
	w.confirm("Drain node", node.http, w.qds[0].http)
	o := w.done(1)
	select {
	case <-node.exited: // it is empty
	case <-time.After(patience):
		w.T.Errorf("the node has not ended: %s", node.tail(5))
	}
	w.audited(o)
	for _, q := range w.qds {
		var f figures
		ask(w.T, "http://"+q.http+"/stats?format=json", &f) // the others go on
	}
}

// TestActionWithoutANode pauses a topic while one of two daemons is away: the result
// says which has not done it, and the page is not held up.
func TestActionWithoutANode(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	for i := range h.qds {
		h.publish(i, "orders", 2)
	}
	b := open(t, h.base)
	b.reach("/topics/orders")
	b.until("both nodes", `document.querySelectorAll("main tr[data-id^='n-']").length === 2`)
	b.link("Pause topic")
	h.qds[1].kill()
	b.button("Pause topic")
	o := b.result()
	want(t, "the whole", o.Word, "failed in part")
	results := map[string]string{}
	for _, r := range o.Results {
		results[r.Node] = r.Result
	}
	want(t, "who has done it", results[h.qds[0].http], "done")
	if got := results[h.qds[1].http]; !strings.HasPrefix(got, "failed") || !strings.Contains(got, "refused") {
		t.Errorf("who has not: %q of %v", got, o.Results)
	}
	want(t, "daemons on which it is paused", h.topic("orders", h.qds[0]).Paused, 1)
	b.visit("/audit")
	b.shows("failed in part")
	b.shows("1 done, 1 failed")

	h.qds[1].start()
	b.until("the node being back", `true`)
	b.reach("/topics/orders")
	b.link("Resume topic")
	b.button("Resume topic")
	b.done(2)
	want(t, "the number of results", strconv.Itoa(len(o.Results)), "2")
}
