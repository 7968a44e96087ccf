package endpoint

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// target is a URL, in two halves around the body if that is a part of it.
type target struct {
	before, after string
	escape        func(string) string // nil if the body is no part of it
	inPath        bool                // and not in the query
}

// errClimbs refuses a body that would make a step up of the path, in any spelling:
// what is asked for would be another thing than the one that the operator has named.
var errClimbs = errors.New("as a part of the URL's path the body would be . or .., which servers take for a step up")

// url returns the URL for a body.
func (t target) url(body []byte) (string, error) {
	if t.escape == nil {
		return t.before, nil
	}
	text := t.escape(string(body))
	if t.inPath && climbs(t.segment(text)) {
		return "", errClimbs
	}
	return t.before + text + t.after, nil
}

// segment is the part of the path, between slashes, that has the body's text in it.
func (t target) segment(text string) string {
	before := t.before[strings.LastIndexByte(t.before, '/')+1:]
	after := t.after
	if end := strings.IndexAny(after, "/?"); end >= 0 {
		after = after[:end]
	}
	return before + text + after
}

func climbs(segment string) bool {
	bare, err := url.PathUnescape(segment)
	return err == nil && (bare == "." || bare == "..")
}

const (
	place   = "%s"
	percent = "%%" // stands for one, as in NSQ, where the URL is a format
)

// mark stands for a body while it is looked where in a URL that would be.
const mark = "0a-body-would-be-here0"

func parse(text, method string) (target, *url.URL, error) {
	if method == http.MethodPost {
		u, err := check(text)
		return target{before: text}, u, err
	}
	masked := strings.ReplaceAll(text, percent, "\x00")
	before, after, found := strings.Cut(masked, place)
	if !found || strings.Contains(after, place) {
		return target{}, nil, errors.New("must have exactly one %s, where the message's body goes")
	}
	before, after = strings.ReplaceAll(before, "\x00", "%"), strings.ReplaceAll(after, "\x00", "%")
	u, err := check(before + mark + after)
	if err != nil {
		return target{}, nil, err
	}
	t := target{before: before, after: after}
	switch {
	// A message must not choose who is asked.
	case strings.Contains(u.Host, mark) || strings.Contains(u.User.String(), mark):
		return target{}, nil, errors.New("%s must be in the path or the query")
	case strings.Contains(u.RawQuery, mark):
		t.escape = url.QueryEscape
	default:
		t.escape, t.inPath = url.PathEscape, true
	}
	u.Path, u.RawPath = strings.Replace(u.Path, mark, place, 1), ""
	return t, u, nil
}

// check parses a URL. What url.Parse says of a wrong one would repeat it, with a
// password in it, maybe.
func check(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		var wrong *url.Error
		if errors.As(err, &wrong) {
			err = wrong.Err
		}
		return nil, fmt.Errorf("not a URL: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.New("must be a URL that begins with http://host or https://host")
	}
	return u, nil
}
