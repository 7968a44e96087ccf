package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/signin"
)

const (
	maxFormTargets = 20_000 // as Actions takes them
	shownTargets   = 20     // the others are counted
)

// doPage is the form of an action: what it is done to, with live counts; what it needs
// to know; what cannot be undone, and the name to be typed if it is grave.
type doPage struct {
	*view
	Action  actions.Action
	Targets []actions.Target
	Shown   []actions.Target
	More    int
	Facts   []fact
	Nodes   int // of the snapshot that are concerned; 0: not known
	Fields  []field
	Confirm string // to be typed; empty: nothing
	Wrong   []string
	Hidden  []setting
	Naming  []naming // fields for what is missing of a target
	Cancel  string
}

// fact is a live count.
type fact struct {
	Name  string
	Value int64
}

// field is an argument's.
type field struct {
	actions.Arg
	Value string
}

// naming asks for what an action is to be done to.
type naming struct{ Name, Title, Hint string }

// complaint is what was wrong with a form that came back.
type complaint struct {
	status int
	wrong  []string
}

func (u *UI) do(v *view) (any, error) {
	a, ok := actions.Find(v.Param("action"))
	if !ok {
		return nil, notFound("There is no action %q.", v.Param("action"))
	}
	if u.Actions == nil {
		return nil, forbidden("Nothing can be changed from here.")
	}
	if v.Who.Role < a.Role && !u.ReadOnly { // in words that hold for all of a role, for they share the page
		return nil, forbidden("%s is for the role %s, and you are %s.", a.Title, a.Role, v.Who.Role)
	}
	if err := u.Actions.May(v.Who, a.Name); err != nil {
		return nil, refusal(err)
	}
	v.Title = a.Title
	p := doPage{view: v, Action: a, Targets: targetsOf(v.Query)}
	if v.complaint != nil {
		p.Wrong = v.complaint.wrong
	}
	p.Shown = p.Targets[:min(len(p.Targets), shownTargets)]
	p.More = len(p.Targets) - len(p.Shown)
	p.Naming = missing(a.On, p.Targets)
	if len(p.Naming) == 0 {
		p.Confirm = actions.Confirmation(a, p.Targets)
	}
	p.Facts, p.Nodes = concerned(v.Snapshot, a, p.Targets, v.Query)
	p.Fields = fieldsOf(a, v.Query, settingsNow(v.Snapshot, a, p.Targets))
	p.Hidden = hiddenOf(v.Query)
	p.Cancel = u.cameFrom(p.Targets)
	v.Crumbs = u.crumbsOf(p.Targets)
	return p, nil
}

// refusal is why an action was not begun, as a page.
func refusal(err error) error {
	if r, ok := errors.AsType[*actions.Refused](err); ok {
		return &problem{r.Status, "Not done", capital(r.Sentence) + "."}
	}
	return err
}

// fieldsOf are the fields of an action's arguments: with what was entered, or for
// settings with what they are now.
func fieldsOf(a actions.Action, q url.Values, now url.Values) []field {
	var list []field
	for _, arg := range a.Args {
		value := q.Get(arg.Name)
		if !q.Has(arg.Name) {
			value = now.Get(arg.Name)
		}
		list = append(list, field{arg, value})
	}
	return list
}

// settingsNow are what the settings that an action changes are now, if it is about one
// topic or channel. What is not told is left out, and so stays as it is.
func settingsNow(s *fleet.Snapshot, a actions.Action, targets []actions.Target) url.Values {
	now := url.Values{}
	if len(targets) != 1 {
		return now
	}
	t := s.Topic(targets[0].Topic)
	c := s.Channel(targets[0].Topic, targets[0].Channel)
	switch {
	case a.Name == "topic-policy" && t != nil && len(t.Nodes) > 0 && t.Nodes[0].Durability != "":
		p := t.Nodes[0].Policy
		now.Set("durability", t.Nodes[0].Durability)
		now.Set("retention_age", p.RetentionAge.String())
		now.Set("retention_bytes", strconv.FormatInt(p.RetentionBytes, 10))
		now.Set("max_messages", strconv.FormatInt(p.MaxMessages, 10))
		now.Set("max_bytes", strconv.FormatInt(p.MaxBytes, 10))
		now.Set("overflow", p.Overflow)
	case a.Name == "channel-policy" && c != nil && len(c.Nodes) > 0:
		now.Set("max_attempts", strconv.Itoa(c.Nodes[0].MaxAttempts))
	}
	return now
}

