package archive

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Pattern is how file names are made. In Format, these tokens stand for:
//
//	<TOPIC>     the topic
//	<HOST>      Host
//	<PID>       PID
//	<DATETIME>  the time, as Datetime says
//	<REV>       -000000, -000001, …: what tells files of one name apart
//
// Format may contain slashes; the directories are created.
type Pattern struct {
	Format   string
	Datetime string // strftime: the letters A a B b m d H I M S Y y p Z z and %
	Topic    string
	Host     string
	PID      int
	Suffix   string // appended unless Format ends with it already
	Revision bool   // false takes <REV> out of the name
}

// Name computes the file names of one topic.
type Name struct {
	format      string // as the user gave it
	topic       string
	host        string         // "" if the name does not say it
	matches     *regexp.Regexp // the names that it has had and will have
	template    string         // only <DATETIME> and <REV> are left
	datetime    string
	pid         int
	hasRevision bool
}

const (
	datetimeToken = "<DATETIME>"
	revToken      = "<REV>"
)

// Name checks the pattern and fills in what does not change.
func (p Pattern) Name() (Name, error) {
	n := Name{format: p.Format, datetime: p.Datetime, topic: p.Topic, pid: p.PID}
	if strings.Contains(p.Format, "<HOST>") {
		n.host = p.Host
	}
	format := p.Format
	if !strings.HasSuffix(format, p.Suffix) {
		format += p.Suffix
	}
	if !p.Revision {
		format = strings.ReplaceAll(format, revToken, "")
	}
	n.hasRevision = strings.Contains(format, revToken)
	n.template = strings.NewReplacer(
		"<TOPIC>", p.Topic, "<HOST>", p.Host, "<PID>", strconv.Itoa(p.PID),
	).Replace(format)

	var errs []error
	if err := checkStrftime(p.Datetime); err != nil {
		errs = append(errs, fmt.Errorf("datetime-format %q: %w", p.Datetime, err))
	} else if probe := Revision(n.At(time.Unix(0, 0)), 0); !filepath.IsLocal(probe) || strings.HasSuffix(probe, "/") {
		errs = append(errs, fmt.Errorf("filename-format %q: %q is not a file name below the output directory", p.Format, probe))
	}
	if len(errs) == 0 {
		var err error
		if n.matches, err = p.matcher(format); err != nil {
			errs = append(errs, fmt.Errorf("filename-format %q: must be UTF-8, as must the host: %w", p.Format, err))
		}
	}
	return n, errors.Join(errs...)
}

var tokens = regexp.MustCompile("<(?:TOPIC|HOST|PID|DATETIME|REV)>")

// matcher returns what the names of this pattern look like, whatever the time,
// the revision and the process. Topic and host are these alone: the files of
// another topic must not match because its name begins with this one's.
func (p Pattern) matcher(format string) (*regexp.Regexp, error) {
	var b strings.Builder
	at := 0
	for _, t := range tokens.FindAllStringIndex(format, -1) {
		b.WriteString(regexp.QuoteMeta(format[at:t[0]]))
		at = t[1]
		switch format[t[0]:t[1]] {
		case "<TOPIC>":
			b.WriteString(regexp.QuoteMeta(p.Topic))
		case "<HOST>":
			b.WriteString(regexp.QuoteMeta(p.Host))
		case "<PID>":
			b.WriteString("[0-9]+")
		case datetimeToken:
			b.WriteString(matchStrftime(p.Datetime))
		case revToken:
			b.WriteString("(-[0-9]{6,})")
		}
	}
	b.WriteString(regexp.QuoteMeta(format[at:]))
	return regexp.Compile("^" + b.String() + "$")
}

// parse is the reverse of Revision(At(t), rev), for some t. It says no for what
// this pattern does not make.
func (n Name) parse(rel string) (name string, rev int, ok bool) {
	at := n.matches.FindStringSubmatchIndex(rel)
	if at == nil {
		return "", 0, false
	}
	for i := len(at) - 2; i >= 2; i -= 2 { // from behind, so that what is before stays where it is
		was := rev
		var err error
		if rev, err = strconv.Atoi(rel[at[i]+1 : at[i+1]]); err != nil || i < len(at)-2 && rev != was {
			return "", 0, false
		}
		if name == "" {
			name = rel
		}
		name = name[:at[i]] + revToken + name[at[i+1]:]
	}
	return name, rev, name != ""
}

// depth is how many directories deep below the top the names lie.
func (n Name) depth() int { return strings.Count(n.At(time.Unix(0, 0)), "/") }

// At returns the name of files of time t, in t's location, with <REV> still in
// it. Revision fills that in.
func (n Name) At(t time.Time) string {
	if !strings.Contains(n.template, datetimeToken) {
		return n.template
	}
	return strings.ReplaceAll(n.template, datetimeToken, string(appendStrftime(nil, n.datetime, t)))
}

// Revision returns the file name of a revision, counted from 0, of what At
// returned.
func Revision(name string, rev int) string {
	return strings.ReplaceAll(name, revToken, fmt.Sprintf("-%06d", rev))
}

// Host expands the tokens <SHORT_HOST> and <HOSTNAME> of a host identifier.
// An empty identifier is the short host name: hostname up to its first dot.
func Host(identifier, hostname string) string {
	short, _, _ := strings.Cut(hostname, ".")
	if identifier == "" {
		return short
	}
	return strings.NewReplacer("<SHORT_HOST>", short, "<HOSTNAME>", hostname).Replace(identifier)
}
