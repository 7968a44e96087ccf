package web

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/signin"
)

// page is something to look at.
type page struct {
	path string // its parts in braces are any one segment
	name string // of its template
	nav  string // which entry of the menu it belongs to
	role signin.Role
	show func(*UI, *view) (any, error)

	// still is set for what asks daemons at each look, and for what depends on more than
	// pages may that are shared: it stays as it was asked for, until somebody loads it again.
	still bool

	segments []string
	template *template.Template
}

// view is one look at a page. Fields of the first group are given to show, those of
// the second are set by it.
type view struct {
	Who      signin.Who
	Snapshot *fleet.Snapshot
	Now      time.Time
	Query    url.Values
	Path     string // escaped, without the base path
	ReadOnly bool

	Title  string  // of the window, and of the page unless it has its own
	Crumbs []crumb // the way to here, without this page itself
	API    string  // path of the same data below the base path, for "copy as curl"

	// wake, if it is not nil, is closed when the page has changed between two snapshots.
	wake <-chan struct{}

	ctx       context.Context
	complaint *complaint // of a form that came back; nil: none
	params    map[string]string
	nav       string
}

// crumb is a page above this one.
type crumb struct{ Name, URL string }

// Param is the part of the path that the page's path has in braces, unescaped.
func (v *view) Param(name string) string { return v.params[name] }

// Context ends when nobody waits for the page any more.
func (v *view) Context() context.Context { return v.ctx }

// Is says whether the viewer has a role, or a higher one.
func (v *view) Is(role string) bool {
	return v.Who.Role.String() == role || v.Who.Role >= roleNamed(role)
}

func roleNamed(name string) signin.Role {
	for _, r := range []signin.Role{signin.Viewer, signin.Operator, signin.Admin} {
		if r.String() == name {
			return r
		}
	}
	return signin.Admin + 1
}

// Self is this page with an argument changed, or left out if value is empty. Whatever
// it is, the list begins at its first page again.
func (v *view) Self(key, value string) string {
	q := url.Values{}
	for k, values := range v.Query {
		if k != key && k != "page" && k != "after" && k != "before" {
			q[k] = values
		}
	}
	if value != "" {
		q.Set(key, value)
	}
	return withQuery(v.Path, q)
}

