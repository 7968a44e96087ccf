package browser

import (
	"fmt"
	"time"
)

func pauseTopic(w worker) {
	w.reach("/topics/orders")
	w.link("Pause topic")
	w.fill("reason", `a "new" <schema>`)
	w.fill("for", "90m")
	w.button("Pause topic")
	o := w.done(2)
	s := w.topic("orders")
	want(w.T, "daemons on which it is paused", s.Paused, 2)
	want(w.T, "the reason", s.Pause.Reason, `a "new" <schema>`)
	want(w.T, "who", s.Pause.By, "local")
	if in := time.Until(time.Unix(0, s.Pause.Until)); in < 80*time.Minute || in > 90*time.Minute {
		w.T.Errorf("it resumes in %v", in)
	}
	w.visit("/topics/orders")
	w.shows(`Paused by local`)
	w.shows(`a "new" <schema>. It resumes by itself`)
	w.visit(fmt.Sprint("/audit/", o.Number))
	w.shows(`reason="a \"new\" <schema>", for=90m`)
	w.audited(o)
}

func resumeTopic(w worker) {
	for i := range w.qds {
		w.post(i, "/topic/pause", "", "topic", "orders")
	}
	w.reach("/topics/orders")
	w.link("Resume topic")
	w.button("Resume topic")
	o := w.done(2)
	want(w.T, "daemons on which it is paused", w.topic("orders").Paused, 0)
	w.audited(o)
}

// pauseSome pauses and resumes several topics of a list at once.
func pauseSome(w worker) {
	for _, name := range []string{"bulk-1", "bulk-2", "bulk-3"} {
		for i := range w.qds {
			w.post(i, "/topic/create", "", "topic", name)
		}
	}
	w.reach("/topics/bulk-3")
	w.visit("/topics?q=bulk-")
	w.click(`main [aria-label="Choose bulk-1"]`, "")
	w.click(`main [aria-label="Choose bulk-3"]`, "")
	w.shows("2 chosen")
	w.button("Pause topic")
	w.at("/do/pause-topic")
	w.shows("2 targets")
	w.fill("reason", "both")
	w.button("Pause topic")
	w.done(2) // a line for each node
	for name, paused := range map[string]int{"bulk-1": 2, "bulk-2": 0, "bulk-3": 2} {
		want(w.T, name, w.topic(name).Paused, paused)
	}
	w.visit("/topics?q=bulk-")
	w.click(`main [aria-label="Choose all on this page"]`, "")
	w.shows("3 chosen")
	w.button("Resume topic")
	w.button("Resume topic")
	w.done(2)
	want(w.T, "still paused", w.topic("bulk-1").Paused+w.topic("bulk-3").Paused, 0)
}

func pauseChannel(w worker) {
	w.reach("/topics/orders/ship")
	w.link("Pause channel")
	w.fill("reason", "the depot is full")
	w.button("Pause channel")
	o := w.done(2)
	s := w.channel("orders", "ship")
	want(w.T, "daemons on which it is paused", s.Paused, 2)
	want(w.T, "the reason", s.Pause.Reason, "the depot is full")
	want(w.T, "its end", s.Pause.Until, 0)
	w.link("Back to ship")
	w.shows("It stays so until somebody resumes it")
	w.visit(fmt.Sprint("/audit/", o.Number))
	w.audited(o)
}

func resumeChannel(w worker) {
	for i := range w.qds {
		w.post(i, "/channel/pause", "", "topic", "orders", "channel", "ship")
	}
	w.reach("/topics/orders/ship")
	w.link("Resume channel")
	w.button("Resume channel")
	o := w.done(2)
	want(w.T, "daemons on which it is paused", w.channel("orders", "ship").Paused, 0)
	w.audited(o)
}

func pauseNode(w worker) {
	node := w.qds[0]
	w.visit("/nodes")
	w.follow("main tbody th a", node.http)
	w.link("Pause all topics of the node")
	w.fill("reason", "a new disk")
	w.button("Pause all topics of the node")
	o := w.done(1)
	want(w.T, "the node", o.Results[0].Node, node.http)
	want(w.T, "paused on the node", w.topic("orders", node).Paused, 1)
	want(w.T, "paused on the other", w.topic("orders", w.qds[1]).Paused, 0)
	w.audited(o)
}

func resumeNode(w worker) {
	w.post(0, "/topic/pause", "", "topic", "orders")
	w.visit("/nodes/" + w.qds[0].http)
	w.link("Resume all topics of the node")
	w.button("Resume all topics of the node")
	o := w.done(1)
	want(w.T, "paused", w.topic("orders").Paused, 0)
	w.audited(o)
}
