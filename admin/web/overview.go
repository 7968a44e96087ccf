package web

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/history"
)

// maxTroubles is how many troubles the first page lists before the charts, and allTroubles
// how many if all are asked for: who has more has one cause.
const (
	maxTroubles = 12
	allTroubles = 500
)

type overviewPage struct {
	*view
	Summary string
	Stats   []stat
	Rows    []fleet.Trouble
	More    int
	Charts  charts
	Waiting bool // there was no poll yet
}

func (u *UI) overview(v *view) (any, error) {
	v.Title, v.API = "What is wrong", "/api/overview"
	s := v.Snapshot
	p := overviewPage{view: v, Stats: u.stats(s.Totals, key{}), Charts: u.charts(v, key{}), Waiting: s.At.IsZero()}
	most := maxTroubles
	if v.Query.Get("troubles") == "all" {
		most = allTroubles
	}
	p.Rows = s.Troubles[:min(len(s.Troubles), most)]
	p.More = len(s.Troubles) - len(p.Rows)
	p.Summary = summary(s)
	return p, nil
}

// summary is the state of all in a line.
func summary(s *fleet.Snapshot) string {
	var n [fleet.Failure + 1]int
	for _, t := range s.Troubles {
		n[min(t.Severity, fleet.Failure)]++
	}
	var parts []string
	for _, c := range []struct {
		n    int
		noun string
	}{{n[fleet.Failure], "failure"}, {n[fleet.Warning], "warning"}, {n[fleet.Note], "note"}} {
		if c.n > 0 {
			parts = append(parts, plural(c.n, c.noun))
		}
	}
	up := 0
	for _, node := range s.Nodes {
		up += b2i(node.Up)
	}
	of := fmt.Sprintf("%s of %s up, %s", group(int64(up)), plural(len(s.Nodes), "node"), plural(len(s.Topics), "topic"))
	return strings.Join(append(parts, of), " · ")
}

// stat is a number with its name.
type stat struct {
	Name  string
	Value template.HTML
	Unit  string
	Spark template.HTML
}

// stats are the eight figures that everything has, each with its last hour.
func (u *UI) stats(f fleet.Figures, k key) []stat {
	return []stat{
		{"In", rate(f.In), "/s", u.spark(k, history.In)},
		{"Out", rate(f.Out), "/s", u.spark(k, history.Out)},
		{"Depth", num(f.Depth), "", u.spark(k, history.Depth)},
		{"In flight", num(f.InFlight), "", u.spark(k, history.InFlight)},
		{"Deferred", num(f.Deferred), "", u.spark(k, history.Deferred)},
		{"Dead", num(f.Dead), "", u.spark(k, history.Dead)},
		{"Requeued", rate(f.Requeue), "/s", u.spark(k, history.Requeue)},
		{"Timed out", rate(f.Timeout), "/s", u.spark(k, history.Timeout)},
	}
}
