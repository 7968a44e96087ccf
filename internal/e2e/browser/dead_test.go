package browser

import (
	"cmp"
	"strings"
)

// dead makes a channel whose four messages on each daemon are dead, and leads through
// doing something to one of them, two of them, and all that are left, of which the
// results tell. Each is done as soon as the one before has been counted.
func (w worker) dead(action, word string, form func(), left func(doneTo int)) {
	topic := "dead-" + action
	w.bury(topic, "c", 4)
	wait(w.T, "the dead being known", func() bool {
		w.reach("/topics/" + topic + "/c")
		return strings.Contains(w.eval(`document.querySelector("main nav.states").innerText`), "8")
	})
	w.follow("main nav.states a", w.eval(`[...document.querySelectorAll("main nav.states a")].find(a => a.href.endsWith("dead")).innerText.trim().replace(/\s+/g, " ")`))
	list := "/topics/" + topic + "/c/messages?state=dead"
	w.at(list)

	w.follow("main th a.mono", "")                                  // one, at its own page
	at := map[string]string{"Copy": "Copy to…", "Move": "Move to…"} // there, Copy copies the body
	w.link(cmp.Or(at[word], word))
	form()
	o := w.done(1)
	want(w.T, "messages", max(o.messages(), 1), 1)
	left(1)

	w.visit(list)
	boxes := func(node *program) string { return `main tbody input[value^="` + node.http + `/"]` }
	w.click(boxes(w.qds[0]), "")
	w.click(boxes(w.qds[1]), "")
	w.shows("2 chosen")
	w.button(word)
	w.shows("2 targets")
	form()
	w.done(2)
	left(3)

	w.visit(list)
	w.more(word + " all")
	form()
	o = w.done(2)
	left(8)
	w.audited(o)
}

func reviveDead(w worker) {
	w.dead("revive", "Revive", func() { w.button("Revive dead messages") }, func(n int) {
		s := w.channel("dead-revive", "c")
		want(w.T, "dead", s.Dead, 8-n)
		want(w.T, "in line", s.Depth, n)
	})
}

func deleteDead(w worker) {
	name := []string{"c", "2", "c"}
	w.dead("delete-dead", "Delete", func() {
		w.confirm("Delete dead messages", name[0], "x")
		name = name[1:]
	}, func(n int) {
		s := w.channel("dead-delete-dead", "c")
		want(w.T, "dead", s.Dead, 8-n)
		want(w.T, "in line", s.Depth, 0)
	})
}

func copyDead(w worker) {
	copies := 0
	w.dead("copy", "Copy", func() {
		w.fill("to", "copies")
		if strings.Contains(w.eval(`location.search`), "all=true") {
			want(w.T, "which are copied", w.eval(`document.querySelector("main [name=state]").value`), "dead")
		}
		w.button("Copy messages")
	}, func(n int) {
		copies += map[int]int{1: 1, 3: 2, 8: 8}[n]
		want(w.T, "dead", w.channel("dead-copy", "c").Dead, 8)
		want(w.T, "copies", w.topic("copies").Messages, copies)
	})
}

func moveDead(w worker) {
	w.dead("move", "Move", func() {
		w.fill("to", "moved")
		w.button("Move dead messages")
	}, func(n int) {
		want(w.T, "dead", w.channel("dead-move", "c").Dead, 8-n)
		want(w.T, "moved", w.topic("moved").Messages, n)
	})
}
