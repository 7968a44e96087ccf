package script

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Scenario is one conversation, from a heading to the next.
type Scenario struct {
	Title string
	Line  int               // of its heading
	Not   map[string]string // adapters that it is not played with, and why
	Steps []Step
}

// Step is one line.
type Step struct {
	Line int
	Text string // as it was written
	Act  Act
}

// Act is what a step does: one of the types below.
type Act interface{ act() }

// What a client's user does. A Result, where there is one, is waited for at
// once; otherwise a Told step asks for it later.
type (
	// Open makes a writer or a reader.
	Open struct {
		Reader   bool
		Client   string
		Settings []Setting
		Result   *Result
	}
	// Publish publishes Bodies.
	Publish struct {
		Client   string
		Form     Form
		Async    bool // through the form that takes a callback
		Blocking bool // whose callback waits until the client is told to let go
		Topic    string
		Delay    time.Duration // of Deferred
		Timeout  time.Duration // 0: none
		Bodies   []string
		Result   *Result
	}
	// Call is a method without messages: Method is one of methods.
	Call struct {
		Client, Method string
		Place          string        // of a seek
		Timeout        time.Duration // of a flush
		Result         *Result
	}
	// Told waits for the result of what was begun: a publish of Bodies, or Method.
	Told struct {
		Client, Method string
		Bodies         []string
		Result         Result
	}
	// Accepts waits until an asynchronous publish of Bodies was accepted.
	Accepts struct {
		Client string
		Bodies []string
	}
	// LetGo has the callbacks that block return.
	LetGo struct{ Client string }
	// Receives waits for the next message that the client hands to its user.
	Receives struct {
		Client   string
		GivenUp  bool // handed over as one that was tried too often
		Body     string
		Attempts int // 0: any
	}
	// Answer has the handler of a message end, or uses the message after that.
	Answer struct {
		Client, How string // one of answers
		Body        string
		Delay       time.Duration // of a requeue
	}
	// Trace calls one of the helpers for W3C trace contexts.
	Trace struct {
		Unwrap                        bool
		Given, Result                 string
		Traceparent, Tracestate       string // given to wrap
		GotTraceparent, GotTracestate string // by unwrap
	}
)

// What a daemon sees and says.
type (
	// Accept takes one connection, or with Always each that comes from then on,
	// and answers IDENTIFY as Changes say; with Always, SUB too.
	Accept struct {
		Daemon   string
		Silently bool // and says nothing
		Deafly   bool // and reads nothing after IDENTIFY
		Always   bool
		Serves   bool   // Always, and answers publishes
		Limit    int    // of a message, in bytes, for Serves; 0: none
		Refuses  string // a command that is answered with Refusal, an error, and the end; may be empty
		Refusal  string
		Says     string // bytes to answer IDENTIFY with, before the end; may be empty
		Changes  []Setting
		Sub      []string // topic and channel, if SUB is to be seen and answered, too
	}
	// Expect is the next command, to one of the daemons.
	Expect struct {
		Daemons []string
		Want    Command
	}
	// ExpectEnd waits until the client has closed its connection.
	ExpectEnd struct{ Daemon string }
	// ExpectNothing sees that no command comes for some time or, with Nobody, no
	// connection.
	ExpectNothing struct {
		Daemon string
		Nobody bool
		For    time.Duration
	}
	// ExpectStored waits until daemons that serve have stored Bodies between them,
	// in whatever order, and sees that they have stored nothing else.
	ExpectStored struct {
		Daemons []string
		Bodies  []string
	}
	// Say writes bytes, in one piece or Bytewise.
	Say struct {
		Daemon   string
		Data     []byte
		Answers  int // how many of the frames answer a publish
		Bytewise bool
		Below    bool // TLS and compression
		ToAll    bool // instead of Data, an OK for each publish seen and not answered
	}
	// Break ends a connection, with a TCP reset if Reset.
	Break struct {
		Daemon string
		Reset  bool
	}
	// Power starts or stops a daemon or a lookupd. All are on in the beginning.
	Power struct {
		Fake string
		On   bool
	}
)

