package archive

import (
	"errors"
	"fmt"
	"path/filepath"
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
	template    string // only <DATETIME> and <REV> are left
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
	n := Name{format: p.Format, datetime: p.Datetime, pid: p.PID}
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
	return n, errors.Join(errs...)
}

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
