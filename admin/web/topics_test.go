package web

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/signin"
)

// listed are the names of topics on a page, in its order.
func listed(t *testing.T, u *UI, at string) []string {
	t.Helper()
	var names []string
	for _, part := range strings.Split(get(u, signin.Viewer, at).Body.String(), `data-id="t-`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		names = append(names, name)
	}
	return names
}

func TestTopicsAreSortedByTrouble(t *testing.T) {
	trouble := func(name string, depth int64, s ...fleet.Severity) *fleet.Topic {
		topic := &fleet.Topic{Name: name, Total: fleet.Figures{Depth: depth}}
		for _, severity := range s {
			topic.Troubles = append(topic.Troubles, fleet.Trouble{Severity: severity, Reason: "because"})
		}
		return topic
	}
	s := &fleet.Snapshot{At: noon, Topics: []*fleet.Topic{
		trouble("a-quiet", 0), trouble("b-note", 5, fleet.Note), trouble("c-deep", 900), trouble("d-failure", 1, fleet.Failure),
		trouble("e-two-failures", 1, fleet.Failure, fleet.Failure), trouble("f-warning", 10_000, fleet.Warning), trouble("g-failure", 2, fleet.Failure),
	}}
	tests := []struct{ at, want string }{
		{"/topics", "e-two-failures g-failure d-failure f-warning b-note c-deep a-quiet"},
		{"/topics?sort=depth", "f-warning c-deep b-note g-failure d-failure e-two-failures a-quiet"},
		{"/topics?sort=-depth", "a-quiet d-failure e-two-failures g-failure b-note c-deep f-warning"},
		{"/topics?sort=name", "a-quiet b-note c-deep d-failure e-two-failures f-warning g-failure"},
		{"/topics?sort=-name", "g-failure f-warning e-two-failures d-failure c-deep b-note a-quiet"},
		{"/topics?sort=trend", "e-two-failures g-failure d-failure f-warning b-note c-deep a-quiet"},
		{"/topics?q=FAILURE", "e-two-failures g-failure d-failure"},
		{"/topics?show=trouble&sort=name", "b-note d-failure e-two-failures f-warning g-failure"},
		{"/topics?show=backlog&q=quiet", ""},
	}
	u := newUI(t, Settings{}, s)
	for _, tt := range tests {
		if got := strings.Join(listed(t, u, tt.at), " "); got != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.at, got, tt.want)
		}
	}
}

func TestTopicsAreSortedForAll(t *testing.T) {
	page := get(newUI(t, Settings{Base: "/mq"}, fleetOf(1, 3)), signin.Viewer, "/topics?sort=depth&q=orders").Body.String()
	for _, want := range []string{
		`<th scope="col" class="n" aria-sort="descending"><a href="/mq/topics?q=orders&amp;sort=-depth">`, `<a href="/mq/topics?q=orders&amp;sort=name">`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if n := strings.Count(page, "aria-sort="); n != 1 {
		t.Errorf("%d columns say that they are sorted by", n)
	}
}

func TestTopicsArePaged(t *testing.T) {
	u := newUI(t, Settings{}, fleetOf(1, 250))
	tests := []struct {
		page         string
		n            int
		first        string
		before, next bool
	}{
		{"", 100, "orders.00000", false, true},
		{"2", 100, "orders.00100", true, true},
		{"3", 50, "orders.00200", true, false},
		{"4", 50, "orders.00200", true, false},
		{"-1", 100, "orders.00000", false, true},
		{"x", 100, "orders.00000", false, true},
		{"99999999999999999999", 50, "orders.00200", true, false},
	}
	for _, tt := range tests {
		at := "/topics?sort=name&page=" + tt.page
		names := listed(t, u, at)
		page := get(u, signin.Viewer, at).Body.String()
		if len(names) != tt.n || names[0] != tt.first || strings.Contains(page, `rel="prev"`) != tt.before || strings.Contains(page, `rel="next"`) != tt.next {
			t.Errorf("page %q: %d topics from %s on", tt.page, len(names), names[0])
		}
	}
}

// A page of topics has as many bytes however many topics there are.
func TestTopicsPageIsBounded(t *testing.T) {
	u := newUI(t, Settings{}, fleetOf(3, 10_000))
	if n := get(u, signin.Admin, "/topics").Body.Len(); n > 300_000 {
		t.Errorf("the page has %d bytes", n)
	}
}

func TestPaletteFinds(t *testing.T) {
	u := newUI(t, Settings{Base: "/mq"}, fleetOf(2, 20))
	for q, want := range map[string]string{
		"00007": "/mq/topics/orders.00007", "queue-01": "/mq/nodes/queue-01.internal:4151", "00003/bill": "/mq/topics/orders.00003/billing", "": "/mq/topics/orders.00003/archive",
	} {
		w := get(u, signin.Viewer, "/find?q="+url.QueryEscape(q))
		if !strings.HasPrefix(w.Body.String(), "[") || !strings.Contains(w.Body.String(), fmt.Sprintf(`"url":%q`, want)) {
			t.Errorf("%q: %s", q, w.Body)
		}
	}
}
