package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is how long anything may take to appear. It is long because the machine
// may be busy; nothing waits it out unless it fails.
const patience = 60 * time.Second

// tab is a tab of the browser with cookies of its own, and what it complains of.
type tab struct {
	t    *testing.T
	base string // of the admin, without a slash at its end
	ctx  context.Context

	mu       sync.Mutex
	problems []string // errors of scripts, and what the policy of contents refused
}

// open returns a tab, which is closed when the test ends. The test fails if a script
// had an error, or something was not loaded.
func open(t *testing.T, base string) *tab {
	t.Helper()
	ctx, stop := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext())
	b := &tab{t: t, base: base, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil { // binds the tab to its own context, which has no time limit
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			b.picture("failed-" + strings.ReplaceAll(t.Name(), "/", "-"))
		}
		stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			t.Errorf("the browser complains: %s", p)
		}
	})
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	b.size(1440, 900)
	return b
}

// listen is told what happens in the tab. It must not wait for the tab.
func (b *tab) listen(event any) {
	said := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		said = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			said += " " + e.ExceptionDetails.Exception.Description
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			said = fmt.Sprint(e.Entry.Text, " ", e.Entry.URL)
		}
	}
	if said != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, said)
	}
}

// expect takes back a complaint that is meant to be: one that contains text.
func (b *tab) expect(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.problems[:0]
	for _, p := range b.problems {
		if !strings.Contains(p, text) {
			kept = append(kept, p)
		}
	}
	b.problems = kept
}

// step is something that is done in a tab.
type step = chromedp.Action[chromedp.Void]

// do does what is asked, and fails the test if it cannot be done in time.
func (b *tab) do(what ...step) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, what...); err != nil {
		b.t.Fatalf("%v; the page is\n%s", err, b.excerpt())
	}
}

// excerpt is what the page shows, for messages.
func (b *tab) excerpt() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text[:min(len(text), 3000)]
}

// visit goes to a path of the admin.
func (b *tab) visit(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base+path), chromedp.WaitReady("main"))
}

// eval returns what a script says, as text if it is a string and as JSON if not.
func (b *tab) eval(script string) string {
	b.t.Helper()
	out, err := b.ask(script)
	if err != nil {
		b.t.Fatalf("%s: %v; the page is\n%s", script, err, b.excerpt())
	}
	return out
}

func (b *tab) ask(script string) (string, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[[]byte](script))
	if err != nil {
		return "", err
	}
	var text string
	if json.Unmarshal(out, &text) == nil {
		return text, nil
	}
	return string(out), nil
}

// text is what the page shows.
func (b *tab) text() string {
	b.t.Helper()
	return b.eval(`document.body.innerText`)
}

// until waits until a script says true, as it must of its own accord. A script that fails
// says false: the page is half there, or just being left for another.
func (b *tab) until(what, script string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		is, err := b.ask("!!(" + script + ")")
		if is == "true" {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: did not happen (%v); the page is\n%s", what, err, b.excerpt())
		}
		time.Sleep(50 * time.Millisecond) // a page has no event for this
	}
}

// shows waits until the page shows text.
func (b *tab) shows(text string) {
	b.t.Helper()
	quoted, _ := json.Marshal(text)
	b.until(fmt.Sprintf("showing %q", text), `document.body?.innerText.includes(`+string(quoted)+`)`)
}

// size makes the window so many pixels wide and high.
func (b *tab) size(width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
}

// scheme makes the system prefer light or dark.
func (b *tab) scheme(name string) {
	b.t.Helper()
	b.prefer("prefers-color-scheme", name)
}

// calm makes the system prefer that nothing moves.
func (b *tab) calm() {
	b.t.Helper()
	b.prefer("prefers-reduced-motion", "reduce")
}

func (b *tab) prefer(feature, value string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: feature, Value: value}}})
	if err != nil {
		b.t.Fatal(err)
	}
}

// picture writes what the window shows to the folder of screenshots.
func (b *tab) picture(name string) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Errorf("taking the picture %s: %v", name, err)
		return
	}
	dir := os.Getenv(screenshotsAre)
	if dir == "" {
		dir = folder
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Error(err)
	}
}

// axe has axe-core look at the page, and fails the test with what it finds.
func (b *tab) axe(page string) {
	b.t.Helper()
	b.findings(page, `{resultTypes: ["violations"]}`)
}

// contrast is axe for the colours alone: what another theme changes.
func (b *tab) contrast(page string) {
	b.t.Helper()
	b.findings(page, `{resultTypes: ["violations"], runOnly: {type: "rule", values: ["color-contrast", "link-in-text-block"]}}`)
}

// findings fails the test with what axe finds with the options.
func (b *tab) findings(page, options string) {
	b.t.Helper()
	file := os.Getenv(axeIs)
	if file == "" {
		return
	}
	script, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void]("window.axe ? 0 : (()=>{"+string(script)+";return 0})()")); err != nil {
		b.t.Fatal(err)
	}
	found, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](
		`axe.run(document, `+options+`).then(r => r.violations.map(v => v.id + ": " + v.help + " " +
			v.nodes.map(n => n.target + " " + n.failureSummary).join("; ")))`, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range found {
		b.t.Errorf("%s: %s", page, f)
	}
}