func withQuery(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// match finds the page at an escaped path, and the parts of it that are in braces. The
// first page that fits is it.
func (u *UI) match(escaped string) (*page, map[string]string) {
	parts := strings.Split(strings.Trim(escaped, "/"), "/")
	for i := range u.pages {
		if params, ok := u.pages[i].matches(parts); ok {
			return &u.pages[i], params
		}
	}
	return nil, nil
}

func (p *page) matches(parts []string) (map[string]string, bool) {
	if len(parts) != len(p.segments) {
		return nil, false
	}
	params := map[string]string{}
	for i, want := range p.segments {
		name, isParam := strings.CutPrefix(want, "{")
		switch {
		case isParam:
			value, err := url.PathUnescape(parts[i])
			if err != nil || value == "" {
				return nil, false
			}
			params[strings.TrimSuffix(name, "}")] = unsegment(value)
		case parts[i] != want:
			return nil, false
		}
	}
	return params, true
}

// segment is a name as a part of a path. Browsers and proxies take "." and "..",
// escaped or not, for steps, though both are valid names of topics; so those get a
// tilde before them, as does what begins with one.
func segment(name string) string {
	if name == "" || name == "." || name == ".." || name[0] == '~' {
		name = "~" + name
	}
	return url.PathEscape(name)
}

func unsegment(s string) string { return strings.TrimPrefix(s, "~") }

// problem is an error that is a page.
type problem struct {
	status   int
	Title    string
	Sentence string
}

func (p *problem) Error() string { return p.Title + ": " + p.Sentence }

func notFound(format string, args ...any) error {
	return &problem{http.StatusNotFound, "Not found", fmt.Sprintf(format, args...)}
}

func forbidden(format string, args ...any) error {
	return &problem{http.StatusForbidden, "Not allowed", fmt.Sprintf(format, args...)}
}

// errNotYet is said of what may be there, for all that is known so far.
var errNotYet = &problem{http.StatusServiceUnavailable, "Not known yet", "No daemon has been asked yet. This page fills by itself in a few seconds."}

// rendered is a page without what is around it.
type rendered struct {
	status int
	view   *view
	main   []byte
	once   bool // it answers a form, or nothing is at its address: there is nothing to look at again
}

// render makes the inside of <main> for a path and query. Both the first load and the
// stream of events come here, so what a browser morphs in is what it would have got.
// An error is rendered too: it never fails.
func (u *UI) render(ctx context.Context, who signin.Who, s *fleet.Snapshot, target *url.URL) rendered {
	return u.renderWith(ctx, who, s, target, nil)
}

func (u *UI) renderWith(ctx context.Context, who signin.Who, s *fleet.Snapshot, target *url.URL, c *complaint) rendered {
	v := &view{
		Who: who, Snapshot: s, Now: u.now(), Query: target.Query(), Path: target.EscapedPath(),
		ReadOnly: u.ReadOnly, ctx: ctx, complaint: c,
	}
	p, params := u.match(v.Path)
	if p == nil {
		lost := u.problemPage(v, notFound("There is no page at this address."))
		lost.once = true
		return lost
	}
	v.params, v.nav = params, p.nav
	if who.Role < p.role {
		return u.problemPage(v, forbidden("This page is for the role %s, and you are %s.", p.role, who.Role))
	}
	data, err := p.show(u, v)
	if err != nil {
		return u.problemPage(v, err)
	}
	var main bytes.Buffer
	if err := p.template.ExecuteTemplate(&main, "main", data); err != nil {
		return u.problemPage(v, fmt.Errorf("rendering %s: %w", p.name, err))
	}
	return rendered{status: http.StatusOK, view: v, main: main.Bytes()}
}

// problemPage says what is wrong. What is no problem made here is not told to a
// browser but in the log.
func (u *UI) problemPage(v *view, err error) rendered {
	p, known := errors.AsType[*problem](err)
	if !known {
		u.log.Error("a page cannot be shown", "path", v.Path, "error", err)
		p = &problem{http.StatusInternalServerError, "This page cannot be shown", "The reason is in the admin's log."}
	}
	v.Title = p.Title
	var main bytes.Buffer
	if err := u.shared.ExecuteTemplate(&main, "problem", p); err != nil {
		u.log.Error("a page cannot be shown", "path", v.Path, "error", err)
	}
	return rendered{status: p.status, view: v, main: main.Bytes()}
}

func (u *UI) servePage(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		u.fail(w, r, &problem{http.StatusMethodNotAllowed, "Not possible", "This address can only be read."})
		return
	}
	who := signin.FromContext(r.Context())
	if p, _ := u.match(r.URL.EscapedPath()); p != nil && p.role > signin.Nobody && who.Role == signin.Nobody && u.SignIn {
		// #nosec G710 -- to the page for signing in, with what was asked for as its query
		http.Redirect(w, r, u.url("/sign-in", "?back", withQuery(r.URL.EscapedPath(), r.URL.Query())), http.StatusSeeOther)
		return
	}
	u.write(w, r, u.render(r.Context(), who, u.Source.Latest(), r.URL))
}

// fail answers with a page that says what is wrong.
func (u *UI) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := u.problemPage(u.plainView(r), err)
	p.once = true
	u.write(w, r, p)
}

// plainView is a look at nothing that has an address.
func (u *UI) plainView(r *http.Request) *view {
	return &view{
		Who: signin.FromContext(r.Context()), Snapshot: u.Source.Latest(), Now: u.now(), Query: url.Values{},
		Path: "/", ReadOnly: u.ReadOnly, ctx: r.Context(),
	}
}

