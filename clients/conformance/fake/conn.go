package fake

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/clients/conformance/script"
	"github.com/millrace-mq/millrace/protocol"
)

// Plan is how a connection is greeted.
type Plan struct {
	Silently bool             // not at all
	Deafly   bool             // after that, nothing is read
	Changes  []script.Setting // to the usual answer to IDENTIFY, which is nsqd's
	Sub      bool             // SUB is answered, too
	Serves   bool             // and publishes are
	Limit    int              // of a message that is stored, in bytes; 0: none
	Refuses  string           // a command that is answered with Refusal, an error, and the end
	Refusal  string
	Says     string // bytes to answer IDENTIFY with, before the end
}

// conn is a client's connection to a daemon.
type conn struct {
	daemon *Daemon
	plan   Plan
	tcp    *net.TCPConn

	writing sync.Mutex    // held for one write; never together with World.mu
	closed  chan struct{} // closed by close

	// Guarded by World.mu.
	nc         net.Conn                   // tcp, or a layer over it
	identify   map[string]json.RawMessage // what IDENTIFY said; nil before it came
	greeted    bool
	commands   []Command // that nobody has expected yet
	ready      int       // what RDY said last
	readies    []int     // what it said, since it was looked at
	unanswered int       // publishes that were expected, and not answered
	ended      bool
}

// serve reads what the client says until the connection ends.
func (c *conn) serve() {
	err := c.read()
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		err = nil
	}
	c.daemon.world.Do(func(note func(string, ...any)) {
		c.closeLocked()
		c.ended = true
		if err != nil {
			note("%s: the connection ended: %v", c.daemon.Name, err)
		} else {
			note("%s: the connection ended", c.daemon.Name)
		}
	})
}

func (c *conn) closeLocked() {
	select {
	case <-c.closed:
	default:
		close(c.closed)
		_ = c.tcp.Close()
	}
}

func (c *conn) read() error {
	in := bufio.NewReader(c.nc)
	var magic [4]byte
	if _, err := io.ReadFull(in, magic[:]); err != nil {
		return err
	}
	if string(magic[:]) != protocol.MagicV2 {
		return fmt.Errorf("it began with %q", magic)
	}
	for {
		command, err := readCommand(in)
		if err != nil {
			return err
		}
		if command.Name == "IDENTIFY" {
			err = c.identified(&in, command.Bodies[0])
		} else {
			err = c.take(command)
		}
		if err != nil {
			return err
		}
		if c.plan.Deafly {
			<-c.closed
			return nil
		}
	}
}

// identified answers IDENTIFY as planned, and goes on over the layers that both want.
func (c *conn) identified(in **bufio.Reader, body string) error {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		return fmt.Errorf("IDENTIFY: %w", err)
	}
	c.daemon.world.Do(func(note func(string, ...any)) {
		c.identify = fields
		note("%s <- IDENTIFY %s", c.daemon.Name, body)
	})
	switch {
	case c.plan.Silently:
		return nil
	case c.plan.Says != "":
		_ = c.write([]byte(c.plan.Says))
		return errors.New("it was told who is here")
	case c.plan.Refuses == "IDENTIFY":
		return c.refuse()
	}
	answer := c.plan.answer(fields)
	text, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	if err := c.write(protocol.AppendFrame(nil, protocol.FrameResponse, text)); err != nil {
		return err
	}
	for _, l := range layers {
		if string(fields[l.field]) == "true" && string(answer[l.field]) == "true" {
			if err := c.upgrade(in, l); err != nil {
				return err
			}
		}
	}
	c.daemon.world.Do(func(func(string, ...any)) { c.greeted = true })
	return nil
}

