package httpapi

import (
	"net/http"
	"net/url"
	"strings"
)

// Query parses the query of a request. The error is 400 INVALID_REQUEST.
func Query(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &Error{Status: http.StatusBadRequest, Code: "INVALID_REQUEST"}
	}
	return q, nil
}

// Arguments are a request's query for those who look for a name or two: nothing
// is allocated unless it has escapes.
type Arguments struct {
	raw    string
	parsed url.Values // in place of raw, which has escapes
}

// ParseArguments parses the query of a request as Query does.
func ParseArguments(r *http.Request) (Arguments, error) {
	raw := r.URL.RawQuery
	if !strings.ContainsAny(raw, "%+;") {
		return Arguments{raw: raw}, nil
	}
	q, err := Query(r)
	return Arguments{parsed: q}, err
}

// First returns the first value for name, and whether there is one.
func (a Arguments) First(name string) (value string, given bool) {
	if a.parsed != nil {
		if all := a.parsed[name]; len(all) > 0 {
			return all[0], true
		}
		return "", false
	}
	for rest := a.raw; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if key, value, _ := strings.Cut(pair, "="); pair != "" && key == name {
			return value, true
		}
	}
	return "", false
}

// Required returns the first value for name. An empty one counts. The error is 400
// MISSING_ARG_NAME.
func (a Arguments) Required(name string) (string, error) {
	value, given := a.First(name)
	if !given {
		return "", missing(name)
	}
	return value, nil
}
