package web

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// share is how much of something is used, or done, from 0 to 1.
type share struct {
	Name string
	Part float64
	Text string
	Done bool // the more the better
}

// diskUsed is how full a node's disk is; nil if the node does not tell.
func diskUsed(n *fleet.Node) *share {
	if n.DiskSize == 0 || n.DiskFree > n.DiskSize {
		return nil
	}
	return &share{
		Name: "disk", Part: 1 - float64(n.DiskFree)/float64(n.DiskSize),
		Text: sizeText(whole(n.DiskFree)) + " of " + sizeText(whole(n.DiskSize)) + " free",
	}
}

// meter draws a share as a bar, with its words for those who do not see it.
func meter(s *share) template.HTML {
	level := "ok"
	switch {
	case s.Done:
	case s.Part >= 0.95:
		level = "failure"
	case s.Part >= 0.85:
		level = "warning"
	}
	// #nosec G203 -- numbers and words of ours; text is escaped
	return template.HTML(fmt.Sprintf(
		`<svg class="meter %s" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label="%s"><title>%[2]s</title><path class="all" d="M0 2H100"/><path d="M0 2H%.1f"/></svg>`,
		level, template.HTMLEscapeString(s.Name+": "+s.Text), min(max(s.Part, 0), 1)*100))
}

// coordinate is a number with one digit behind the point, if that says anything.
func coordinate(f float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0")
}
