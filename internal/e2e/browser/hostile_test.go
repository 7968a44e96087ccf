package browser

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

// evil is HTML that sets window.evil, if it is taken for HTML anywhere.
const evil = `"'><script>window.evil=1</script><img src=x onerror="window.evil=1"><svg onload=window.evil=1></textarea></pre></main>`

// harmless fails the test if something of what was published has run, or has become a
// part of the page.
func (b *tab) harmless() {
	b.t.Helper()
	if b.eval(`window.evil === undefined && !document.querySelector("main script, main img, main iframe, main [onerror], main [onload]")`) != "true" {
		b.t.Errorf("what somebody published is a part of the page: %.2000s", b.eval(`document.querySelector("main").innerHTML`))
	}
}

// TestOddNames: topics and channels of all names that NSQ allows have pages, which links
// lead to.
func TestOddNames(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	names := []string{
		".", "..", "-", "0", "A", "a", "x#ephemeral", "..#ephemeral", strings.Repeat("w", 64), strings.Repeat("1.", 27) + "#ephemeral", "messages",
	}
	channels := func(name string) []string {
		if name == "messages" || name == ".." {
			return []string{"..", "messages", "x#ephemeral", longest}
		}
		return []string{name}
	}
	for _, name := range names {
		h.post(0, "/topic/create", "", "topic", name)
		for _, channel := range channels(name) {
			h.post(0, "/channel/create", "", "topic", name, "channel", channel)
		}
		h.publish(0, name, 1)
	}
	h.answers(h.base+"/topics", fmt.Sprintf("%d topics", len(names)))
	b := open(t, h.base)
	b.size(390, 844)
	for _, name := range names {
		b.visit("/topics")
		b.until("the list being whole", fmt.Sprintf(`document.querySelectorAll("tbody tr").length === %d`, len(names)))
		b.row(name)
		b.until("the page of the topic "+name, heading(name))
		b.sideways("the topic " + name)
		for _, channel := range channels(name) {
			b.row(channel)
			b.until("the page of the channel "+name+" / "+channel, heading(channel)+` && document.querySelector(".states")`)
			b.back()
			b.until("the page of the topic "+name, heading(name))
		}
	}
	b.row("messages")
	b.until("the page of the channel", heading("messages"))
	b.do(chromedp.Click(`//nav[@class="states"]//a[contains(., "Ready")]`))
	b.shows(`"order":0`)
	b.do(chromedp.Click("tbody th a"))
	b.until("the page of the message", `document.querySelector("h1")?.textContent.startsWith("Message ")`)
	b.shows(`"order"`)
	b.visit("/topics")
	b.axe("odd names")
	b.page("topics-odd-narrow")
}

// row clicks the link of a row of a list.
func (b *tab) row(name string) {
	b.t.Helper()
	b.until("clicking "+name, fmt.Sprintf(`(a => a && (a.click(), true))([...document.querySelectorAll("tbody th a")].find(a => a.textContent === %q))`, name))
}

// heading is a script that says whether the page is that of a name, and is there.
func heading(name string) string {
	return fmt.Sprintf(`document.readyState === "complete" && document.querySelector("h1")?.textContent === %q`, name)
}

