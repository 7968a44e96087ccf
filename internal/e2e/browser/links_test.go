package browser

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
)

// TestDeepLinks: how a list is sorted, filtered and paged, and how far back charts go, is
// in the address, so that it can be sent to somebody, and the way back leads through it.
func TestDeepLinks(t *testing.T) {
	t.Parallel()
	fleet := clustertest.NewFleet(t, clustertest.Nodes(1), clustertest.Topics(250))
	fleet.Nodes[0].Change(func(d *clustertest.Daemon) { d.Topic(clustertest.TopicName(77)).Channel("channel-0").Depth = 5000 })
	h := newFake(t, fleet)
	h.answers(h.base+"/topics", "topic-00077")
	b := open(t, h.base)
	first := `document.querySelector("tbody th a").textContent`
	steps := []struct {
		name string
		do   step
		at   string // where it leads
		is   string // a script that is true there
	}{
		{"all", chromedp.Navigate(h.base + "/topics"), "/topics", `document.querySelectorAll("tbody tr").length === 100`},
		{"by depth", chromedp.Click(`//thead//a[text()="Depth"]`), "/topics?sort=depth", first + ` === "topic-00077" && document.querySelector('th[aria-sort="descending"]').textContent === "Depth"`},
		{"by name", chromedp.Click(`//thead//a[text()="Topic"]`), "/topics?sort=name", first + ` === "topic-00000"`},
		{"the next page", chromedp.Click(`a[rel=next]`), "/topics?sort=name&page=2", first + ` === "topic-00100"`},
		{"the last page", chromedp.Click(`a[rel=next]`), "/topics?sort=name&page=3", first + ` === "topic-00200" && !document.querySelector("a[rel=next]")`},
		{"filtered", chromedp.SendKeys("#q", "0007"+kb.Enter), "/topics?q=0007&sort=name", `document.querySelectorAll("tbody tr").length === 11`},
		{"a topic", chromedp.Click(`//tbody//a[text()="topic-00077"]`), "/topics/topic-00077", `document.querySelector("h1").textContent === "topic-00077"`},
		{"further back", chromedp.Click(`//a[text()="24h"]`), "/topics/topic-00077?range=24h", `document.querySelector('.choice [aria-current]').textContent === "24h"`},
	}
	for _, s := range steps {
		b.do(s.do)
		b.leads(s.name, s.at, s.is)
	}
	for i := len(steps) - 2; i >= 0; i-- {
		b.back()
		b.leads("back to "+steps[i].name, steps[i].at, steps[i].is)
	}
	for _, s := range steps {
		b.visit(s.at)
		b.leads("straight to "+s.name, s.at, s.is)
	}
}

// leads waits until the tab is at an address and shows what is there.
func (b *tab) leads(what, at, is string) {
	b.t.Helper()
	quoted, _ := json.Marshal(at)
	b.until(what+" at "+at, `((a, b) => a.pathname === b.pathname && [...a.searchParams].sort().join() === [...b.searchParams].sort().join())(new URL(location.href), new URL(`+
		string(quoted)+`, location.href)) && document.readyState === "complete" && (`+is+`)`)
}

// TestCurl: what is copied as curl is a command that does what it says.
func TestCurl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("skipped: no curl, so nobody tries what is copied as curl")
	}
	h := newHouse(t, 2)
	h.create("orders", "billing", "it-s#ephemeral")
	h.publish(0, "orders", 3)
	h.answers(h.base+"/topics/orders", ">3<")
	b := open(t, h.base)
	for _, tt := range []struct{ at, says string }{
		{"/", `"troubles"`}, {"/topics?sort=name&q=ord", `"orders"`}, {"/topics/orders", `"billing"`}, {"/topics/orders/billing", `"billing"`},
		{"/topics/orders/it-s%23ephemeral", `"it-s#ephemeral"`}, {"/topics/orders/billing/messages", `"order\":0`}, {"/nodes", `"http_port"`},
		{"/nodes/" + h.qds[0].http, `"orders"`}, {"/search?q=bill", `"billing"`}, {"/audit", `"entries"`}, {"/settings", `"mem_limit"`}, {"/counter", "stats"},
	} {
		b.visit(tt.at)
		if out := b.curl(".api button[data-curl]"); !strings.Contains(out, tt.says) {
			t.Errorf("%s: what was copied says %.300s, want %s", tt.at, out, tt.says)
		}
	}

	b.visit("/do/publish?topic=orders")
	b.do(chromedp.SendKeys("textarea", `it's "one" & $more`))
	b.curl("form.do button[data-curl]")
	b.visit("/topics/orders")
	b.until("the message being there", cell("billing", "Depth")+` === "4"`)
	ids := h.settled("orders", "billing", "ready", 4)
	b.visit("/topics/orders/messages/" + ids[len(ids)-1])
	b.visit("/topics/orders/billing/messages")
	b.shows(`it's "one" & $more`)

	b.visit("/do/pause-channel?topic=orders&channel=billing")
	b.do(chromedp.SendKeys("#f-reason", "don't ship"), chromedp.SendKeys("#f-for", "5m"))
	b.curl("form.do button[data-curl]")
	b.visit("/topics/orders/billing")
	b.shows("don't ship")
	b.shows("It resumes by itself")
}

// curl runs what a button copies, and returns what that says.
func (b *tab) curl(button string) string {
	b.t.Helper()
	// Reading the clipboard would need a permission that people do not give either.
	b.eval(`window.copied = ""; Object.defineProperty(navigator.clipboard, "writeText", {value: async (text) => { window.copied = text; }, configurable: true}); 0`)
	b.do(chromedp.Click(button))
	b.until("copying", `window.copied`)
	command := b.eval(`window.copied`)
	out, err := exec.CommandContext(b.ctx, "sh", "-c", command+" --fail-with-body --max-time 60").CombinedOutput()
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// back goes back, as the browser's button does. What is there then is for the test to
// wait for: a page may be kept as it was, and never be loaded.
func (b *tab) back() {
	b.t.Helper()
	b.eval(`setTimeout(() => history.back())`)
}
