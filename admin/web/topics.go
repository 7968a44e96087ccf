package web

import (
	"cmp"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// topicsPerPage is how many rows a page of topics has.
const topicsPerPage = 100

type topicsPage struct {
	*view
	Q, Show string
	Shows   []choice
	Columns []column
	Rows    []topicRow
	Pager   pager
	All     int      // topics, without the filter
	Bulk    []button // done to those that are chosen
	Create  []button
}

type topicRow struct {
	*fleet.Topic
	Worst *fleet.Trouble
	Trend template.HTML
}

// choice is one of several links of which one is current.
type choice struct {
	Name, URL string
	Current   bool
}

// column is a column that can be sorted by.
type column struct {
	Name, URL string
	Sort      string // aria-sort; empty: not by this one
	Left      bool   // text, not a number
}

// topicColumns are what the topics can be sorted by, as it is named in the URL. Numbers
// begin with the largest, names with the first.
var topicColumns = []struct {
	key, name string
	by        func(*fleet.Topic) float64
}{
	{"name", "Topic", nil},
	{"in", "In/s", func(t *fleet.Topic) float64 { return t.Total.In }},
	{"out", "Out/s", func(t *fleet.Topic) float64 { return t.Total.Out }},
	{"trend", "", nil},
	{"depth", "Depth", func(t *fleet.Topic) float64 { return float64(t.Total.Depth) }},
	{"flight", "In flight", func(t *fleet.Topic) float64 { return float64(t.Total.InFlight) }},
	{"deferred", "Deferred", func(t *fleet.Topic) float64 { return float64(t.Total.Deferred) }},
	{"dead", "Dead", func(t *fleet.Topic) float64 { return float64(t.Total.Dead) }},
	{"timeouts", "Timed out/s", func(t *fleet.Topic) float64 { return t.Total.Timeout }},
	{"consumers", "Consumers", func(t *fleet.Topic) float64 { return float64(t.Total.Clients) }},
	{"channels", "Channels", func(t *fleet.Topic) float64 { return float64(len(t.Channels)) }},
}

// shows are the filters beside the one by name.
var shows = []struct {
	key, name string
	keep      func(*fleet.Topic) bool
}{
	{"", "All", func(*fleet.Topic) bool { return true }},
	{"trouble", "In trouble", func(t *fleet.Topic) bool { return len(t.Troubles) > 0 }},
	{"backlog", "With a backlog", func(t *fleet.Topic) bool { return t.Total.Depth > 0 }},
	{"dead", "With dead", func(t *fleet.Topic) bool { return t.Total.Dead > 0 }},
	{"paused", "Paused", isPaused},
}

func isPaused(t *fleet.Topic) bool {
	return t.Paused || slices.ContainsFunc(t.Channels, func(c *fleet.Channel) bool { return c.Paused })
}

func (u *UI) topics(v *view) (any, error) {
	v.Title, v.API = "Topics", "/api/topics"
	p := topicsPage{view: v, Q: v.Query.Get("q"), Show: v.Query.Get("show"), All: len(v.Snapshot.Topics)}
	list := keepTopics(v.Snapshot.Topics, p.Q, p.Show)
	sortTopics(list, v.Query.Get("sort"))
	from, to := p.Pager.cut(v, len(list), topicsPerPage)
	for _, t := range list[from:to] {
		p.Rows = append(p.Rows, topicRow{t, worst(t.Troubles), u.trend(key{Topic: t.Name})})
	}
	for _, s := range shows {
		p.Shows = append(p.Shows, choice{s.name, u.Base + v.Self("show", s.key), s.key == p.Show})
	}
	p.Columns = u.topicHeads(v)
	p.Bulk = u.buttons(v, []string{"pause-topic", "unpause-topic", "empty-topic", "delete-topic"})
	p.Create = u.buttons(v, []string{"create-topic"})
	return p, nil
}

// keepTopics returns a new list of those that fit.
func keepTopics(all []*fleet.Topic, q, show string) []*fleet.Topic {
	q = strings.ToLower(strings.TrimSpace(q))
	keep := shows[0].keep
	for _, s := range shows {
		if s.key == show {
			keep = s.keep
		}
	}
	var list []*fleet.Topic
	for _, t := range all {
		if keep(t) && strings.Contains(strings.ToLower(t.Name), q) {
			list = append(list, t)
		}
	}
	return list
}

// sortTopics sorts by a column, with a minus before its name the other way round; by
// trouble if there is no such column.
func sortTopics(list []*fleet.Topic, by string) {
	name, reverse := strings.CutPrefix(by, "-")
	order := compareTrouble
	for _, c := range topicColumns {
		switch {
		case c.key != name:
		case c.by != nil:
			order = func(a, b *fleet.Topic) int { return cmp.Compare(known(c.by(b)), known(c.by(a))) }
		case name == "name":
			order = func(a, b *fleet.Topic) int { return strings.Compare(a.Name, b.Name) }
		}
	}
	slices.SortStableFunc(list, func(a, b *fleet.Topic) int {
		n := order(a, b)
		if reverse {
			n = -n
		}
		return cmp.Or(n, strings.Compare(a.Name, b.Name))
	})
}

// known puts what is not known behind all that is.
func known(f float64) float64 {
	if math.IsNaN(f) {
		return -1
	}
	return f
}

// compareTrouble puts the worst first: by the worst trouble, how many there are, and
// how much lies there.
func compareTrouble(a, b *fleet.Topic) int {
	return cmp.Or(
		cmp.Compare(gravity(b.Troubles), gravity(a.Troubles)), cmp.Compare(len(b.Troubles), len(a.Troubles)),
		cmp.Compare(b.Total.Depth, a.Total.Depth),
	)
}

func gravity(troubles []fleet.Trouble) fleet.Severity {
	if t := worst(troubles); t != nil {
		return t.Severity
	}
	return 0
}

func (u *UI) topicHeads(v *view) []column {
	now := v.Query.Get("sort")
	var heads []column
	for _, c := range topicColumns {
		h := column{Name: c.name, Left: c.key == "name"}
		if c.key != "trend" {
			h.URL = u.Base + v.Self("sort", c.key)
		}
		falling := c.by != nil // as a column is when it is first chosen
		switch now {
		case c.key:
			h.Sort, h.URL = direction(falling), u.Base+v.Self("sort", "-"+c.key)
		case "-" + c.key:
			h.Sort, h.URL = direction(!falling), u.Base+v.Self("sort", "")
		}
		heads = append(heads, h)
	}
	return heads
}

func direction(falling bool) string {
	if falling {
		return "descending"
	}
	return "ascending"
}

// pager says which part of a list is shown, and where the others are.
type pager struct {
	From, To, Of int // From counts from 1; 0: there is nothing
	Before, Next string
}

// cut returns the part of a list of n that the page in the URL shows, and remembers it.
func (p *pager) cut(v *view, n, perPage int) (from, to int) {
	last := max(0, (n-1)/perPage)
	number, _ := strconv.Atoi(v.Query.Get("page")) // nonsense is the first page
	number = min(max(number-1, 0), last)
	from, to = number*perPage, min(n, (number+1)*perPage)
	p.Of = n
	if n > 0 {
		p.From, p.To = from+1, to
	}
	if number > 0 {
		p.Before = v.Page(number)
	}
	if number < last {
		p.Next = v.Page(number + 2)
	}
	return from, to
}

// Page is this page with another part of its list, counted from 1.
func (v *view) Page(number int) string {
	self := v.Self("", "")
	if number <= 1 {
		return self
	}
	sep := "?"
	if strings.Contains(self, "?") {
		sep = "&"
	}
	return self + sep + "page=" + strconv.Itoa(number)
}