// What a lookupd is asked and says.
type (
	// Lookup changes what a lookupd answers.
	Lookup struct {
		Lookupd string
		How     LookupHow
		Daemons []Producer
		Status  int    // of LookupRaw
		Body    string // of LookupRaw
	}
	// Asked waits until the lookupd was asked, since it was changed and since the
	// last Asked.
	Asked struct {
		Lookupd string
		For     string // a part of the request's path and query
	}
)

// Wait lets time pass.
type Wait struct{ For time.Duration }

func (Open) act()          {}
func (Publish) act()       {}
func (Call) act()          {}
func (Told) act()          {}
func (Accepts) act()       {}
func (LetGo) act()         {}
func (Receives) act()      {}
func (Answer) act()        {}
func (Trace) act()         {}
func (Accept) act()        {}
func (Expect) act()        {}
func (ExpectEnd) act()     {}
func (ExpectNothing) act() {}
func (ExpectStored) act()  {}
func (Say) act()           {}
func (Break) act()         {}
func (Power) act()         {}
func (Lookup) act()        {}
func (Asked) act()         {}
func (Wait) act()          {}

// Form is a way of publishing.
type Form string

// One takes a single message; Each is One for each body in turn, as fast as it goes.
const (
	One      Form = "one"
	Each     Form = "each"
	Many     Form = "many"
	Deferred Form = "deferred"
)

// Setting is a key and its value, as written but unquoted.
type Setting struct{ Key, Value string }

// Result is how something ended: Kind is one of kinds, Text a part of the error's.
type Result struct{ Kind, Text string }

// Producer is a daemon as a lookupd lists it.
type Producer struct{ Daemon, Zone, Region string }

// LookupHow is a way in which a lookupd answers.
type LookupHow uint8

// How a lookupd answers.
const (
	LookupLists   LookupHow = iota // the daemons
	LookupUnknown                  // 404 TOPIC_NOT_FOUND
	LookupRaw                      // a status and a body
	LookupHangs                    // not at all
	LookupStock                    // as nsqlookupd: 404 for paths that it does not know
)

// Command is a command as a scenario expects it.
type Command struct {
	Name   string
	Args   []string
	Bodies []string

	Fields []Setting // of IDENTIFY's JSON
	Ready  Compare   // of RDY

	// With Gather, Bodies come in Args[0]'s topic in any number of PUBs and MPUBs up to
	// Commands, in their order.
	Gather   bool
	Commands int
}

// Compare is a condition on a number.
type Compare struct {
	Op string // =, >=, <=
	N  int
}

// Holds reports whether n meets the condition.
func (c Compare) Holds(n int) bool {
	switch c.Op {
	case ">=":
		return n >= c.N
	case "<=":
		return n <= c.N
	}
	return n == c.N
}

// Parse reads a file of scenarios. Its error names every line that is wrong.
func Parse(text string) ([]Scenario, error) {
	var list []Scenario
	var errs []error
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		switch title, heading := strings.CutPrefix(line, "== "); {
		case line == "" || line[0] == '#':
		case heading:
			list = append(list, Scenario{Title: title, Line: n, Not: map[string]string{}})
		case len(list) == 0:
			errs = append(errs, fmt.Errorf("line %d: a scenario begins with == and its title", n))
		default:
			if err := list[len(list)-1].add(n, line); err != nil {
				errs = append(errs, fmt.Errorf("line %d: %s: %w", n, line, err))
			}
		}
	}
	return list, errors.Join(errs...)
}

func (s *Scenario) add(n int, line string) error {
	if rest, ok := strings.CutPrefix(line, "not for "); ok {
		name, why, ok := strings.Cut(rest, ": ")
		if !ok {
			return errors.New("say why: not for NAME: REASON")
		}
		s.Not[name] = why
		return nil
	}
	act, err := parseLine(line)
	if err != nil {
		return err
	}
	s.Steps = append(s.Steps, Step{Line: n, Text: line, Act: act})
	return nil
}