// As is how an argument is entered.
func (f field) As() string {
	switch {
	case f.Kind == actions.Truth:
		return "tick"
	case f.Kind == actions.Choice:
		return "choice"
	case f.Kind == actions.Number:
		return "number"
	case f.Name == "body":
		return "long"
	}
	return "text"
}

// Options are what can be chosen, and nothing, which leaves it as it is.
func (f field) Options() []string {
	options := slices.DeleteFunc(slices.Clone(f.Choices), func(s string) bool { return s == "" })
	if f.Required {
		return options
	}
	return slices.Insert(options, 0, "")
}

// Times are what a form offers for a duration.
func (f field) Times() []string {
	if f.Kind != actions.Duration {
		return nil
	}
	return []string{"30s", "5m", "30m", "90m", "8h", "24h"}
}

// begin takes the form of an action: it begins it and leads to its results, or shows
// the form again with what is wrong. A form that only asks is a bulk choice: what was
// chosen may be too long for an address.
func (u *UI) begin(w http.ResponseWriter, r *http.Request) {
	who := signin.FromContext(r.Context())
	if err := r.ParseForm(); err != nil {
		u.fail(w, r, &problem{http.StatusBadRequest, "Not understood", "The form did not arrive as a whole."})
		return
	}
	form := r.PostForm
	if form.Get("ask") != "" {
		form.Del("ask")
		u.form(w, r, who, form, nil)
		return
	}
	a, ok := actions.Find(r.PathValue("action"))
	if !ok || u.Actions == nil {
		u.form(w, r, who, form, nil)
		return
	}
	targets := targetsOf(form)
	if want := actions.Confirmation(a, targets); want != "" && strings.TrimSpace(form.Get("confirm")) != want {
		u.form(w, r, who, form, &complaint{http.StatusBadRequest, []string{"Type " + strconv.Quote(want) + " to say that you mean it. Nothing has been done."}})
		return
	}
	entry, err := u.Actions.Begin(r.Context(), who, "page", actions.Request{Action: a.Name, Targets: targets, Args: argsOf(a, form), URL: r.URL.Path})
	if err != nil {
		refused, ok := errors.AsType[*actions.Refused](err)
		if !ok {
			u.log.Error("an action cannot be begun", "action", a.Name, "error", err)
			u.fail(w, r, err)
			return
		}
		u.form(w, r, who, form, &complaint{refused.Status, strings.Split(refused.Sentence, "\n")})
		return
	}
	http.Redirect(w, r, u.url("/audit", strconv.FormatUint(entry, 10)), http.StatusSeeOther)
}

// argsOf takes an action's arguments out of a form. Browsers have a time without its
// zone; all times of the UI are in UTC.
func argsOf(a actions.Action, form url.Values) url.Values {
	args := a.Take(form)
	for _, arg := range a.Args {
		v := strings.TrimSpace(args.Get(arg.Name))
		if arg.Kind != actions.Time || v == "" {
			continue
		}
		for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
			if t, err := time.Parse(layout, v); err == nil {
				args.Set(arg.Name, t.UTC().Format(time.RFC3339))
			}
		}
	}
	return args
}

// form shows an action's form with what was entered.
func (u *UI) form(w http.ResponseWriter, r *http.Request, who signin.Who, form url.Values, c *complaint) {
	target := &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: form.Encode()}
	p := u.renderWith(r.Context(), who, u.Source.Latest(), target, c)
	p.view.Query = url.Values{} // what was entered must not come back as an address
	p.once = true
	if c != nil && p.status == http.StatusOK {
		p.status = c.status
	}
	u.write(w, r, p)
}
