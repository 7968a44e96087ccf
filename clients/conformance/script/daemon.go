// #nosec G115 -- numbers of a scenario, which is part of the tests.

package script

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/protocol"
)

func parseDaemon(daemon string, w *words) (Act, error) {
	if w.is("or") {
		return parseEither(daemon, w)
	}
	switch verb := w.next(); verb {
	case "accepts", "welcomes":
		return parseAccept(Accept{Daemon: daemon, Always: verb == "welcomes"}, w)
	case "serves":
		return parseServe(Accept{Daemon: daemon, Always: true, Serves: true}, w)
	case "has":
		return ExpectStored{[]string{daemon}, w.bodies()}, nil
	case "<-":
		return parseExpect(daemon, w)
	case "->":
		return parseSay(daemon, w)
	case "closes", "resets":
		return Break{daemon, verb == "resets"}, nil
	case "starts", "stops":
		return Power{daemon, verb == "starts"}, nil
	default:
		return nil, fmt.Errorf("a daemon does not do %q", verb)
	}
}

func parseEither(daemon string, w *words) (Act, error) {
	both := []string{daemon, w.next()}
	switch {
	case !IsDaemon(both[1]):
	case w.is("<-"):
		want, err := parseCommand(w)
		return Expect{both, want}, err
	case w.is("has"):
		return ExpectStored{both, w.bodies()}, nil
	}
	return nil, errors.New("it must be: A or B <- COMMAND, or: A or B has MESSAGES")
}

func parseServe(a Accept, w *words) (Act, error) {
	limit, ok, err := w.setting("limit")
	if ok && err == nil {
		a.Limit, err = strconv.Atoi(limit)
	}
	if err != nil {
		return nil, err
	}
	return parseAccept(a, w)
}

func parseAccept(a Accept, w *words) (act Act, err error) {
	a.Silently, a.Deafly = w.is("silently"), w.is("deafly")
	if a.Changes, err = w.settings(); err != nil {
		return nil, err
	}
	if w.is("SUB") {
		a.Sub = []string{w.next(), w.next()}
	}
	if w.is("but") {
		err = a.addRefusal(w)
	}
	return a, err
}

func (a *Accept) addRefusal(w *words) (err error) {
	switch {
	case !a.Always:
	case w.is("refuses"):
		a.Refuses, a.Refusal = w.next(), w.rest()
		return nil
	case w.is("says"):
		a.Says, err = w.body()
		return err
	}
	return errors.New("it must be: A welcomes but refuses COMMAND ERROR, or: but says TEXT")
}

func parseExpect(daemon string, w *words) (Act, error) {
	switch {
	case w.is("end"):
		return ExpectEnd{daemon}, nil
	case w.is("nothing"):
		return parseNothing(ExpectNothing{Daemon: daemon}, w)
	case w.is("nobody"):
		return parseNothing(ExpectNothing{Daemon: daemon, Nobody: true}, w)
	}
	want, err := parseCommand(w)
	return Expect{[]string{daemon}, want}, err
}

func parseNothing(n ExpectNothing, w *words) (act Act, err error) {
	if !w.is("for") {
		return nil, errors.New("for how long?")
	}
	n.For, err = w.duration()
	return n, err
}

// parseCommand reads a command as it is expected.
func parseCommand(w *words) (c Command, err error) {
	c.Name = w.next()
	switch c.Name {
	case "IDENTIFY":
		c.Fields, err = w.settings()
		return c, err
	case "CLS", "NOP":
		return c, nil
	case "AUTH":
		c.Bodies = w.bodies()
		return c, wantBodies(c, 1)
	case "RDY":
		c.Ready, err = parseCompare(w.next())
		return c, err
	case "SUB":
		c.Args = []string{w.next(), w.next()}
		return c, nil
	case "SEEK":
		c.Args = []string{w.next()}
		return c, nil
	case "FIN", "TOUCH":
		return c, c.addID(w)
	case "REQ":
		err = c.addID(w)
		c.Args = append(c.Args, w.next())
		return c, err
	case "PUB", "MPUB", "DPUB", "messages":
		return c, c.addPublish(w)
	}
	return c, fmt.Errorf("%q is no command", c.Name)
}

func (c *Command) addPublish(w *words) (err error) {
	c.Args = []string{w.next()}
	if c.Name == "DPUB" {
		c.Args = append(c.Args, w.next())
	}
	c.Bodies = w.bodies()
	switch c.Name {
	case "PUB", "DPUB":
		return wantBodies(*c, 1)
	case "messages":
		c.Gather = true
		if !w.is("in") || !w.is("at") || !w.is("most") {
			return errors.New("in at most how many commands?")
		}
		if c.Commands, err = w.number(); err == nil && !w.is("commands") {
			err = errors.New("commands are missing")
		}
	}
	return err
}

