package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// scripts has the pages' scripts run, or not. What a test evaluates runs all the same.
func (b *tab) scripts(run bool) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !run}); err != nil {
		b.t.Fatal(err)
	}
}

// TestWithoutScripts: every page can be read without JavaScript, and forms do what they
// say.
func TestWithoutScripts(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	b := open(t, h.base)
	b.scripts(false)
	for _, s := range sights(h) {
		b.visit(s.path)
		b.shows(s.shows)
		if b.eval(`document.documentElement.classList.contains("scripted")`) == "true" {
			t.Fatal("scripts run")
		}
		// What only scripts can do is not offered.
		if n := b.eval(`[...document.querySelectorAll(".script, [data-copy], [data-curl]")].filter(e => e.offsetParent).length`); n != "0" {
			t.Errorf("%s offers %s things that need scripts", s.path, n)
		}
		b.expect("status of 404")
	}

	b.visit("/topics/orders")
	if got := b.eval(`[...document.querySelectorAll("figure svg.chart")].filter(e => e.getBoundingClientRect().height > 50).length`); got != "3" {
		t.Errorf("%s charts are drawn, want 3", got)
	}
	b.tap("figure summary")
	b.until("the chart's table being open", `document.querySelector("figure table").offsetParent`)
	b.page("topic-plain")

	b.visit("/topics")
	b.enter("#q", "pay"+kb.Enter)
	b.goes("/topics?q=pay")
	b.tap(`.side button[value="dark"]`)
	b.until("the theme being dark", `document.documentElement.dataset.theme === "dark"`)
	b.goes("/topics?q=pay")

	b.visit("/do/publish?topic=returns")
	b.enter("textarea", "by hand")
	b.tap("form.do button.primary")
	b.until("the entry in the audit log", `location.pathname.startsWith("/audit/")`)
	b.reloads("done")

	b.visit("/topics")
	b.tap(`input[value="stock"]`)
	b.tap(`input[value="emails"]`)
	b.tap(`button[formaction="/do/pause-topic"]`)
	b.shows("2 targets")
	b.enter("#f-reason", "stocktaking")
	b.tap("form.do button.primary")
	b.until("the entry in the audit log", `location.pathname.startsWith("/audit/")`)
	b.reloads("done")
	b.visit("/topics/stock")
	b.reloads("stocktaking")

	b.visit("/do/delete-topic?topic=returns")
	b.enter("#confirm", "something else")
	b.tap("form.do button.danger")
	b.until("the form coming back", `document.querySelector('form.do [name="confirm"]') && document.querySelector('[role="alert"]')`)
	b.page("do-wrong")
	b.expect("status of 4") // it came back as what it is, a refusal
	b.eval(`document.querySelector("#confirm").value = ""`)
	b.enter("#confirm", "returns")
	b.tap("form.do button.danger")
	b.until("the entry in the audit log", `location.pathname.startsWith("/audit/")`)
	b.reloads("done")
	b.visit("/topics")
	for strings.Contains(b.text(), "returns") { // patience is the test's own
		b.do(chromedp.Reload(), chromedp.WaitReady("main"))
	}
}

// tap and enter do without chromedp's own way of waiting, which needs scripts: tap clicks,
// and enter types into a field.
func (b *tab) tap(selector string) {
	b.t.Helper()
	b.until("clicking "+selector, fmt.Sprintf(`(e => e && (e.click(), true))(document.querySelector(%q))`, selector))
}

func (b *tab) enter(selector, text string) {
	b.t.Helper()
	b.until("the field "+selector, fmt.Sprintf(`(e => e && (e.focus(), true))(document.querySelector(%q))`, selector))
	b.press(text)
}

// reloads loads the page again until it shows text, as somebody without scripts does.
func (b *tab) reloads(text string) {
	b.t.Helper()
	for range 200 {
		if strings.Contains(b.text(), text) {
			return
		}
		b.do(chromedp.Reload(), chromedp.WaitReady("main"))
	}
	b.t.Fatalf("showing %q: did not happen; the page is\n%s", text, b.excerpt())
}
