package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
)

// ours are headers that say how a request is framed, which its sender decides.
var ours = []string{"Connection", "Content-Length", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// token is a header's name; textproto lets spaces pass.
var token = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// parseHeaders parses headers given as "Name: value". Errors tell their names only: values
// may be secret.
func parseHeaders(texts []string) (http.Header, error) {
	all := http.Header{}
	var errs []error
	for i, text := range texts {
		name, _, found := strings.Cut(text, ":")
		if !found || strings.ContainsAny(text, "\r\n") {
			errs = append(errs, fmt.Errorf(`header (number %d): must be one line such as "Name: value"`, i+1))
			continue
		}
		lines := textproto.NewReader(bufio.NewReader(strings.NewReader(text + "\r\n\r\n")))
		one, err := lines.ReadMIMEHeader()
		if err != nil || !token.MatchString(name) {
			errs = append(errs, fmt.Errorf("header %q: not a header's name, or not text after it", name))
			continue
		}
		for key, values := range one {
			if slices.Contains(ours, key) {
				errs = append(errs, fmt.Errorf("header %s: cannot be set, it follows from the request", key))
			}
			all[key] = append(all[key], values...)
		}
	}
	return all, errors.Join(errs...)
}