func wantBodies(c Command, n int) error {
	if len(c.Bodies) != n {
		return fmt.Errorf("%s has %d body in quotes", c.Name, n)
	}
	return nil
}

// addID reads a message's number, which stands for its ID.
func (c *Command) addID(w *words) error {
	n, err := w.number()
	c.Args = append(c.Args, protocol.FormatID(uint64(n)).String())
	return err
}

func parseCompare(s string) (Compare, error) {
	for _, op := range []string{">=", "<=", "="} {
		if number, ok := strings.CutPrefix(s, op); ok {
			n, err := strconv.Atoi(number)
			return Compare{op, n}, err
		}
	}
	return Compare{}, errors.New("say RDY =1, RDY >=1 or RDY <=1")
}

// parseSay reads what a daemon says: frames with | between them.
func parseSay(daemon string, w *words) (Act, error) {
	s := Say{Daemon: daemon}
	if len(w.list) == 3 && w.line[w.list[0].at:] == "OK to all" {
		w.list = nil
		s.ToAll = true
		return s, nil
	}
	s.Below, s.Bytewise = w.is("below"), w.is("bytewise")
	limit := -1
	if len(w.list) > 2 && w.list[1].text == "bytes" && w.list[2].text == "of" {
		n, err := w.number()
		if err != nil {
			return nil, err
		}
		limit, w.list = n, w.list[2:]
	}
	for more := true; more; {
		var err error
		if more, err = s.addFrame(w); err != nil {
			return nil, err
		}
	}
	if limit > len(s.Data) {
		return nil, fmt.Errorf("there are only %d bytes", len(s.Data))
	}
	if limit >= 0 {
		s.Data = s.Data[:limit]
	}
	return s, nil
}

// sentAt is when every message of a daemon's was published, for it does not matter.
const sentAt = 1_700_000_000_000_000_000

// addFrame reads a frame, and reports whether another follows.
func (s *Say) addFrame(w *words) (more bool, err error) {
	part := words{line: w.line, list: w.list}
	for i, next := range w.list {
		if next.text == "|" && !next.quoted {
			part.list, w.list, more = w.list[:i], w.list[i+1:], true
			part.line = strings.TrimRight(w.line[:next.at], " ")
			break
		}
	}
	if !more {
		w.list = nil
	}
	kind := part.next()
	switch {
	case kind == protocol.OK:
		s.Answers++
		s.Data = protocol.AppendFrame(s.Data, protocol.FrameResponse, kind)
	case kind == protocol.CloseWait:
		s.Data = protocol.AppendFrame(s.Data, protocol.FrameResponse, kind)
	case kind == "heartbeat":
		s.Data = protocol.AppendFrame(s.Data, protocol.FrameResponse, protocol.Heartbeat)
	case strings.HasPrefix(kind, "E_"):
		s.Answers++
		s.Data = protocol.AppendFrame(s.Data, protocol.FrameError, strings.TrimSpace(kind+" "+part.rest()))
	case kind == "json":
		s.Data = protocol.AppendFrame(s.Data, protocol.FrameResponse, part.rest())
	case kind == "raw":
		b, err := hex.DecodeString(strings.ReplaceAll(part.rest(), " ", ""))
		s.Data = append(s.Data, b...)
		return more, err
	case kind == "text":
		s.Data = append(s.Data, part.next()...)
	case kind == "frame":
		return more, s.addOdd(&part)
	case kind == "message":
		return more, s.addMessage(&part)
	default:
		return false, fmt.Errorf("a daemon does not say %q", kind)
	}
	return more, part.end()
}

// addOdd reads a frame of any type: its number, and its data in quotes.
func (s *Say) addOdd(w *words) error {
	n, err := w.number()
	if err != nil {
		return err
	}
	s.Data = protocol.AppendFrame(s.Data, protocol.FrameType(n), w.next())
	return w.end()
}

func (s *Say) addMessage(w *words) error {
	id, err := w.number()
	if err != nil {
		return err
	}
	body, err := w.body()
	if err != nil {
		return err
	}
	attempts := 1
	if value, ok, _ := w.setting("attempts"); ok {
		if attempts, err = strconv.Atoi(value); err != nil {
			return err
		}
	}
	s.Data = protocol.AppendMessage(s.Data, sentAt, uint16(attempts), uint64(id), []byte(body))
	return w.end()
}
