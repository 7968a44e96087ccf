package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// spot is where something can be clicked, or why it cannot.
type spot struct {
	X, Y float64
	Why  string
}

// clickable finds what can be clicked, by a selector and what stands on it, and scrolls to it.
const clickable = `((css, name) => {
	const label = e => (e.getAttribute("aria-label") || e.innerText || e.value || "").trim().replace(/\s+/g, " ");
	const e = [...document.querySelectorAll(css)].find(e => e.checkVisibility() && (!name || label(e) === name));
	if (!e) return {why: "nothing is there"};
	if (e.disabled) return {why: "it is disabled"};
	e.scrollIntoView({block: "center", inline: "nearest", behavior: "instant"});
	const r = e.getClientRects()[0], x = r.x + r.width / 2, y = r.y + r.height / 2, top = document.elementFromPoint(x, y);
	if (!top || !e.contains(top)) return {why: "it is covered by " + (top ? top.outerHTML.slice(0, 200) : "nothing")};
	return {x, y};
})`

// spot waits until something can be clicked.
func (b *tab) spot(css, name string) spot {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var s spot
		if err := json.Unmarshal([]byte(b.eval(clickable+"("+quote(css)+", "+quote(name)+")")), &s); err != nil {
			b.t.Fatal(err)
		}
		if s.Why == "" {
			return s
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s %q cannot be clicked: %s; the page is\n%s", css, name, s.Why, b.excerpt())
		}
		time.Sleep(50 * time.Millisecond) // a page has no event for this
	}
}

// click clicks, as a mouse does, what a selector finds and has that name: its label or
// the text on it, or any if it is empty.
func (b *tab) click(css, name string) {
	b.t.Helper()
	s := b.spot(css, name)
	b.do(chromedp.MouseClickXY(s.X, s.Y))
}

// follow clicks something that leads to another page, and waits until that has loaded.
func (b *tab) follow(css, name string) {
	b.t.Helper()
	s := b.spot(css, name)
	b.load(fmt.Sprintf("following %s %q", css, name), chromedp.MouseClickXY(s.X, s.Y))
}

// load does something after which another page loads.
func (b *tab) load(what string, how step) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.WaitEvent(page.LoadEventFired, nil, how)); err != nil {
		b.t.Fatalf("%s: %v; the page is\n%s", what, err, b.excerpt())
	}
	b.do(chromedp.WaitReady("body"))
}

// link and button are what one follows and presses in the page.
func (b *tab) link(name string) { b.t.Helper(); b.follow("main a[href]", name) }

func (b *tab) button(name string) { b.t.Helper(); b.follow("main form button", name) }

// more opens the menu of what is not always seen, and follows one of its links.
func (b *tab) more(name string) {
	b.t.Helper()
	if b.eval(`!!document.querySelector("main details.more-menu[open]")`) != "true" {
		b.click("main details.more-menu > summary", "")
	}
	b.follow("main details.more-menu[open] a", name)
}

// fill types text into the field of a name, in place of what is there.
func (b *tab) fill(name, text string) {
	b.t.Helper()
	b.click(`main :is(input:not([type=hidden]), textarea)[name="`+name+`"]`, "")
	b.eval(`document.activeElement.select()`)
	b.do(chromedp.KeyEvent(text))
	if got := b.eval(`document.activeElement.value`); got != text {
		b.t.Fatalf("typed %q into %s, and it has %q", text, name, got)
	}
}

// choose chooses of the list of a name, by typing how the choice begins.
func (b *tab) choose(name, choice string) {
	b.t.Helper()
	list := `main select[name="` + name + `"]`
	b.do(chromedp.Focus(chromedp.CSS(list)), chromedp.KeyEvent(choice))
	if got := b.eval(`document.querySelector(` + quote(list) + `).value`); got != choice {
		b.t.Fatalf("chose %q of %s, and it has %q", choice, name, got)
	}
}

// at fails the test unless the page has that path and query, of which those that begin
// so are alike.
func (b *tab) at(want string) {
	b.t.Helper()
	if got := b.eval(`location.pathname + location.search`); !strings.HasPrefix(got, want) {
		b.t.Fatalf("the page is %s, want %s\n%s", got, want, b.excerpt())
	}
}

// outcome is what the page of an action's results tells.
type outcome struct {
	Number  int    // of the audit entry
	Title   string // of the action
	Word    string // done, failed, failed in part
	Results []struct{ Node, Result, Messages, Note string }
}

// result waits until the action whose results are shown has ended, as the page tells by
// itself, and returns them.
func (b *tab) result() (o outcome) {
	b.t.Helper()
	b.until("leading to the results", `/\/audit\/\d+$/.test(location.pathname)`)
	b.until("the action's end", `document.querySelector("main .head [role=status]").innerText.trim() !== "running"`)
	said := b.eval(`(() => {
		const text = e => e.innerText.trim().replace(/\s+/g, " ");
		return {
			number: Number(location.pathname.split("/").at(-1)),
			title: text(document.querySelector("main h1")),
			word: text(document.querySelector("main .head [role=status]")),
			results: [...document.querySelectorAll("main table[class] tbody tr")].map(r => ({
				node: text(r.cells[0]), result: text(r.cells[1]), messages: text(r.cells[2]), note: text(r.cells[3])})),
		};
	})()`)
	if err := json.Unmarshal([]byte(said), &o); err != nil {
		b.t.Fatal(err)
	}
	return o
}

// done wants all nodes to have done what was asked for, so many of them, and returns
// the results.
func (b *tab) done(nodes int) outcome {
	b.t.Helper()
	o := b.result()
	if o.Word != "done" || len(o.Results) != nodes {
		b.t.Fatalf("%s: %s by %d, want it done by %d:\n%s", o.Title, o.Word, len(o.Results), nodes, b.excerpt())
	}
	for _, r := range o.Results {
		if r.Result != "done" {
			b.t.Fatalf("%s: %+v", o.Title, r)
		}
	}
	return o
}

// messages is how many the results tell of.
func (o outcome) messages() (sum int) {
	for _, r := range o.Results {
		n, _ := strconv.Atoi(r.Messages) // a dash is none
		sum += n
	}
	return sum
}

// quote is text as a script has it.
func quote(text string) string {
	q, _ := json.Marshal(text) // a string always can be
	return string(q)
}

// reach goes to the page of something that was made a moment ago, as soon as the admin
// knows of it.
func (b *tab) reach(path string) {
	b.t.Helper()
	wait(b.t, "the page "+path, func() bool {
		b.visit(path)
		missing := b.eval(`!!document.querySelector("main .problem")`) == "true"
		b.expect("404 (Not Found)")
		b.expect("503 (Service Unavailable)") // an admin that has just begun knows nothing yet
		return !missing
	})
}

// href is where the tab is, also while it goes from one page to another.
func (b *tab) href() string {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	at, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href`)) // asked again, if it was just going
	return at
}
