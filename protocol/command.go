package protocol

import (
	"bytes"
	"math"
	"time"
)

// Verb names a V2 command in a switch.
type Verb uint8

// The V2 commands.
const (
	Identify Verb = iota
	Auth
	Sub
	Pub
	MPub
	DPub
	Rdy
	Fin
	Req
	Touch
	Cls
	Nop
	Seek
)

// State is what a V2 connection has come to. The values are bits so that a
// command can list the states that it is legal in.
type State uint8

// The states in which commands are read.
const (
	StateInit       State = 1 << iota // connected, identified or not
	StateSubscribed                   // after SUB
	StateClosing                      // after CLS: nothing new is sent
)

const anyState = StateInit | StateSubscribed | StateClosing

// Command is a row of the protocol's table.
type Command struct {
	Verb   Verb
	Name   string
	Legal  State  // the states in which it may be said
	Args   int    // how many arguments it needs at least; surplus ones are ignored
	params string // what NSQ calls arguments in the error for too few
	Body   bool   // a length-prefixed body follows the line
	Beyond bool   // it is the extension's: where that is not spoken it does not exist
}

// commands is protocol V2: what may be said, when, with how many arguments, and
// what its extension adds to it.
// AUTH alone also refuses surplus arguments.
var commands = [...]Command{
	Identify: {Name: "IDENTIFY", Legal: StateInit, Body: true},
	Auth:     {Name: "AUTH", Legal: StateInit, Body: true},
	Sub:      {Name: "SUB", Legal: StateInit, Args: 2, params: "parameters"},
	Pub:      {Name: "PUB", Legal: anyState, Args: 1, params: "parameters", Body: true},
	MPub:     {Name: "MPUB", Legal: anyState, Args: 1, params: "parameters", Body: true},
	DPub:     {Name: "DPUB", Legal: anyState, Args: 2, params: "parameters", Body: true},
	Rdy:      {Name: "RDY", Legal: StateSubscribed | StateClosing},
	Fin:      {Name: "FIN", Legal: StateSubscribed | StateClosing, Args: 1, params: "params"},
	Req:      {Name: "REQ", Legal: StateSubscribed | StateClosing, Args: 2, params: "params"},
	Touch:    {Name: "TOUCH", Legal: StateSubscribed | StateClosing, Args: 1, params: "params"},
	Cls:      {Name: "CLS", Legal: StateSubscribed},
	Nop:      {Name: "NOP", Legal: anyState},
	Seek:     {Name: "SEEK", Legal: StateSubscribed, Args: 1, params: "parameters", Beyond: true},
}

var commandByName = func() map[string]*Command {
	m := make(map[string]*Command, len(commands))
	for v := range commands {
		c := &commands[v]
		c.Verb = Verb(v)
		m[c.Name] = c
	}
	return m
}()

// Commands returns the table, one row for every verb, in the order of Verb.
func Commands() []Command { return append([]Command(nil), commands[:]...) }

// Line is a command line taken apart. Args alias the line; arguments beyond
// the second are counted in N but not kept, since no command has three.
type Line struct {
	*Command
	Args [2][]byte
	N    int
}

// ParseLine takes apart a command line given without its newline. One carriage
// return at the end is dropped. Arguments are separated by single spaces, so
// two in a row enclose an empty argument. The only error is E_INVALID for a
// command that does not exist.
func ParseLine(line []byte) (l Line, err *Error) {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	name, rest, more := bytes.Cut(line, []byte{' '})
	l.Command = commandByName[string(name)]
	if l.Command == nil {
		return l, Errorf(EInvalid, "invalid command %s", name)
	}
	for more {
		var arg []byte
		arg, rest, more = bytes.Cut(rest, []byte{' '})
		if l.N < len(l.Args) {
			l.Args[l.N] = arg
		}
		l.N++
	}
	return l, nil
}

// Check reports, as the error to send, why the line may not be said in state.
func (l Line) Check(state State) *Error {
	if l.Legal&state == 0 {
		return Errorf(EInvalid, "cannot %s in current state", l.Name)
	}
	if l.N < l.Command.Args {
		return Errorf(EInvalid, "%s insufficient number of %s", l.Name, l.params)
	}
	if l.Verb == Auth && l.N != 0 {
		return Errorf(EInvalid, "AUTH invalid number of parameters")
	}
	return nil
}

// ParseCount reads a decimal number of digits alone. An empty one is 0, as
// NSQ has it; ok is false for anything else and for numbers beyond int64.
func ParseCount(b []byte) (n int64, ok bool) {
	for _, c := range b {
		d := int64(c - '0')
		if c < '0' || c > '9' || n > (math.MaxInt64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// ParseMillis reads a number of milliseconds. Those beyond what a Duration
// can hold come back as the longest Duration.
func ParseMillis(b []byte) (d time.Duration, ok bool) {
	n, ok := ParseCount(b)
	if !ok {
		return 0, false
	}
	if n > math.MaxInt64/int64(time.Millisecond) {
		return math.MaxInt64, true
	}
	return time.Duration(n) * time.Millisecond, true
}
