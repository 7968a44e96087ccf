package browser

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// sight is a page, and what it shows once it is there.
type sight struct{ name, path, shows string }

// sights are all pages: full ones, empty ones, and those that say no.
func sights(h *house) []sight {
	dead := h.settled("payments", "ledger", "dead", 12)
	held := h.settled("images", "resize", "in_flight", 10)
	node := h.qds[0].http
	return []sight{
		{"overview", "/", "What is wrong"},
		{"topics", "/topics", longest},
		{"topics-none", "/topics?q=nothing-is-called-so", "No topic fits"},
		{"topic", "/topics/orders", "shipping"},
		{"topic-long", "/topics/" + longest, "forklifts-at-night"},
		{"topic-unread", "/topics/returns", "No channel yet"},
		{"channel", "/topics/orders/billing", "billing-1"},
		{"channel-paused", "/topics/orders/shipping", "the carrier has an outage"},
		{"channel-dead", "/topics/payments/ledger", "ledger-1"},
		{"channel-busy", "/topics/images/resize", "resize-1"},
		{"messages", "/topics/orders/shipping/messages", "A-1000"},
		{"messages-dead", "/topics/payments/ledger/messages?state=dead", "p-88"},
		{"messages-deferred", "/topics/emails/sender/messages?state=deferred", "A-1000"},
		{"messages-held", "/topics/images/resize/messages?state=in_flight", "resize-1"},
		{"messages-none", "/topics/stock/warehouse/messages", "No message of this channel is ready"},
		{"message-dead", "/topics/payments/messages/" + dead[0], "dead"},
		{"message-held", "/topics/images/messages/" + held[0], "held by"},
		{"message-gone", "/topics/orders/messages/0000000000000000", "Not found"},
		{"nodes", "/nodes", node},
		{"node", "/nodes/" + node, node},
		{"lookup", "/lookup", h.lookup.http},
		{"search", "/search?q=ship", "shipping"},
		{"search-none", "/search?q=nothing-is-called-so", "nothing-is-called-so"},
		{"audit", "/audit", "Pause channel"},
		{"audit-entry", "/audit/1", "the carrier has an outage"},
		{"settings", "/settings", "mem_limit"},
		{"counter", "/counter", "messages were published"},
		{"sign-in", "/sign-in", "Sign in"},
		{"do-publish", "/do/publish?topic=orders", "Body"},
		{"do-pause", "/do/pause-channel?topic=orders&channel=billing", "Reason"},
		{"do-delete", "/do/delete-topic?topic=orders", "to say that you mean it"},
		{"do-policy", "/do/topic-policy?topic=orders", "Durability"},
		{"not-found", "/topics/nobody-has-this", "No node has a topic"},
	}
}

// TestPages looks at every page in both themes, wide and narrow: axe finds nothing,
// nothing but a table in its own scroller goes sideways, and the browser complains of
// nothing. A picture of each is for people.
func TestPages(t *testing.T) {
	h := newShop(t)
	all := sights(h)
	for _, width := range []struct {
		name        string
		wide, high  int64
		more, again string
	}{{"wide", 1440, 900, "", "-dark"}, {"narrow", 390, 844, "-narrow", "-narrow-dark"}} {
		t.Run(width.name, func(t *testing.T) {
			t.Parallel()
			b := open(t, h.base)
			b.size(width.wide, width.high)
			for _, s := range all {
				b.scheme("light")
				b.visit(s.path)
				b.shows(s.shows)
				b.drawn()
				b.axe(s.path)
				b.sideways(s.path)
				b.page(s.name + width.more)
				b.scheme("dark")
				b.contrast(s.path)
				b.page(s.name + width.again)
				b.expect("status of 404") // which some of them are meant to have
			}
		})
	}
}

// drawn waits until charts are, which come last.
func (b *tab) drawn() {
	b.t.Helper()
	b.until("drawing the charts", `[...document.querySelectorAll("figure[data-series]")].every(f => f.hasAttribute("data-js-drawn"))`)
}

// sideways fails the test if the page is wider than the window, or something on it is cut
// off at its edge that nobody can scroll to. Where there is room, tables have to fit.
func (b *tab) sideways(page string) {
	b.t.Helper()
	out := b.eval(`(() => {
		const wide = document.documentElement.clientWidth, out = [];
		if (document.documentElement.scrollWidth > wide) out.push("the page has " + document.documentElement.scrollWidth + " pixels of " + wide);
		for (const e of document.body.querySelectorAll("*")) {
			const r = e.getBoundingClientRect();
			if (!r.width || !r.height || r.right <= wide + 1 && r.left >= -1 || getComputedStyle(e).visibility === "hidden") continue;
			let p = e;
			while (p && !/auto|scroll|hidden|clip/.test(getComputedStyle(p).overflowX) && !p.closest(".hidden, .skip, svg")) p = p.parentElement;
			if (p && wide >= 1400 && p.matches(".table")) out.push("a table has to be scrolled");
			if (!p) out.push(e.tagName + "." + e.className + " " + Math.round(r.left) + " to " + Math.round(r.right) + ": " + e.textContent.slice(0, 60));
		}
		return out.slice(0, 5).join("\n");
	})()`)
	if out != "" {
		b.t.Errorf("%s is too wide:\n%s", page, out)
	}
}

// page writes a picture of the whole page, however long it is.
func (b *tab) page(name string) {
	b.t.Helper()
	if os.Getenv(screenshotsAre) == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(os.Getenv(screenshotsAre), name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
