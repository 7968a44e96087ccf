package fake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/clients/conformance/script"
)

// Expect waits for the next command to one of daemons and says why it is not the
// one that is wanted. It returns the daemon that it came to.
func (w *World) Expect(ctx context.Context, daemons []*Daemon, want script.Command) (*Daemon, error) {
	switch want.Name {
	case "IDENTIFY":
		return daemons[0], daemons[0].expectIdentify(ctx, want)
	case "RDY":
		return w.expectReady(ctx, daemons, want)
	case "messages":
		return daemons[0], daemons[0].gather(ctx, want)
	}
	d, got, err := w.next(ctx, daemons, want.Name)
	if err != nil {
		return nil, err
	}
	return d, fits(got, want)
}

// next takes the next command to one of daemons.
func (w *World) next(ctx context.Context, daemons []*Daemon, want string) (from *Daemon, got Command, err error) {
	if !w.Wait(ctx, func() bool {
		for _, d := range daemons {
			for _, c := range d.conns {
				if next := c.nextLocked(want); next != nil {
					from, got = d, *next
					d.current = c
					c.commands = c.commands[1:]
					if got.publish() {
						c.unanswered++
					}
					return true
				}
			}
		}
		return false
	}) {
		return nil, got, fmt.Errorf("nothing has come")
	}
	return from, got, nil
}

func (d *Daemon) expectIdentify(ctx context.Context, want script.Command) error {
	var err error
	if !d.world.Wait(ctx, func() bool {
		if d.current == nil || d.current.identify == nil {
			return false
		}
		err = fitsFields(d.current.identify, want.Fields)
		return true
	}) {
		return fmt.Errorf("IDENTIFY has not come")
	}
	return err
}

// expectReady waits until RDY says what is wanted. A value that came since RDY
// was looked at last will do, even if another has followed.
func (w *World) expectReady(ctx context.Context, daemons []*Daemon, want script.Command) (from *Daemon, err error) {
	last := 0
	if !w.Wait(ctx, func() bool {
		for _, d := range daemons {
			if d.current == nil {
				continue
			}
			last = d.current.ready
			if d.current.seenLocked(want.Ready) {
				from = d
				return true
			}
		}
		return false
	}) {
		return nil, fmt.Errorf("RDY is %d", last)
	}
	return from, nil
}

func (c *conn) seenLocked(want script.Compare) bool {
	if i := slices.IndexFunc(c.readies, want.Holds); i >= 0 {
		c.readies = c.readies[i+1:]
		return true
	}
	c.readies = nil
	return want.Holds(c.ready)
}

// gather waits for bodies in any number of PUBs and MPUBs.
func (d *Daemon) gather(ctx context.Context, want script.Command) error {
	var got []string
	commands := 0
	for len(got) < len(want.Bodies) {
		_, next, err := d.world.next(ctx, []*Daemon{d}, "PUB")
		if err != nil {
			return fmt.Errorf("%d messages in %d commands have come: %w", len(got), commands, err)
		}
		if !next.publish() || !slices.Equal(next.Args, want.Args) {
			return fmt.Errorf("after %d messages came %s", len(got), next)
		}
		got = append(got, next.Bodies...)
		commands++
	}
	if !slices.Equal(got, want.Bodies) {
		return fmt.Errorf("the messages were others, or in another order: %s", Command{Bodies: got})
	}
	if commands > want.Commands {
		return fmt.Errorf("they came in %d commands", commands)
	}
	return nil
}

// ExpectEnd waits until the connection that was spoken of last has ended.
func (d *Daemon) ExpectEnd(ctx context.Context) error {
	if !d.world.Wait(ctx, func() bool { return d.current != nil && d.current.ended }) {
		return fmt.Errorf("the client has not closed its connection to %s", d.Name)
	}
	return nil
}

// ExpectNothing sees that nobody says anything for some time.
func (d *Daemon) ExpectNothing(ctx context.Context, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if _, got, err := d.world.next(ctx, []*Daemon{d}, "TOUCH"); err == nil {
		return fmt.Errorf("came %s", got)
	}
	return nil
}

// ExpectNobody sees that nobody connects for some time.
func (d *Daemon) ExpectNobody(ctx context.Context, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	known := -1
	if d.world.Wait(ctx, func() bool {
		n := len(d.conns) + len(d.arrivals)
		if known < 0 {
			known = n - len(d.arrivals)
		}
		return n > known
	}) {
		return errors.New("somebody has connected")
	}
	return nil
}

// ExpectStored waits until daemons that serve have stored bodies.
func (w *World) ExpectStored(ctx context.Context, daemons []*Daemon, bodies []string) error {
	var got []string
	w.Wait(ctx, func() bool {
		got = nil
		for _, d := range daemons {
			got = append(got, d.stored...)
		}
		return len(got) >= len(bodies)
	})
	want := slices.Sorted(slices.Values(bodies))
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("there are %s", Command{Bodies: got})
	}
	return nil
}
