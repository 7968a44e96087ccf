package web

import (
	"context"
	"slices"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/signin"
)

// Actions changes things; *actions.Actions is one.
type Actions interface {
	// May returns nil if who may do an action, or why not.
	May(who signin.Who, action string) error
	// Begin begins it and returns the number of its entry in the audit log.
	Begin(ctx context.Context, who signin.Who, via string, r actions.Request) (entry uint64, err error)
}

// button leads to an action's form.
type button struct {
	Title, URL string
	Grave      bool // it cannot be undone
}

// May says whether the viewer may do an action. It decides what is offered; what is
// done is decided where it is done.
func (u *UI) may(v *view, action string) bool {
	return u.Actions != nil && u.Actions.May(v.Who, action) == nil
}

// buttons are those of some actions that the viewer may do, each with the rest of its
// address as url takes it.
func (u *UI) buttons(v *view, names []string, rest ...string) []button {
	var list []button
	for _, name := range names {
		a, ok := actions.Find(name)
		if !ok || !u.may(v, name) {
			continue
		}
		list = append(list, button{a.Title, u.url("/do", append([]string{name}, rest...)...), a.Danger})
	}
	return list
}

// front are the buttons that are always seen: the first few that do no harm.
func front(all []button) []button {
	var list []button
	for _, b := range all {
		if !b.Grave && len(list) < 3 {
			list = append(list, b)
		}
	}
	return list
}

// behind are those that one has to open a menu for.
func behind(all []button) []button {
	seen := front(all)
	return slices.DeleteFunc(slices.Clone(all), func(b button) bool { return slices.Contains(seen, b) })
}
