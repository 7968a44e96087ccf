package fake

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace-mq/millrace/protocol"
)

// Ease says that the scenario is over: a client that says CLS is let go, and a
// daemon that is deaf, and would not notice the end, closes.
func (w *World) Ease(daemons []*Daemon) {
	var waiting []*conn
	w.Do(func(func(string, ...any)) {
		w.easy = true
		for _, d := range daemons {
			for _, c := range d.conns {
				if c.plan.Deafly {
					c.closeLocked()
				}
				if n := len(c.commands); n > 0 && c.commands[n-1].Name == "CLS" {
					waiting = append(waiting, c)
				}
			}
		}
	})
	for _, c := range waiting {
		_ = c.write(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.CloseWait))
	}
}

// ExpectParted waits until no client has a connection any more, and returns
// what they have said that nobody has expected.
func (w *World) ExpectParted(ctx context.Context, daemons []*Daemon) error {
	var open string
	if !w.Wait(ctx, func() bool {
		open = ""
		for _, d := range daemons {
			for _, c := range d.conns {
				if !c.ended {
					open = d.Name
				}
			}
		}
		return open == ""
	}) {
		return fmt.Errorf("the connection to %s is still open", open)
	}
	return w.leftover(daemons)
}

func (w *World) leftover(daemons []*Daemon) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, d := range daemons {
		for _, c := range d.conns {
			for _, command := range c.commands {
				switch command.Name {
				case "NOP", "TOUCH", "CLS", "SUB":
				default:
					errs = append(errs, fmt.Errorf("nobody expected %s <- %s", d.Name, command))
				}
			}
		}
	}
	return errors.Join(errs...)
}

// Join waits for everything that the world has started. Its daemons and lookupds
// must have been stopped.
func (w *World) Join() { w.wg.Wait() }