// upgrade goes on over a layer, and says so.
func (c *conn) upgrade(in **bufio.Reader, l layer) error {
	over, err := l.begin(c.nc)
	if err != nil {
		return fmt.Errorf("%s: %w", l.field, err)
	}
	c.daemon.world.Do(func(note func(string, ...any)) {
		c.nc = over
		note("%s: %s is up", c.daemon.Name, l.field)
	})
	*in = bufio.NewReader(over)
	return c.write(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK))
}

// answer is nsqd's to IDENTIFY, with the plan's changes.
func (p *Plan) answer(request map[string]json.RawMessage) map[string]json.RawMessage {
	usual := protocol.IdentifyResponse{
		MaxRdyCount: 2500, Version: protocol.Version, MaxMsgTimeout: 900_000, MsgTimeout: 60_000,
		DeflateLevel: 6, MaxDeflateLevel: 6, OutputBufferSize: 16384, OutputBufferTimeout: 250,
	}
	for field, to := range map[string]any{"msg_timeout": &usual.MsgTimeout, "sample_rate": &usual.SampleRate} {
		if value, asked := request[field]; asked {
			_ = json.Unmarshal(value, to)
		}
	}
	text, err := json.Marshal(usual)
	if err != nil {
		panic(err)
	}
	answer := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &answer); err != nil {
		panic(err)
	}
	for _, s := range p.Changes {
		value := json.RawMessage(s.Value)
		if !json.Valid(value) {
			value, _ = json.Marshal(s.Value)
		}
		answer[s.Key] = value
	}
	return answer
}

// take keeps a command until it is expected. What it does not keep is RDY, which
// is a state, and what a daemon that welcomes answers.
func (c *conn) take(command Command) error {
	answer := ""
	c.daemon.world.Do(func(note func(string, ...any)) {
		note("%s <- %s", c.daemon.Name, command)
		switch {
		case command.Name == c.plan.Refuses:
			answer = c.plan.Refusal
		case command.publish() && c.plan.Serves && c.plan.fits(command):
			answer = protocol.OK
			c.daemon.stored = append(c.daemon.stored, command.Bodies...)
		case command.publish() && c.plan.Serves:
			answer = "E_BAD_MESSAGE " + command.Name + " message too big"
		case command.Name == "RDY":
			n := 1
			if len(command.Args) > 0 {
				_, _ = fmt.Sscan(command.Args[0], &n)
			}
			c.ready = n
			c.readies = append(c.readies, n)
		case command.Name == "SUB" && c.plan.Sub:
			answer = protocol.OK
		case command.Name == "CLS" && c.daemon.world.easy:
			answer = protocol.CloseWait
		default:
			c.commands = append(c.commands, command)
		}
	})
	switch {
	case answer == "":
		return nil
	case answer == c.plan.Refusal:
		return c.refuse()
	case strings.HasPrefix(answer, "E_"):
		_ = c.write(protocol.AppendFrame(nil, protocol.FrameError, answer))
		return errors.New(answer)
	}
	return c.write(protocol.AppendFrame(nil, protocol.FrameResponse, answer))
}

func (c *conn) refuse() error {
	_ = c.write(protocol.AppendFrame(nil, protocol.FrameError, c.plan.Refusal))
	return errors.New(c.plan.Refusal)
}

// fits reports whether a daemon with this plan stores what is published.
func (p *Plan) fits(command Command) bool {
	return p.Limit == 0 || !slices.ContainsFunc(command.Bodies, func(b string) bool { return len(b) > p.Limit })
}

// writeTimeout is for clients that do not read: scenarios have none that need not.
const writeTimeout = 10 * time.Second

func (c *conn) write(data []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.nc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := c.nc.Write(data)
	return err
}

// nextLocked is the oldest command that was not expected yet, without those
// that may come at any time, unless they are what is expected.
func (c *conn) nextLocked(want string) *Command {
	for len(c.commands) > 0 {
		next := &c.commands[0]
		if next.Name == want || next.Name != "NOP" && next.Name != "TOUCH" {
			return next
		}
		c.commands = c.commands[1:]
	}
	return nil
}
