package browser

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// serve serves HTTP on a free port until the test ends, and returns where.
func serve(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// Browsers hang up in the middle of streams; that is no news.
	s := &http.Server{Handler: handle, ErrorLog: log.New(t.Output(), "", 0), ReadHeaderTimeout: patience}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // until it is closed
	}()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return "http://" + l.Addr().String()
}

// unreloaded marks the page, and returns what fails the test if it was loaded anew.
func (b *tab) unreloaded() func() {
	b.t.Helper()
	b.eval(`window.marked = true`)
	return func() {
		b.t.Helper()
		if b.eval(`!!window.marked`) != "true" {
			b.t.Errorf("the page was loaded anew; it is\n%s", b.excerpt())
		}
	}
}

// cell is the text of a column of the row that a link names.
func cell(row, column string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("main tr")].find(r => r.querySelector("th a")?.textContent === %q)?.querySelector("td[data-name='%s']")?.textContent`, row, column)
}

// TestLive: what happens at the daemons is on the pages that are open, without their being
// loaded anew, and does not disturb who works on them.
func TestLive(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)

	t.Run("a publish is shown", func(t *testing.T) {
		b := open(t, h.base)
		h.create("seen", "billing", "archive")
		b.visit("/topics")
		still := b.unreloaded()
		b.until("showing the depth", cell("seen", "Depth")+` === "0"`)
		h.publish(1, "seen", 3)
		b.until("showing the new depth", cell("seen", "Depth")+` === "6"`)
		h.create("refunds")
		b.shows("refunds")
		still()
	})

	t.Run("updates disturb nobody", func(t *testing.T) {
		b := open(t, h.base)
		h.create("worked", "billing", "archive")
		b.size(1440, 500)
		b.visit("/topics/worked")
		b.drawn()
		still := b.unreloaded()
		b.do(chromedp.Click(`input[value="archive"]`), chromedp.Click("figure details summary"), chromedp.Click(".more-menu summary"))
		b.eval(`document.querySelector("figure .table").scrollTop = 40; scrollTo(0, 150); document.querySelector('a[href="/topics/worked/billing"]').focus({preventScroll: true})`)
		scrolled := b.eval("scrollY")
		h.publish(0, "worked", 2)
		b.until("showing the new depth", cell("billing", "Depth")+` === "2"`)
		for what, script := range map[string]string{
			"the chosen row is not":          `document.querySelector('input[value="archive"]').checked`,
			"the open table has closed":      `document.querySelector("figure details").open`,
			"the open menu has closed":       `document.querySelector(".more-menu").open`,
			"the focus went elsewhere":       `document.activeElement.textContent === "billing"`,
			"the page was scrolled":          `scrollY === ` + scrolled,
			"the open table was scrolled":    `document.querySelector("figure .table").scrollTop === 40`,
			"the page could not be scrolled": scrolled + ` === 150`,
		} {
			if b.eval(script) != "true" {
				t.Error(what)
			}
		}
		still()
	})

	t.Run("typing is not disturbed", func(t *testing.T) {
		b := open(t, h.base)
		h.create("typed", "billing")
		b.visit("/topics")
		b.do(chromedp.SendKeys("#q", "ord"))
		b.eval(`document.querySelector("#q").setSelectionRange(1, 2)`)
		h.publish(0, "typed", 3)
		b.until("showing the new depth", cell("typed", "Depth")+` === "3"`)
		if got := b.eval(`(() => { const q = document.querySelector("#q"); return [document.activeElement === q, q.value, q.selectionStart, q.selectionEnd].join() })()`); got != "true,ord,1,2" {
			t.Errorf("the field has focus, text and selection %s", got)
		}
		b.visit("/do/publish?topic=typed")
		b.do(chromedp.SendKeys("textarea", "half a sent"))
		h.publish(0, "typed", 1)
		b.until("showing the new depth", `document.querySelector(".now dd").textContent === "4"`)
		if got := b.eval(`document.querySelector("textarea").value`); got != "half a sent" {
			t.Errorf("what was typed is now %q", got)
		}
	})

	t.Run("hold", func(t *testing.T) {
		held, other := open(t, h.base), open(t, h.base)
		h.create("held", "billing")
		held.visit("/topics")
		held.until("showing the depth", cell("held", "Depth")+` === "0"`)
		held.do(chromedp.Click("#hold"))
		other.visit("/topics")
		for i := range 2 { // an event may come late once
			h.publish(0, "held", 1)
			other.until("showing the new depth", cell("held", "Depth")+` === "`+strconv.Itoa(1+i)+`"`)
		}
		if got := held.eval(cell("held", "Depth")); got != "0" {
			t.Errorf("the page that is held shows %s", got)
		}
		held.shows("held,")
		if held.eval(`document.querySelector("#hold").getAttribute("aria-pressed")`) != "true" {
			t.Error("the button does not say that it is pressed")
		}
		held.do(chromedp.Click("#hold"))
		held.until("showing the new depth", cell("held", "Depth")+` === "2"`)
	})

	t.Run("charts grow", func(t *testing.T) {
		b := open(t, h.base)
		h.create("drawn", "billing")
		b.visit("/topics/drawn")
		b.drawn()
		const chart = `document.querySelector("figure canvas").toDataURL()`
		before, points := b.eval(chart), b.eval(known)
		h.publish(0, "drawn", 50)
		b.until("knowing more", known+` > `+points)
		b.until("drawing more", chart+` !== `+strconv.Quote(before))
	})
}

// known is how many points of the first line of the first chart are known.
const known = `JSON.parse(document.querySelector("figure").dataset.series).series[0].values.filter(v => v !== null).length`

// create makes a topic with channels on both daemons, and waits until the admin knows.
func (h *house) create(name string, channels ...string) {
	h.t.Helper()
	for n := range h.qds {
		h.post(n, "/topic/create", "", "topic", name)
		for _, c := range channels {
			h.post(n, "/channel/create", "", "topic", name, "channel", c)
		}
	}
	h.answers(h.base+"/topics/"+name, channels...)
}

// answers waits until a page is there and contains all of text.
func (h *house) answers(at string, text ...string) {
	h.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		status, page := fetch(h.t, at)
		ok := status == http.StatusOK
		for _, want := range text {
			ok = ok && strings.Contains(page, want)
		}
		if ok {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: %d; want it to contain %q", at, status, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestNodeIsLost: a daemon that was killed is shown as down, what it had last stays, and
// so does everything else; it comes back by itself.
func TestNodeIsLost(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2)
	h.create("orders", "billing")
	h.publish(0, "orders", 3)
	h.publish(1, "orders", 4)
	lost := h.qds[1].http
	b, topics := open(t, h.base), open(t, h.base)
	topics.visit("/topics")
	topics.until("showing the depth", cell("orders", "Depth")+` === "7"`)
	b.visit("/")
	still := b.unreloaded()
	b.shows("2 of 2 nodes up")
	h.qds[1].kill()
	b.shows("1 of 2 nodes up")
	chip := `[...document.querySelectorAll(".chips li")].find(e => e.textContent.includes("` + lost + `"))`
	b.until("the node is down", chip+`.textContent.includes("down")`)
	b.until("the trouble is told", `[...document.querySelectorAll("tr.failure")].some(r => r.textContent.includes("`+lost+`"))`)
	b.until("the window's title tells", `document.title.startsWith("(1) ")`)
	topics.until("the counts beside the menu tell", `document.querySelector('.side [data-count="troubles"]').dataset.worst === "failure"`)
	if got := topics.eval(cell("orders", "Depth")); got != "7" {
		t.Errorf("the depth is %s, want the last one that is known, 7", got)
	}
	h.publish(0, "orders", 1)
	topics.until("the other node goes on", cell("orders", "Depth")+` === "8"`)

	node := open(t, h.base)
	node.visit("/nodes/" + lost)
	node.shows("This node does not answer")
	node.axe("a node that is down")
	node.page("node-down")
	b.axe("the first page with a node that is down")
	b.page("overview-down")
	h.qds[1].start()
	b.shows("2 of 2 nodes up")
	b.until("the node is back", chip+`.textContent.includes("ready")`)
	still()
}

// TestAdminRestarts: pages that are open say that they are cut off, and go on by
// themselves when the admin is there again.
func TestAdminRestarts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	h.create("orders", "billing")
	b := open(t, h.base)
	b.visit("/topics")
	b.until("being live", `document.querySelector("#sampled").dataset.state === "live"`)
	still := b.unreloaded()
	h.admin.kill()
	b.until("being cut off", `document.querySelector("#sampled").dataset.state === "lost"`)
	b.shows("not connected")
	h.publish(0, "orders", 5)
	h.admin.start()
	b.until("being live again", `document.querySelector("#sampled").dataset.state === "live"`)
	b.until("showing the new depth", cell("orders", "Depth")+` === "5"`)
	still()
	b.expect("ERR_") // the browser tells of each connection that fails
}

// TestHiddenTab: a tab that nobody sees asks for nothing after a while, and goes on when
// it is seen again.
func TestHiddenTab(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	h.create("orders", "billing")
	p := newProxy(t, h.base)
	b := open(t, p.base)
	b.visit("/topics")
	b.until("being live", `document.querySelector("#sampled").dataset.state === "live"`)
	if n := p.open.Load(); n != 1 {
		t.Fatalf("%d streams are open, want 1", n)
	}
	hide := func(hidden bool) {
		b.eval(fmt.Sprintf(`Object.defineProperty(document, "hidden", {value: %t, configurable: true}); document.dispatchEvent(new Event("visibilitychange"))`, hidden))
	}
	hide(true)
	deadline := time.Now().Add(patience)
	for p.open.Load() > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the stream of a tab that nobody sees stays open")
		}
		time.Sleep(100 * time.Millisecond)
	}
	h.publish(0, "orders", 5)
	hide(false)
	b.until("showing the new depth", cell("orders", "Depth")+` === "5"`)
	if n := p.ever.Load(); n != 2 {
		t.Errorf("%d streams were opened, want 2", n)
	}
}
