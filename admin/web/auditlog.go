package web

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/millrace-mq/millrace/admin/audit"
)

// AuditLog remembers what was done; *audit.Log is one.
type AuditLog interface {
	Get(number uint64) (audit.Entry, bool)
	List(audit.Filter) []audit.Entry
	// Changed is closed when the entry does, or, for 0, when any does; nil if it has ended.
	Changed(number uint64) <-chan struct{}
}

const auditEntries = 50 // of a page

// auditPage is the audit log, the latest first.
type auditPage struct {
	*view
	Wanted   audit.Filter
	Filtered bool
	Rows     []auditRow
	Older    string // where older entries are; empty: there are none
}

// auditRow is an entry, and how it ended in a few words.
type auditRow struct {
	audit.Entry
	outcome
}

// outcome is how an action ended.
type outcome struct {
	Badge string // ok, failure, warning, note
	Word  string
	OK    int
	Bad   int
	Count int64 // messages concerned
}

func (u *UI) audit(v *view) (any, error) {
	v.Title = "Audit"
	p := auditPage{view: v, Wanted: audit.Filter{
		Who: v.Query.Get("who"), Action: v.Query.Get("action"), Topic: v.Query.Get("topic"), Text: v.Query.Get("q"), Limit: auditEntries + 1,
	}}
	v.API = u.path("/api/audit", "?who", p.Wanted.Who, "action", p.Wanted.Action, "topic", p.Wanted.Topic, "text", p.Wanted.Text, "before", v.Query.Get("before"))
	p.Filtered = p.Wanted.Who != "" || p.Wanted.Action != "" || p.Wanted.Topic != "" || p.Wanted.Text != ""
	p.Wanted.Before, _ = strconv.ParseUint(v.Query.Get("before"), 10, 64)
	if u.Audit == nil {
		return p, nil
	}
	if p.Wanted.Before == 0 { // older pages do not change
		v.wake = u.Audit.Changed(0)
	}
	entries := u.Audit.List(p.Wanted)
	if len(entries) > auditEntries {
		entries = entries[:auditEntries]
		p.Older = p.older(entries[auditEntries-1].Number)
	}
	for _, e := range entries {
		p.Rows = append(p.Rows, auditRow{e, outcomeOf(e)})
	}
	return p, nil
}

// older is the page's address with the entries before a number.
func (p *auditPage) older(number uint64) string {
	q := url.Values{}
	for key, value := range map[string]string{"who": p.Wanted.Who, "action": p.Wanted.Action, "topic": p.Wanted.Topic, "q": p.Wanted.Text} {
		if value != "" {
			q.Set(key, value)
		}
	}
	q.Set("before", strconv.FormatUint(number, 10))
	return withQuery("/audit", q)
}

// entryPage is one entry: what each node answered. It is live while the action runs.
type entryPage struct {
	*view
	Entry   auditRow
	Results []audit.Result // what failed first; at most entryResults
	More    int            // that are not shown
	Running bool
}

// entryResults is how many results are listed.
const entryResults = 1000

func (u *UI) auditEntry(v *view) (any, error) {
	number, err := strconv.ParseUint(v.Param("number"), 10, 64)
	if err != nil || u.Audit == nil {
		return nil, notFound("There is no entry %s in the audit log.", v.Param("number"))
	}
	wake := u.Audit.Changed(number) // before Get, or what happens in between is missed
	e, ok := u.Audit.Get(number)
	if !ok {
		return nil, notFound("Entry %s of the audit log is not there, or not any more: the newest are kept in memory, the rest is in the audit file if one is written.", strconv.FormatUint(number, 10))
	}
	v.wake = wake
	v.Title = actionWord(e.Action)
	v.Crumbs, v.API = []crumb{{"Audit", "/audit"}}, u.path("/api/audit", "?number", strconv.FormatUint(number, 10))
	p := entryPage{view: v, Entry: auditRow{e, outcomeOf(e)}, Running: !e.Done, Results: slices.Clone(e.Results)}
	slices.SortStableFunc(p.Results, func(a, b audit.Result) int { return b2i(a.OK) - b2i(b.OK) })
	p.More = max(0, len(p.Results)-entryResults)
	p.Results = p.Results[:len(p.Results)-p.More]
	return p, nil
}

// outcomeOf sums up what the nodes have answered.
func outcomeOf(e audit.Entry) (o outcome) {
	for _, r := range e.Results {
		if r.OK {
			o.OK++
		} else {
			o.Bad++
		}
		o.Count += r.Count
	}
	switch {
	case e.Refused != "":
		o.Badge, o.Word = "note", "refused"
	case !e.Done:
		o.Badge, o.Word = "note", "running"
	case o.Bad > 0 && o.OK > 0:
		o.Badge, o.Word = "warning", "failed in part"
	case o.Bad > 0:
		o.Badge, o.Word = "failure", "failed"
	default:
		o.Badge, o.Word = "ok", "done"
	}
	return o
}
