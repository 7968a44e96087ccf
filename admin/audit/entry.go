// Package audit remembers who changed what, when, from where and with which result:
// in memory for the page, in a file of JSON lines if there is one, and told to a
// webhook whose failure never stops anything.
package audit

import "time"

// Entry is something that was done, or refused.
type Entry struct {
	Number    uint64    `json:"number"` // rising; as a string in browsers
	At        time.Time `json:"at"`
	Who       string    `json:"who"`
	Role      string    `json:"role"`
	How       string    `json:"how"` // of signing in
	From      string    `json:"from"`
	UserAgent string    `json:"user_agent,omitempty"`
	Via       string    `json:"via"` // page, api
	Action    string    `json:"action"`
	Topic     string    `json:"topic,omitempty"`
	Channel   string    `json:"channel,omitempty"`
	Node      string    `json:"node,omitempty"`
	Detail    string    `json:"detail,omitempty"` // arguments, in words; no bodies, no secrets
	URL       string    `json:"url,omitempty"`
	Results   []Result  `json:"results,omitempty"`
	Refused   string    `json:"refused,omitempty"` // why it was not begun
	Done      bool      `json:"done"`              // all results are there, or no more will come

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

// most are the longest texts of an entry, in bytes. What comes from a request is as
// long as whoever sent it liked; a line of a log is not.
const (
	mostWords  = 4 << 10 // of Detail, URL, Refused, and of a result's Error and Note
	mostName   = 512     // of all others
	mostResult = 100_000 // results of an entry
)

// trimmed is e with all its texts within their bounds.
func (e Entry) trimmed() Entry {
	for _, s := range []*string{&e.Who, &e.Role, &e.How, &e.From, &e.UserAgent, &e.Via, &e.Action, &e.Topic, &e.Channel, &e.Node} {
		*s = cut(*s, mostName)
	}
	for _, s := range []*string{&e.Detail, &e.URL, &e.Refused} {
		*s = cut(*s, mostWords)
	}
	results := make([]Result, 0, len(e.Results))
	for _, r := range e.Results[:min(len(e.Results), mostResult)] {
		results = append(results, r.trimmed())
	}
	e.Results = results
	return e
}

func (r Result) trimmed() Result {
	r.Node, r.Error, r.Note = cut(r.Node, mostName), cut(r.Error, mostWords), cut(r.Note, mostWords)
	return r
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	const dots = "…"
	return s[:most-len(dots)] + dots
}

// size is about what an entry takes in memory.
func (e *Entry) size() int {
	n := 400 + len(e.Who) + len(e.From) + len(e.UserAgent) + len(e.Action) + len(e.Topic) + len(e.Channel) + len(e.Node) +
		len(e.Detail) + len(e.URL) + len(e.Refused)
	for i := range e.Results {
		n += e.Results[i].size()
	}
	return n
}

func (r *Result) size() int { return 64 + len(r.Node) + len(r.Error) + len(r.Note) }
