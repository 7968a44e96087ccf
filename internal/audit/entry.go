// Package audit is the audit log of all daemons: what a line of it says, the file
// that it lies in, and how the queue daemon and lookupd write it, who have more to do
// than to wait for a disk. The admin's, which can be looked at too, is admin/audit.
package audit

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Entry is something that was done, or refused.
type Entry struct {
	Number    uint64    `json:"number"` // rising by 1: a gap is a line that is missing. A daemon begins at 1 with each start
	At        time.Time `json:"at"`
	Who       string    `json:"who"` // by the name that an access file, a certificate or an auth server has for him; empty: nobody knows
	Role      string    `json:"role,omitempty"`
	How       string    `json:"how"`               // he has shown who he is
	Through   string    `json:"through,omitempty"` // who has passed it on for him, such as an admin
	From      string    `json:"from"`
	UserAgent string    `json:"user_agent,omitempty"`
	Via       string    `json:"via"` // of an admin: page, api; of a daemon: http, tcp, admin, signal, or daemon for what it does by itself
	Action    string    `json:"action"`
	Topic     string    `json:"topic,omitempty"`
	Channel   string    `json:"channel,omitempty"`
	Node      string    `json:"node,omitempty"`
	Detail    string    `json:"detail,omitempty"` // arguments, in words; no bodies, no secrets
	URL       string    `json:"url,omitempty"`
	Results   []Result  `json:"results,omitempty"`
	Refused   string    `json:"refused,omitempty"` // why it was not begun
	Done      bool      `json:"done"`              // all results are there, or no more will come

	// Unlogged is how many entries of its kind, refused or failed, there was no line for
	// before this one; of an audit-gap, of any kind.
	Unlogged uint64 `json:"unlogged,omitempty"`

	// Interrupted says that the process ended before all results were there: what the
	// other nodes answered is not known.
	Interrupted bool `json:"interrupted,omitempty"`
}

// Result is what one daemon answered.
type Result struct {
	Node  string `json:"node"` // address of a qd or lookupd
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
	Count int64  `json:"count,omitempty"` // messages concerned, if the action counts any
	Note  string `json:"note,omitempty"`
}

// The longest texts of an entry, in bytes. What comes from a request is as
// long as whoever sent it liked; a line of a log is not.
const (
	mostWords = 4 << 10 // of Detail, URL, Refused, and of a result's Error and Note
	mostName  = 512     // of all others

	// MostResults is how many an entry has at most.
	MostResults = 100_000
)

// Via, of a daemon's entries: how it came to what was done.
const (
	HTTP   = "http"
	TCP    = "tcp"
	Admin  = "admin"  // over HTTP, through one who passes on for whom it is
	Signal = "signal" // of the system, such as SIGHUP
	Itself = "daemon" // nobody has asked for it at that moment
)

// Outcomes of an entry.
const (
	OK          = "ok"
	Refused     = "refused" // it was not begun
	Failed      = "failed"  // in part or as a whole
	Begun       = "begun"   // it goes on
	Interrupted = "interrupted"
)

// Outcome is what became of it, in a word.
func (e *Entry) Outcome() string {
	switch {
	case e.Refused != "":
		return Refused
	case e.Interrupted:
		return Interrupted
	case !e.Done:
		return Begun
	case slices.ContainsFunc(e.Results, func(r Result) bool { return !r.OK }):
		return Failed
	}
	return OK
}

// vain reports whether nothing has become different: it was refused, or has failed with no
// message concerned.
func (e *Entry) vain() bool {
	switch e.Outcome() {
	case Refused:
		return true
	case Failed:
		return !slices.ContainsFunc(e.Results, func(r Result) bool { return r.Count > 0 })
	}
	return false
}

// Line is the entry as it stands in a file: one line of JSON, whatever is in the
// entry, without its end.
func (e *Entry) Line() ([]byte, error) {
	line, err := json.Marshal(struct {
		*Entry
		Outcome string `json:"outcome"`
	}{e, e.Outcome()})
	return escape(line), err
}

// escape writes what JSON lets stand, and what could disguise itself in a terminal or
// an editor, as an escape sequence: it means the same.
func escape(line []byte) []byte {
	at := slices.IndexFunc(line, func(c byte) bool { return c >= utf8.RuneSelf || c == 0x7f })
	if at < 0 {
		return line
	}
	safe := append(make([]byte, 0, len(line)+64), line[:at]...)
	for _, r := range string(line[at:]) {
		switch {
		case r < 0x7f || unicode.IsGraphic(r):
			safe = utf8.AppendRune(safe, r)
		case r <= 0xffff:
			safe = fmt.Appendf(safe, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			safe = fmt.Appendf(safe, `\u%04x\u%04x`, high, low)
		}
	}
	return safe
}

// Bounded is e with all its texts within their bounds. What it shares with e is not
// changed.
func (e Entry) Bounded() Entry {
	for _, s := range []*string{
		&e.Who, &e.Role, &e.How, &e.Through, &e.From, &e.UserAgent, &e.Via, &e.Action, &e.Topic, &e.Channel, &e.Node,
	} {
		*s = cut(*s, mostName)
	}
	for _, s := range []*string{&e.Detail, &e.URL, &e.Refused} {
		*s = cut(*s, mostWords)
	}
	results := make([]Result, 0, len(e.Results))
	for _, r := range e.Results[:min(len(e.Results), MostResults)] {
		results = append(results, r.Bounded())
	}
	e.Results = results
	return e
}

// Bounded is r with all its texts within their bounds.
func (r Result) Bounded() Result {
	r.Node, r.Error, r.Note = cut(r.Node, mostName), cut(r.Error, mostWords), cut(r.Note, mostWords)
	return r
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	const dots = "…"
	return strings.ToValidUTF8(s[:most-len(dots)], "") + dots
}