// TestHostileBodies: whatever was published is shown as text.
func TestHostileBodies(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	large := strings.Repeat("0123456789abcdef", 1<<16-1) // just below 1 MiB
	bodies := []struct{ name, body, shows string }{
		{"html", evil, `<script>window.evil=1</script>`},
		{"json", `{"big":9007199254740993,"html":"` + `<img src=x onerror='window.evil=1'>` + `"}`, `9007199254740993`},
		{"deep", strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "[["},
		{"bidi", strings.Repeat("common words ", 10) + "left \u202eright\u202c \u2066isolated\u2069", "left ⟦U+202E⟧right"},
		{"invalid", "ok \xff\xfe\xc3\x28 end", "ok"},
		{"binary", string(binary), "20 21 22 23"},
		{"large", large, "0123456789abcdef0123"},
		{"lines", "a\r\nb\rc\n\n\nd", "a"},
		{"long-line", strings.Repeat("w", 3000), "wwwwwwwwww"},
	}
	for _, s := range bodies {
		h.create(s.name, "all")
		h.post(0, "/pub", s.body, "topic", s.name)
	}
	b := open(t, h.base)
	for _, width := range []int64{1440, 390} {
		b.size(width, 844)
		for _, s := range bodies {
			id := h.settled(s.name, "all", "ready", 1)[0]
			b.visit("/topics/" + s.name + "/all/messages")
			b.do(chromedp.Click("tr.body summary"))
			b.until("the body being open", `document.querySelector("tr.body pre").offsetParent`)
			b.shows(s.shows)
			b.harmless()
			b.sideways(s.name + " in the list")
			for _, as := range []string{"", "text", "json", "hex"} {
				b.visit("/topics/" + s.name + "/messages/" + id + "?as=" + as)
				if as == "" {
					b.shows(s.shows)
					b.page("body-" + s.name + fmt.Sprint("-", width))
				}
				b.harmless()
				b.sideways(s.name + " as " + as)
			}
		}
	}
	b.axe("a hostile body")

	// Downloaded, it is what was published, and nothing that a browser runs.
	id := h.settled("large", "all", "ready", 1)[0]
	r, err := http.Get(h.base + "/topics/large/messages/" + id + "/raw")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, []byte(large)) {
		t.Errorf("%d bytes were downloaded (%v), want the %d that were published", len(got), err, len(large))
	}
	if kind := r.Header.Get("Content-Type"); kind != "application/octet-stream" {
		t.Errorf("it is downloaded as %s", kind)
	}
}

// TestHostileWords: names of clients, reasons, and what people search for are text, too.
func TestHostileWords(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1)
	h.create("orders", "billing")
	h.act(fmt.Sprintf(`{"action":"pause-channel","targets":[{"topic":"orders","channel":"billing"}],"args":{"reason":%q}}`, evil))
	h.consume("orders", "billing", evil, func(context.Context, *millrace.Message) error { return nil })
	h.answers(h.base+"/topics/orders/billing", "shop.internal")
	b := open(t, h.base)
	for _, at := range []string{
		"/topics/orders/billing", "/topics/orders", "/topics", "/", "/nodes/" + h.qds[0].http, "/audit", "/audit/1", "/search?q=script",
		"/search?q=" + url.QueryEscape(evil), "/topics?q=" + url.QueryEscape(evil), "/topics?sort=" + url.QueryEscape(evil) + "&page=" + url.QueryEscape(evil),
		"/topics/" + url.PathEscape(evil), "/topics/orders/" + url.PathEscape(evil), "/topics/orders/billing/messages?state=" + url.QueryEscape(evil),
		"/topics/orders/billing/messages?after=" + url.QueryEscape(evil), "/topics/orders/messages/" + url.PathEscape(evil), "/nodes/" + url.PathEscape(evil),
		"/audit?who=" + url.QueryEscape(evil), "/settings?node=" + url.QueryEscape(evil), "/do/" + url.PathEscape(evil),
		"/do/publish?topic=" + url.QueryEscape(evil), "/topics/orders?range=" + url.QueryEscape(evil) + "&node=" + url.QueryEscape(evil),
	} {
		b.visit(at)
		b.harmless()
		b.sideways(at)
		b.expect("status of 4") // some of them are not there, or make no sense
	}
	b.visit("/topics/orders/billing")
	b.shows(`<script>window.evil=1</script>`)
	b.axe("hostile words")
	b.page("channel-hostile")
	b.visit("/")
	b.press("k", chromedp.KeyModifiers(chromedp.ModifierCtrl))
	b.until("the palette being open", `document.querySelector("#palette")?.open`)
	b.do(chromedp.SendKeys("#palette input", `<img src=x onerror=window.evil=1>`))
	b.shows("everywhere")
	b.harmless()
	if b.eval(`!document.querySelector("#palette img")`) != "true" {
		t.Error("the palette takes what is typed for HTML")
	}
}
