package web

import (
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/web/body"
)

// This file is what pages share that look at more than the snapshot.

// asked is what daemons have said lately, for all who look.
type asked struct {
	settings memo[askedSettings]
	inactive memo[askedInactive]
}

// path is url without the base path: what crumbs and answers in JSON have.
func (u *UI) path(first string, parts ...string) string {
	return strings.TrimPrefix(u.url(first, parts...), u.Base)
}

func badRequest(format string, args ...any) error {
	return &problem{http.StatusBadRequest, "Not possible", fmt.Sprintf(format, args...)}
}

// capital is a sentence that begins with a capital letter, unless it begins with a
// name in quotes.
func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// can says which of some actions the viewer may do. It decides what is offered; what
// is done is decided where it is done.
func (u *UI) can(v *view, names ...string) map[string]bool {
	can := make(map[string]bool, len(names))
	for _, name := range names {
		can[name] = u.may(v, name)
	}
	return can
}

// memoryUsed is how full a node's memory for messages is; nil if it does not tell.
func memoryUsed(n *fleet.Node) *share {
	if n.MemoryLimit == 0 {
		return nil
	}
	return &share{
		Name: "memory", Part: float64(n.MemoryUsed) / float64(n.MemoryLimit),
		Text: sizeText(whole(n.MemoryUsed)) + " of " + sizeText(whole(n.MemoryLimit)) + " used",
	}
}

// topicSum is a topic on one node with its channels.
func topicSum(t fleet.NodeTopic) fleet.Figures {
	f := t.Figures
	for _, c := range t.Channels {
		f.Depth += c.Depth
		f.InFlight += c.InFlight
		f.Deferred += c.Deferred
		f.Dead += c.Dead
		f.Clients += c.Clients
	}
	return f
}

// lookingFuncs are what templates call beyond funcs.
func lookingFuncs() template.FuncMap {
	return template.FuncMap{
		"memoryUsed": memoryUsed, "topicSum": topicSum, "actionWord": actionWord, "actionNames": actionNames,
		"clean":   body.Visible, // for what daemons and their clients call themselves and say
		"percent": func(f float64) string { return fmt.Sprintf("%.0f\u00a0%%", 100*f) },
		"beyond":  func(n, limit int) int { return n - limit },
	}
}

func actionNames() []string {
	var names []string
	for _, a := range actions.Table() {
		names = append(names, a.Name)
	}
	return names
}

// actionWord is an action as people say it. What is in the log may be of another
// version, and of none that this one knows.
func actionWord(name string) string {
	if a, ok := actions.Find(name); ok {
		return a.Title
	}
	return capital(strings.ReplaceAll(strings.ReplaceAll(name, "-", " "), "_", " "))
}
