package actions

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace-mq/millrace/protocol"
)

// checkArgs returns all that is wrong with a request's arguments.
func (a *Actions) checkArgs(act Action, args url.Values, now time.Time) *Refused {
	var wrong []string
	for name, values := range args {
		switch {
		case !slices.ContainsFunc(act.Args, func(arg Arg) bool { return arg.Name == name }):
			wrong = append(wrong, fmt.Sprintf("%s has no argument %.80q", act.Name, name))
		case len(values) != 1:
			wrong = append(wrong, fmt.Sprintf("%s is given %d times", name, len(values)))
		}
	}
	slices.Sort(wrong)
	wrong = wrong[:min(len(wrong), maxNamed)]
	for _, arg := range act.Args {
		switch {
		case !args.Has(arg.Name):
			if arg.Required {
				wrong = append(wrong, act.Name+" needs "+arg.Name)
			}
		case len(args[arg.Name]) == 1:
			if must := arg.check(args.Get(arg.Name)); must != "" {
				wrong = append(wrong, arg.Name+" must be "+must)
			}
		}
	}
	if len(wrong) == 0 {
		wrong = a.checkTogether(act, args, now)
	}
	if len(wrong) > 0 {
		return refuse(http.StatusBadRequest, "INVALID_ARGUMENT", "%s", strings.Join(wrong, "\n"))
	}
	return nil
}

// checkTogether looks at arguments of which each alone is right.
func (a *Actions) checkTogether(act Action, args url.Values, now time.Time) (wrong []string) {
	say := func(bad bool, format string, values ...any) {
		if bad {
			wrong = append(wrong, fmt.Sprintf(format, values...))
		}
	}
	until, _ := parseTime(args.Get("until"))
	say(args.Has("until") && args.Has("for"), "until and for cannot be given together")
	say(args.Has("until") && !until.After(now), "until is a time that has gone by: %s", until.UTC().Format(time.RFC3339))
	say(act.Name == "topic-policy" && len(args) == 0, "topic-policy needs a setting to change")
	say(act.Name == "copy" && args.Get("all") == "true" && !args.Has("state"), "to copy all, state must say which: dead, deferred or ready")
	say(act.Name == "copy" && args.Has("state") && !args.Has("all"), "state goes with all=true; a single message is copied whatever its state")
	if act.Name == "publish" {
		body, err := Body(args)
		say(err != nil, "%v", err)
		say(err == nil && len(body) == 0, "the body is empty")
		say(len(body) > a.MaxBody, "the body has %s bytes; %s are the most that can be published from here", number(len(body)), number(a.MaxBody))
	}
	return wrong
}

// check returns what a value must be; empty if it is.
func (arg Arg) check(v string) (must string) {
	switch arg.Kind {
	case Text:
		switch {
		case arg.Most > 0 && (int64(len(v)) > arg.Most || !utf8.ValidString(v) || strings.ContainsFunc(v, disguises)):
			return fmt.Sprintf("a line of text of at most %d bytes, without control characters", arg.Most)
		case arg.Required && v == "":
			return "at least one byte"
		}
	case Duration:
		if _, err := parseDelay(arg.Name, v); err != nil {
			return "a duration such as 90s, 5m or 24h"
		}
	case Time:
		if _, err := parseTime(v); err != nil {
			return "a time with its zone, such as 2026-01-02T15:04:05Z, or milliseconds or nanoseconds since 1970"
		}
	case Place:
		if _, err := parseTime(v); err != nil && v != "earliest" && v != "latest" && !validID(v) {
			return "earliest, latest, a message ID of 16 hexadecimal digits, or a time (RFC 3339, or milliseconds or nanoseconds since 1970)"
		}
	case Number:
		if n, err := strconv.ParseUint(v, 10, 63); err != nil || arg.Most > 0 && n > uint64(arg.Most) {
			if arg.Most > 0 {
				return fmt.Sprintf("a whole number from 0 to %d", arg.Most)
			}
			return "a whole number, 0 for none"
		}
	case Choice:
		if !slices.Contains(arg.Choices, v) {
			return "one of " + strings.Trim(strings.Join(arg.Choices, ", "), ", ")
		}
	case Truth:
		if v != "true" {
			return "true, or left out"
		}
	case Name:
		if !protocol.ValidName(v) {
			return "the name of a topic: 1 to 64 of the characters . a-z A-Z 0-9 _ -"
		}
	}
	return ""
}

// parseDelay reads a duration. That of a publish may be milliseconds, as nsqd has it.
func parseDelay(name, v string) (time.Duration, error) {
	if ms, err := strconv.ParseUint(v, 10, 63); err == nil && (name == "delay" || ms == 0) {
		if ms > math.MaxInt64/uint64(time.Millisecond) {
			return 0, fmt.Errorf("%q is too long", v)
		}
		return time.Duration(ms) * time.Millisecond, nil
	}
	d, err := time.ParseDuration(v)
	if err == nil && (d < 0 || d == 0 && name == "for") {
		err = fmt.Errorf("%q is not above 0", v)
	}
	return d, err
}

// parseTime reads a time as daemons do: RFC 3339, or milliseconds or nanoseconds since 1970.
func parseTime(v string) (time.Time, error) {
	if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
		if len(v) <= 14 {
			return time.UnixMilli(n), nil
		}
		return time.Unix(0, n), nil
	}
	return time.Parse(time.RFC3339Nano, v)
}

// Body decodes what the arguments of publish give as the message.
func Body(args url.Values) ([]byte, error) {
	text := args.Get("body")
	switch args.Get("encoding") {
	case "base64":
		b, err := base64.StdEncoding.DecodeString(strings.Map(withoutSpace, text))
		if err != nil {
			return nil, fmt.Errorf("the body is not base64: %w", err)
		}
		return b, nil
	case "hex":
		b, err := hex.DecodeString(strings.Map(withoutSpace, text))
		if err != nil {
			return nil, fmt.Errorf("the body is not hexadecimal: %w", err)
		}
		return b, nil
	}
	return []byte(text), nil
}

func withoutSpace(r rune) rune {
	if strings.ContainsRune(" \t\r\n", r) {
		return -1
	}
	return r
}

// detail is a request in words, for the log: no body, nothing secret.
func detail(act Action, r *Request) string {
	var parts []string
	if len(r.Targets) > 1 {
		names := make([]string, 0, maxNamed)
		for _, t := range r.Targets[:min(len(r.Targets), maxNamed)] {
			names = append(names, t.String())
		}
		parts = append(parts, fmt.Sprintf("%s: %s", number(len(r.Targets)), listed(names, len(r.Targets))))
	} else if id := r.Targets[0].ID; id != "" {
		parts = append(parts, "id="+id)
	}
	for _, arg := range act.Args {
		if !r.Args.Has(arg.Name) {
			continue
		}
		v := r.Args.Get(arg.Name)
		switch {
		case act.Name == "publish" && arg.Name == "body":
			b, _ := Body(r.Args)
			v = number(len(b)) + " bytes"
		case arg.Kind == Text:
			v = strconv.Quote(v)
		}
		parts = append(parts, arg.Name+"="+v)
	}
	return strings.Join(parts, ", ")
}

// maxNamed is how many names stand in a sentence.
const maxNamed = 10

// listed is the first names of all, and how many more there are.
func listed(names []string, all int) string {
	n := min(len(names), maxNamed)
	s := strings.Join(names[:n], ", ")
	if all > n {
		s += fmt.Sprintf(" and %s more", number(all-n))
	}
	return s
}

// number is n with its thousands apart.
func number[T int | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
