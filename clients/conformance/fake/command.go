package fake

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/clients/conformance/script"
	"github.com/millrace-mq/millrace/protocol"
)

// Command is a command that a client has sent.
type Command struct {
	Name   string
	Args   []string
	Bodies []string
}

// maxCommand bounds a body, in bytes: a client that sends garbage must not take
// all memory.
const maxCommand = 64 << 20

func readCommand(r *bufio.Reader) (c Command, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return c, err
	}
	words := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	c.Name, c.Args = words[0], words[1:]
	switch c.Name {
	case "IDENTIFY", "AUTH", "PUB", "DPUB", "MPUB":
	default:
		return c, nil
	}
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return c, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxCommand {
		return c, fmt.Errorf("%s with a body of %d bytes", c.Name, n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return c, err
	}
	if c.Name != "MPUB" {
		c.Bodies = []string{string(body)}
		return c, nil
	}
	c.Bodies, err = batch(body)
	return c, err
}

func batch(b []byte) (bodies []string, err error) {
	n, _, fault := protocol.CheckBatch(b, maxCommand, maxCommand)
	if fault != nil {
		return nil, fault
	}
	rest := b[4:]
	for range n {
		var body []byte
		body, rest = protocol.Next(rest)
		bodies = append(bodies, string(body))
	}
	return bodies, nil
}

// publish reports whether the command is answered with OK or an error.
func (c Command) publish() bool { return c.Name == "PUB" || c.Name == "MPUB" || c.Name == "DPUB" }

func (c Command) String() string {
	parts := append([]string{c.Name}, c.Args...)
	for _, b := range c.Bodies {
		parts = append(parts, short(b))
	}
	if len(parts) > 12 {
		parts = append(parts[:12], fmt.Sprintf("and %d more", len(parts)-12))
	}
	return strings.Join(parts, " ")
}

func short(body string) string {
	if len(body) > 200 {
		return fmt.Sprintf("%q… (%d bytes)", body[:20], len(body))
	}
	return strconv.Quote(body)
}

// fits says why a command is not the one that is expected, or nil.
func fits(got Command, want script.Command) error {
	if got.Name != want.Name || !slices.EqualFunc(got.Args, want.Args, fitsArgument) || !slices.Equal(got.Bodies, want.Bodies) {
		return fmt.Errorf("came %s", got)
	}
	return nil
}

// fitsArgument takes a want of 100..200 for a number between these.
func fitsArgument(got, want string) bool {
	low, high, isRange := strings.Cut(want, "..")
	from, err1 := strconv.Atoi(low)
	to, err2 := strconv.Atoi(high)
	n, err3 := strconv.Atoi(got)
	if !isRange || err1 != nil || err2 != nil || err3 != nil {
		return got == want
	}
	return from <= n && n <= to
}

// fitsFields says why the JSON of an IDENTIFY is not as expected. A field is
// expected to be absent with none, and to be there with any.
func fitsFields(got map[string]json.RawMessage, want []script.Setting) error {
	var errs []error
	for _, s := range want {
		value, there := got[s.Key]
		text := plain(value)
		switch {
		case s.Value == "none" && !there, s.Value == "any" && there, there && text == s.Value:
		case there:
			errs = append(errs, fmt.Errorf("%s is %s", s.Key, value))
		default:
			errs = append(errs, fmt.Errorf("%s is missing", s.Key))
		}
	}
	return errors.Join(errs...)
}

// plain is a JSON value without spaces, and a string without quotes.
func plain(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	var b bytes.Buffer
	_ = json.Compact(&b, value) // what is no JSON was refused before
	return b.String()
}
