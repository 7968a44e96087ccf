package browser

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// press presses keys, one after the other.
func (b *tab) press(keys string, options ...chromedp.KeyOption) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys, options...))
}

// focused is what has the focus: its id or class, and its text.
const focused = `(e => e.id ? "#" + e.id : e === document.body ? "body" : e.textContent.trim())(document.activeElement)`

// goes waits until the tab is at a path.
func (b *tab) goes(path string) {
	b.t.Helper()
	b.until("going to "+path, fmt.Sprintf(`location.pathname + location.search === %q && document.readyState === "complete"`, path))
}

// TestKeyboard walks the keyboard's way.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	h.create("orders", "billing", "shipping")
	h.create("payments", "ledger")
	h.create("returns")
	h.publish(0, "orders", 20)
	h.answers(h.base+"/topics?sort=name", "20")

	t.Run("skip link", func(t *testing.T) {
		b := open(t, h.base)
		b.visit("/topics")
		b.press(kb.Tab)
		b.until("the first stop being the skip link", focused+` === "Skip to the page"`)
		b.until("its being seen", `document.querySelector(".skip").getBoundingClientRect().top >= 0`)
		b.press(kb.Enter)
		b.until("the page having the focus", focused+` === "#page"`)
		b.press(kb.Tab)
		b.until("the next stop being on the page", `document.activeElement.closest("main")`)
	})

	t.Run("every stop is seen", func(t *testing.T) {
		b := open(t, h.base)
		b.calm()
		b.visit("/topics/orders")
		b.drawn()
		var stops []string
		for range 200 {
			b.press(kb.Tab)
			state := b.eval(`(() => {
				const e = document.activeElement;
				if (e === document.body) return "end";
				const r = e.getBoundingClientRect(), s = getComputedStyle(e), in_ = e.closest("details:not([open])");
				if (!r.width || !r.height) return "unseen: " + e.outerHTML.slice(0, 100);
				if (in_ && e.nodeName !== "SUMMARY") return "closed in: " + e.outerHTML.slice(0, 100);
				if (s.outlineStyle === "none" && !e.matches("main")) return "no outline: " + e.outerHTML.slice(0, 100);
				if (r.bottom < 0 || r.top > innerHeight) return "out of the window: " + e.outerHTML.slice(0, 100);
				return "ok " + e.textContent.trim().slice(0, 30);
			})()`)
			if state == "end" {
				break
			}
			if !strings.HasPrefix(state, "ok ") {
				t.Error(state)
			}
			stops = append(stops, strings.TrimPrefix(state, "ok "))
		}
		for _, want := range []string{"Skip to the page", "Hold", "What is wrong", "Settings", "Publish a message", "billing", "shipping", "As a table", "Copy as curl"} {
			if !slices.ContainsFunc(stops, func(s string) bool { return strings.HasPrefix(s, want) }) {
				t.Errorf("the keyboard does not come to %q; it comes to %q", want, stops)
			}
		}
	})

	t.Run("rows", func(t *testing.T) {
		b := open(t, h.base)
		b.visit("/topics?sort=name")
		for _, s := range []struct{ key, focus string }{
			{"j", "orders"}, {"j", "payments"}, {"j", "returns"}, {"j", "returns"}, {"k", "payments"}, {"k", "orders"}, {"k", "orders"},
		} {
			b.press(s.key)
			if got := b.eval(focused); got != s.focus {
				t.Fatalf("%s leads to %s, want %s", s.key, got, s.focus)
			}
		}
		b.press(kb.Enter)
		b.goes("/topics/orders")
		b.press("j")
		if got := b.eval(focused); got != "billing" {
			t.Errorf("j leads to %s, want billing", got)
		}
	})

	t.Run("places", func(t *testing.T) {
		b := open(t, h.base)
		b.visit("/")
		for _, s := range []struct{ keys, path string }{
			{"gt", "/topics"}, {"gn", "/nodes"}, {"gl", "/lookup"}, {"gc", "/counter"}, {"ga", "/audit"}, {"gs", "/settings"}, {"gh", "/"},
		} {
			b.press(s.keys)
			b.goes(s.path)
		}
	})

	t.Run("search and filter", func(t *testing.T) {
		b := open(t, h.base)
		b.visit("/nodes")
		b.press("/")
		b.until("the search having the focus", focused+` === "#find"`)
		b.press("pay" + kb.Enter)
		b.goes("/search?q=pay")
		b.shows("payments")
		b.visit("/topics")
		b.press("/")
		b.until("the filter having the focus", focused+` === "#q"`)
		b.press("gt") // is text here, and no place to go to
		b.press(kb.Enter)
		b.goes("/topics?q=gt")
		b.visit("/nodes")
		b.press("/")
		b.press("x" + kb.Escape)
		b.until("Escape leaving the search", focused+` === "body"`)
	})

	t.Run("palette", func(t *testing.T) {
		b := open(t, h.base)
		b.visit("/nodes")
		b.press("k", chromedp.KeyModifiers(chromedp.ModifierCtrl))
		b.until("the palette being open", `document.querySelector("#palette")?.open`)
		b.press("ship")
		b.until("finding the channel", `document.querySelector('#hits [aria-selected="true"]')?.textContent.includes("orders/shipping")`)
		b.axe("the palette")
		b.picture("palette")
		b.press(kb.Escape)
		b.until("Escape closing it", `!document.querySelector("#palette").open`)
		b.press("k", chromedp.KeyModifiers(chromedp.ModifierCtrl))
		b.until("it being open again", `document.querySelector("#palette").open && document.querySelectorAll("#hits li").length > 1`)
		b.press(kb.ArrowDown)
		b.until("the last hit being chosen", `document.querySelector('#hits [aria-selected="true"]').textContent.includes("everywhere")`)
		b.press(kb.ArrowUp + kb.Enter)
		b.goes("/topics/orders/shipping")
	})

	t.Run("help", func(t *testing.T) {
		b := open(t, h.base)
		b.visit("/topics")
		b.press("?")
		b.until("the list being open", `document.querySelector("#keys")?.open`)
		b.shows("next row, row before")
		b.axe("the list of keys")
		b.picture("keys")
		b.press(kb.Escape)
		b.until("Escape closing it", `!document.querySelector("#keys").open`)
	})

	t.Run("no key changes anything", func(t *testing.T) {
		p := newProxy(t, h.base)
		b := open(t, p.base)
		for _, at := range []string{"/topics", "/topics/orders/billing", "/topics/orders/billing/messages", "/nodes/" + h.qds[0].http} {
			b.visit(at)
			for c := byte('!'); c <= '~'; c++ {
				if c == 'g' { // leads away with what follows
					continue
				}
				// What an earlier key has opened would take this one.
				b.eval(`document.querySelectorAll("dialog[open]").forEach(d => d.close()); document.activeElement.blur(); document.querySelector("main [data-row] a[href]").focus()`)
				b.press(string(c))
			}
			b.press(kb.Delete + kb.Backspace)
			if got := b.eval(`location.pathname`); got != at {
				t.Fatalf("a key has led from %s to %s", at, got)
			}
		}
		if sent := p.changes(); len(sent) > 0 {
			t.Errorf("keys have sent %v", sent)
		}
	})
}
