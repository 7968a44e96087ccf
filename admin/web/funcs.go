package web

import (
	"errors"
	"html/template"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// funcs are what templates call.
func (u *UI) funcs() template.FuncMap {
	all := template.FuncMap{
		"url": u.url, "static": u.static, "base": func() string { return u.Base }, "link": func(path string) string { return u.Base + path },
		"num": num, "group": func(v any) string { return group(whole(v)) },
		"rate": rate, "bytes": size, "dur": dur, "moment": moment, "stamp": stamp,
		"age":  func(t time.Time) template.HTML { return age(u.now(), t) },
		"icon": icon, "badge": badge, "severity": severityName, "worst": worst,
		"dict": dict, "plural": plural, "list": func(v ...any) []any { return v },
		"join": strings.Join, "diskUsed": diskUsed, "meter": meter,
		"drained": drained, "besidesPause": besidesPause, "latencies": latencies, "published": published, "front": front, "behind": behind,
	}
	maps.Copy(all, lookingFuncs())
	return all
}

// url is a path below the base path: the first part as it is, the others escaped. A
// part that begins with "?" begins the query, whose keys and values alternate; empty
// values are left out.
//
//	{{url "/topics" .Topic .Channel "messages" "?state" "dead"}}
func (u *UI) url(path string, parts ...string) string {
	var b strings.Builder
	b.WriteString(u.Base)
	b.WriteString(strings.TrimSuffix(path, "/"))
	for i, p := range parts {
		if key, is := strings.CutPrefix(p, "?"); is {
			return b.String() + query(key, parts[i+1:])
		}
		b.WriteString("/" + segment(p))
	}
	if b.Len() == len(u.Base) {
		b.WriteString("/")
	}
	return b.String()
}

func query(key string, rest []string) string {
	q := url.Values{}
	for len(rest) > 0 {
		if rest[0] != "" {
			q.Add(key, rest[0])
		}
		if len(rest) < 2 {
			break
		}
		key, rest = strings.TrimPrefix(rest[1], "?"), rest[2:]
	}
	return withQuery("", q)
}

// static is the URL of an embedded file.
func (u *UI) static(file string) string { return u.Base + "/static/" + u.assets.version + "/" + file }

// dict makes one argument for a shared template of several.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, errors.New("dict: a key is not a string")
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}

// plural is a count and its noun: "1 node", "1,200 topics". The second word is given
// where an s does not do.
func plural(v any, one string, many ...string) string {
	n := whole(v)
	if n == 1 {
		return "1 " + one
	}
	if len(many) > 0 {
		return group(n) + " " + many[0]
	}
	return group(n) + " " + one + "s"
}

func severityName(s fleet.Severity) string {
	switch {
	case s == 0:
		return ""
	case s == fleet.Note:
		return "note"
	case s == fleet.Warning:
		return "warning"
	}
	return "failure"
}

// worst is the first of troubles that are sorted, or none.
func worst(troubles []fleet.Trouble) *fleet.Trouble {
	if len(troubles) == 0 {
		return nil
	}
	return &troubles[0]
}

// badge says something in a word, with an icon and a colour that mean the same. Its
// kind is a severity, "ok", or anything else for one without a colour.
func badge(kind, text string) template.HTML {
	// #nosec G203 -- text is escaped
	return template.HTML(`<span class="badge `+template.HTMLEscapeString(kind)+`">`) + icon(kind) + template.HTML(template.HTMLEscapeString(text)+`</span>`)
}
