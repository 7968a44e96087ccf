package web

import (
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// document checks what every page must be, whatever names and reasons it shows: of our
// own elements alone, with nothing inline, every id once, every field with a label,
// every table with a name and heads that say what they head. It returns the text.
func document(t testing.TB, page string) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatalf("not HTML: %v", err)
	}
	c := &checker{TB: t, ids: map[string]bool{}, labels: map[string]bool{}}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "label" && attr(n, "for") != "" {
			c.labels[attr(n, "for")] = true
		}
	}
	for n := range root.Descendants() {
		switch n.Type {
		case html.ElementNode:
			c.element(n)
		case html.TextNode:
			c.text.WriteString(n.Data + " ")
		}
	}
	for _, id := range c.wanted {
		if !c.ids[id] {
			t.Errorf("#%s is referred to, and is not there", id)
		}
	}
	if c.headings["h1"] != 1 {
		t.Errorf("%d headings of the first level, want one", c.headings["h1"])
	}
	return strings.Join(strings.Fields(c.text.String()), " ")
}

type checker struct {
	testing.TB
	ids, labels map[string]bool
	wanted      []string
	headings    map[string]int
	text        strings.Builder
}

// urls are attributes that lead somewhere, or load something.
var urls = []string{"href", "src", "action", "formaction"}

func (c *checker) element(n *html.Node) {
	c.Helper()
	for _, a := range n.Attr {
		if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
			c.Errorf("<%s %s=%.60q>: nothing is inline", n.Data, a.Key, a.Val)
		}
		for _, key := range urls {
			if a.Key == key && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") {
				c.Errorf("<%s %s=%.60q> leads away", n.Data, a.Key, a.Val)
			}
		}
		if a.Key == "aria-labelledby" || a.Key == "aria-describedby" || a.Key == "for" {
			c.wanted = append(c.wanted, strings.Fields(a.Val)...)
		}
	}
	if id := attr(n, "id"); id != "" {
		if c.ids[id] {
			c.Errorf("id %q is there twice", id)
		}
		c.ids[id] = true
	}
	c.kind(n)
}

func (c *checker) kind(n *html.Node) {
	c.Helper()
	switch n.Data {
	case "h1":
		if c.headings == nil {
			c.headings = map[string]int{}
		}
		c.headings["h1"]++
	case "script":
		if n.FirstChild != nil || !strings.Contains(attr(n, "src"), "/static/") {
			c.Errorf("a script that is not ours: %v", n.Attr)
		}
	case "style", "iframe", "object", "embed", "base", "img":
		c.Errorf("<%s> is on no page", n.Data)
	case "input", "select", "textarea":
		if attr(n, "type") != "hidden" && !c.labels[attr(n, "id")] && attr(n, "aria-label") == "" && !within(n, "label") {
			c.Errorf("<%s name=%q> has no label", n.Data, attr(n, "name"))
		}
	case "button", "a":
		if strings.TrimSpace(textOf(n)) == "" && attr(n, "aria-label") == "" {
			c.Errorf("<%s %v> says nothing", n.Data, n.Attr)
		}
	case "table":
		if first(n, "caption") == nil && attr(n, "aria-label") == "" {
			c.Errorf("a table has no caption: %.80q", textOf(n))
		}
	case "th":
		if attr(n, "scope") == "" {
			c.Errorf("<th>%.40s</th> does not say what it heads", textOf(n))
		}
	case "svg":
		if attr(n, "aria-hidden") != "true" && (attr(n, "role") != "img" || attr(n, "aria-label") == "") {
			c.Errorf("a drawing has no words: %v", n.Attr)
		}
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func within(n *html.Node, name string) bool {
	for p := range n.Ancestors() {
		if p.Data == name {
			return true
		}
	}
	return false
}

func first(n *html.Node, name string) *html.Node {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && d.Data == name {
			return d
		}
	}
	return nil
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}
