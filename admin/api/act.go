package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/httpapi"
)

// maxActBody is most bytes of a request for an action: twenty thousand targets, or a
// message in base64.
const maxActBody = 8 << 20

// act does what a body of JSON asks for, and answers when it is done, or with wait=false
// when it has begun.
func (a *api) act(w http.ResponseWriter, r *http.Request) {
	who := signin.FromContext(r.Context())
	if err := mayLook(r); err != nil {
		a.refused(r, "actions", err)
		a.send(w, nil, err)
		return
	}
	var body struct {
		Action  string           `json:"action"`
		Targets targets          `json:"targets"`
		Args    map[string]value `json:"args"`
		Wait    *bool            `json:"wait"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxActBody))
	d.DisallowUnknownFields() // a misspelt argument must not be overlooked
	if err := d.Decode(&body); err != nil {
		if _, long := errors.AsType[*http.MaxBytesError](err); long {
			err = httpapi.Errorf(http.StatusRequestEntityTooLarge, "BODY_TOO_BIG: at most %d bytes", maxActBody)
		} else {
			err = httpapi.BadRequest("INVALID_BODY: " + err.Error())
		}
		a.send(w, nil, err)
		return
	}
	request := actions.Request{Action: body.Action, Targets: body.Targets, Args: make(url.Values), URL: urlOf(r)}
	for name, v := range body.Args {
		request.Args.Set(name, string(v))
	}
	if body.Wait != nil && !*body.Wait {
		number, err := a.Actions.Begin(r.Context(), who, "api", request)
		e, _ := a.Audit.Get(number)
		e.Number = number
		a.send(w, showOutcome(e), refusal(err))
		return
	}
	e, err := a.Actions.Do(r.Context(), who, "api", request)
	if err != nil {
		a.send(w, nil, refusal(err))
		return
	}
	v := showOutcome(e)
	if _, failed := outcome(e); failed != nil && e.Done {
		v.Message = failed.Error()
		a.sendStatus(w, http.StatusBadGateway, v)
		return
	}
	a.send(w, v, nil)
}

// refused logs a request for a change that is refused before it is looked at.
func (a *api) refused(r *http.Request, action string, why error) {
	who := signin.FromContext(r.Context())
	a.Audit.Begin(audit.Entry{
		Who: who.Name, Role: who.Role.String(), How: who.How, From: who.Remote, UserAgent: who.UserAgent, Via: "api",
		Action: action, URL: urlOf(r), Refused: why.Error(),
	})
}

// targets are read up to one more than there may be: a body of eight megabytes could name
// millions, and each takes more here than there.
type targets []actions.Target

// UnmarshalJSON implements json.Unmarshaler.
func (t *targets) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if begin, err := d.Token(); err != nil || begin != json.Delim('[') {
		return errors.New("targets must be a list")
	}
	for d.More() && len(*t) <= actions.MaxTargets {
		var one actions.Target
		if err := d.Decode(&one); err != nil {
			return err
		}
		*t = append(*t, one)
	}
	return nil
}

// value is an argument: a string, or a number or truth value as it is written.
type value string

// UnmarshalJSON implements json.Unmarshaler.
func (v *value) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	switch b[0] {
	case '"':
		return json.Unmarshal(b, (*string)(v))
	case '{', '[', 'n':
		return errors.New("an argument must be a string, a number, or true")
	}
	*v = value(b)
	return nil
}

// outcomeView is what became of an action.
type outcomeView struct {
	Entry   uint64       `json:"entry,string"` // of the audit log
	Done    bool         `json:"done"`
	Message string       `json:"message"` // empty if all went well
	Results []resultView `json:"results"`
}

// resultView is what a daemon answered; without a node, why no daemon was asked.
type resultView struct {
	Node  string `json:"node"`
	OK    bool   `json:"ok"`
	Count int64  `json:"count,string,omitempty"`
	Note  string `json:"note,omitempty"`
	Error string `json:"error,omitempty"`
}

func showResults(results []audit.Result) []resultView {
	views := []resultView{}
	for _, r := range byNode(results) {
		views = append(views, resultView{r.Node, r.OK, r.Count, r.Note, r.Error})
	}
	return views
}

func showOutcome(e audit.Entry) outcomeView {
	message, failed := outcome(e)
	if failed != nil {
		message = failed.Error()
	}
	return outcomeView{e.Number, e.Done, message, showResults(e.Results)}
}

// argView is an argument of an action.
type argView struct {
	Name     string   `json:"name"`
	Title    string   `json:"title"`
	Hint     string   `json:"hint,omitempty"`
	Kind     string   `json:"kind"`
	Choices  []string `json:"choices,omitempty"`
	Required bool     `json:"required,omitempty"`
}

// actionView is an action, and whether who asks may do it.
type actionView struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Role    string    `json:"role"`
	Allowed bool      `json:"allowed"`
	Targets string    `json:"targets"`
	Danger  bool      `json:"danger,omitempty"`
	Undo    string    `json:"undo,omitempty"`
	Args    []argView `json:"args"`
}

// actionTable lists what can be done.
func (a *api) actionTable(r *http.Request, _ url.Values) (any, error) {
	who := signin.FromContext(r.Context())
	views := []actionView{}
	for _, act := range actions.Table() {
		v := actionView{
			act.Name, act.Title, act.Role.String(), a.Actions.May(who, act.Name) == nil, act.On.String(), act.Danger, act.Undo, []argView{},
		}
		for _, arg := range act.Args {
			v.Args = append(v.Args, argView{arg.Name, arg.Title, arg.Hint, arg.Kind.String(), arg.Choices, arg.Required})
		}
		views = append(views, v)
	}
	return struct {
		Actions []actionView `json:"actions"`
	}{views}, nil
}

// entryView is an entry of the audit log, with 64-bit numbers as strings.
type entryView struct {
	Number uint64 `json:"number,string"`
	audit.Entry
	Results []resultView `json:"results"`
}

func showEntry(e audit.Entry) entryView { return entryView{e.Number, e, showResults(e.Results)} }

// audit lists what was done, the latest first; with number, one entry.
func (a *api) audit(_ *http.Request, q url.Values) (any, error) {
	if v := q.Get("number"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return nil, invalid("number", "must be that of an entry")
		}
		e, ok := a.Audit.Get(n)
		if !ok {
			return nil, httpapi.Errorf(http.StatusNotFound, "ENTRY_NOT_FOUND: there is no entry %d, or not any more", n)
		}
		return showEntry(e), nil
	}
	limit, err := count(q, "limit", 100, 1000)
	if err != nil {
		return nil, err
	}
	before := uint64(0)
	if v := q.Get("before"); v != "" {
		if before, err = strconv.ParseUint(v, 10, 64); err != nil {
			return nil, invalid("before", "must be the number of an entry")
		}
	}
	entries := a.Audit.List(audit.Filter{
		Who: q.Get("who"), Action: q.Get("action"), Topic: q.Get("topic"), Text: q.Get("text"), Before: before, Limit: limit,
	})
	views := []entryView{}
	for _, e := range entries {
		views = append(views, showEntry(e))
	}
	v := struct {
		Entries []entryView `json:"entries"`
		Next    string      `json:"next,omitempty"` // what to pass as before
	}{Entries: views}
	if len(views) == limit && limit > 0 {
		v.Next = fmt.Sprint(views[limit-1].Number)
	}
	return v, nil
}

// send answers as httpapi's handlers do.
func (a *api) send(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	if err != nil {
		e, ok := errors.AsType[*httpapi.Error](err)
		if !ok {
			a.Log.Error("request failed", "error", err)
			e = &httpapi.Error{Status: http.StatusInternalServerError, Code: "INTERNAL_ERROR"}
		}
		status, v = e.Status, struct {
			Message string `json:"message"`
		}{e.Code}
	}
	a.sendStatus(w, status, v)
}

func (a *api) sendStatus(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		a.Log.Error("encoding an answer failed", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"message":"INTERNAL_ERROR"}`)
	}
	h := w.Header()
	h.Set("X-NSQ-Content-Type", httpapi.ContentType)
	h.Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// isText reports whether people can read it: UTF-8 without control characters other
// than tabs and ends of lines.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 || unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' {
			return false
		}
		b = b[n:]
	}
	return true
}