// write sends a rendered page with all that is around it.
func (u *UI) write(w http.ResponseWriter, r *http.Request, p rendered) {
	var out bytes.Buffer
	if err := u.shared.ExecuteTemplate(&out, "layout", u.frame(r, p)); err != nil {
		u.log.Error("a page cannot be shown", "path", p.view.Path, "error", err)
		http.Error(w, "This page cannot be shown; the reason is in the admin's log.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(out.Len()))
	w.WriteHeader(p.status)
	_, _ = w.Write(out.Bytes()) // who has gone does not miss it
}

// frame is what is around a page.
type frame struct {
	*view
	UI     *UI
	Main   template.HTML
	Nav    []navEntry
	Theme  string // dark, light, or empty: as the system has it
	Events string // where the page's events come from; empty: it does not change
	Counts counts
}

// navEntry is a line of the menu.
type navEntry struct {
	Name, Path, Icon, Key string // Key follows g on the keyboard
	Count                 string // which of counts stands beside it
	Current               bool
}

func (u *UI) frame(r *http.Request, p rendered) frame {
	// #nosec G203 -- what a template of ours has made, which escapes
	f := frame{view: p.view, UI: u, Main: template.HTML(p.main), Theme: theme(r), Counts: countsOf(p.view.Snapshot)}
	if p.view.Who.Role == signin.Nobody { // who is not signed in is told nothing, not even how much there is
		f.Counts = counts{}
		return f
	}
	for _, e := range menu {
		e.Current = e.Path == p.view.nav
		f.Nav = append(f.Nav, e)
	}
	if p.lives() {
		f.Events = u.Base + withQuery("/events", url.Values{
			"page": {withQuery(p.view.Path, p.view.Query)}, "have": {hashOf(p.main)}, "version": {u.assets.version},
		})
	}
	return f
}

// lives says whether the page may be another one with the next snapshot. So may one
// that says that something is not there.
func (p rendered) lives() bool {
	return !p.once && (p.status == http.StatusOK || p.status == http.StatusNotFound || p.status == http.StatusServiceUnavailable)
}

// Back is this page, for forms that come back to it.
func (f frame) Back() string { return withQuery(f.Path, f.Query) }

// WindowTitle begins with how much is wrong, for that is what is left of it in a
// crowded row of tabs.
func (f frame) WindowTitle() string {
	return windowTitle(f.Counts, cmp.Or(f.Title, "Millrace"), f.UI.ClusterName)
}

func windowTitle(c counts, title, cluster string) string {
	if c.Failures > 0 {
		title = "(" + strconv.Itoa(c.Failures) + ") " + title
	}
	return title + " · " + cmp.Or(cluster, "Millrace")
}

// counts is what the frame shows of a snapshot.
type counts struct {
	At       int64  `json:"at"`     // milliseconds since 1970; 0: there was no poll yet
	Period   int64  `json:"period"` // milliseconds
	Failures int    `json:"failures"`
	Worst    string `json:"worst"` // failure, warning, note; empty: nothing is wrong
	Troubles string `json:"troubles"`
	Topics   string `json:"topics"`
	Nodes    string `json:"nodes"`
}

func countsOf(s *fleet.Snapshot) counts {
	c := counts{Period: s.Period.Milliseconds(), Topics: group(int64(len(s.Topics))), Nodes: group(int64(len(s.Nodes)))}
	if !s.At.IsZero() {
		c.At = s.At.UnixMilli()
	}
	wrong := 0
	worst := fleet.Severity(0)
	for _, t := range s.Troubles {
		if t.Severity >= fleet.Warning {
			wrong++
		}
		if t.Severity == fleet.Failure {
			c.Failures++
		}
		worst = max(worst, t.Severity)
	}
	c.Troubles, c.Worst = group(int64(wrong)), severityName(worst)
	return c
}

// Of is the count with a name, for the menu.
func (c counts) Of(name string) string {
	switch name {
	case "troubles":
		return c.Troubles
	case "topics":
		return c.Topics
	case "nodes":
		return c.Nodes
	}
	return ""
}
