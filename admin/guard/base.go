package guard

import (
	"fmt"
	"net/http"
	"strings"
)

const (
	maxBase   = 256     // bytes of the base path
	maxTarget = 8 << 10 // bytes of a request's path and query
	unescaped = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
)

// CleanBase returns a base path as all here want it: it begins and ends with a slash,
// and is / for an empty one. A path that means something else to somebody on the way
// (//host, .., escapes, signs of a query) is refused.
func CleanBase(path string) (string, error) {
	trimmed := strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if trimmed == "" && len(path) <= 1 {
		return "/", nil
	}
	if len(path) > maxBase {
		return "", fmt.Errorf("base-path: has %d bytes: must not have more than %d", len(path), maxBase)
	}
	for part := range strings.SplitSeq(trimmed, "/") {
		if part == "" || part == "." || part == ".." || strings.Trim(part, unescaped) != "" {
			return "", fmt.Errorf("base-path %q: must be such as /queues or /x/y: letters, digits, -, ., _ and ~ between single slashes", path)
		}
	}
	return "/" + trimmed + "/", nil
}

// strange returns what is wrong with the path of a request; empty if nothing is.
// Routers, proxies and browsers take such paths for different things.
func strange(r *http.Request) string {
	const why = "The address has //, . or .. between slashes, a backslash, an escaped slash or a control character."
	p := r.URL.Path
	if !strings.HasPrefix(p, "/") {
		return "The address must begin with a slash."
	}
	control := func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }
	if strings.ContainsFunc(p, control) || strings.Contains(strings.ToLower(r.URL.RawPath), "%2f") || strings.Contains(p, "//") {
		return why
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "." || part == ".." {
			return why
		}
	}
	return ""
}

// below returns the request as it is below the base path; false if it is not.
func (g *Guard) below(r *http.Request) (*http.Request, bool) {
	prefix := strings.TrimSuffix(g.Base, "/")
	rest, ok := strings.CutPrefix(r.URL.Path, prefix)
	raw, okRaw := strings.CutPrefix(r.URL.RawPath, prefix)
	if !ok || !strings.HasPrefix(rest, "/") || r.URL.RawPath != "" && !okRaw {
		return nil, false
	}
	inner, u := *r, *r.URL
	u.Path, u.RawPath = rest, raw
	inner.URL = &u
	return &inner, true
}
