package fake

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/millrace-mq/millrace/clients/conformance/script"
	"github.com/millrace-mq/millrace/protocol"
)

// Daemon is a queue daemon.
type Daemon struct {
	Name    string
	Address string // host:port; the same for as long as the world stands
	world   *World

	// Guarded by World.mu.
	listener net.Listener // nil while it is stopped
	plan     *Plan        // for whoever comes; nil: connections wait to be accepted
	arrivals []net.Conn
	conns    []*conn
	current  *conn    // the one that was spoken of last
	stored   []string // by plans that serve
}

// NewDaemon starts a daemon.
func (w *World) NewDaemon(name string) (*Daemon, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &Daemon{Name: name, Address: l.Addr().String(), world: w}
	at := l.Addr().(*net.TCPAddr)
	w.Do(func(func(string, ...any)) { w.byName[name] = address{at.IP.String(), at.Port} })
	d.listen(l)
	return d, nil
}

// Start lets a stopped daemon be connected to again.
func (d *Daemon) Start(ctx context.Context) error {
	l, err := listenAgain(ctx, d.Address)
	if err == nil {
		d.listen(l)
	}
	return err
}

// listenAgain listens where somebody has listened before. A connection of
// somebody else's may have the port for a moment.
func listenAgain(ctx context.Context, address string) (net.Listener, error) {
	for {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l, nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (d *Daemon) listen(l net.Listener) {
	d.world.Do(func(func(string, ...any)) { d.listener = l })
	d.world.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			d.arrive(nc)
		}
	})
}

func (d *Daemon) arrive(nc net.Conn) {
	d.world.Do(func(note func(string, ...any)) {
		note("%s: a connection comes", d.Name)
		switch {
		case d.listener == nil:
			_ = nc.Close()
		case d.plan != nil:
			d.meetLocked(nc, *d.plan)
		default:
			d.arrivals = append(d.arrivals, nc)
		}
	})
}

func (d *Daemon) meetLocked(nc net.Conn, plan Plan) *conn {
	c := &conn{daemon: d, plan: plan, tcp: nc.(*net.TCPConn), nc: nc, closed: make(chan struct{})}
	if plan.Deafly { // nor shall the system read much
		_ = c.tcp.SetReadBuffer(16 << 10)
	}
	d.conns = append(d.conns, c)
	d.current = c
	d.world.wg.Go(c.serve)
	return c
}

// Stop ends the daemon as a crash would.
func (d *Daemon) Stop() {
	d.world.Do(func(func(string, ...any)) {
		if d.listener != nil {
			_ = d.listener.Close()
			d.listener = nil
		}
		for _, nc := range d.arrivals {
			_ = nc.Close()
		}
		d.arrivals = nil
		for _, c := range d.conns {
			c.closeLocked()
		}
	})
}

// Welcome greets each connection from now on, those that wait included.
func (d *Daemon) Welcome(plan Plan) {
	d.world.Do(func(func(string, ...any)) {
		d.plan = &plan
		for _, nc := range d.arrivals {
			d.meetLocked(nc, plan)
		}
		d.arrivals = nil
	})
}

// Accept waits for a connection and greets it. One that the client gives up
// before it was greeted does not count, nor, if sub is not nil, one that it gives
// up before that came: SUB's topic and channel.
func (d *Daemon) Accept(ctx context.Context, plan Plan, sub []string) error {
	for {
		var c *conn
		if !d.world.Wait(ctx, func() bool {
			if len(d.arrivals) == 0 {
				return false
			}
			c = d.meetLocked(d.arrivals[0], plan)
			d.arrivals = d.arrivals[1:]
			return true
		}) {
			return fmt.Errorf("nobody has connected to %s", d.Name)
		}
		if !d.world.Wait(ctx, func() bool { return plan.Silently || c.ended || c.greeted && (sub == nil || len(c.commands) > 0) }) {
			return fmt.Errorf("the client has not gone on with %s", d.Name)
		}
		var gone bool
		d.world.Do(func(func(string, ...any)) {
			gone = c.ended && !plan.Silently && (!c.greeted || sub != nil && len(c.commands) == 0)
		})
		if gone {
			continue
		}
		if sub == nil {
			return nil
		}
		if _, err := d.world.Expect(ctx, []*Daemon{d}, script.Command{Name: "SUB", Args: sub}); err != nil {
			return err
		}
		return c.write(protocol.AppendFrame(nil, protocol.FrameResponse, protocol.OK))
	}
}

// Say writes what a scenario says on the connection that was spoken of last.
func (d *Daemon) Say(ctx context.Context, s script.Say) error {
	c, err := d.talk(ctx)
	if err != nil {
		return err
	}
	d.world.Do(func(func(string, ...any)) { c.unanswered -= min(s.Answers, c.unanswered) })
	switch {
	case s.Below:
		_, err = c.tcp.Write(s.Data)
		return err
	case !s.Bytewise:
		return c.write(s.Data)
	}
	for i := range s.Data {
		if err := c.write(s.Data[i : i+1]); err != nil {
			return err
		}
		time.Sleep(100 * time.Microsecond) // so that they come one by one, or nearly
	}
	return nil
}

// SayOKToAll answers each publish that was expected and not answered.
func (d *Daemon) SayOKToAll(ctx context.Context) error {
	c, err := d.talk(ctx)
	if err != nil {
		return err
	}
	var data []byte
	d.world.Do(func(func(string, ...any)) {
		for ; c.unanswered > 0; c.unanswered-- {
			data = protocol.AppendFrame(data, protocol.FrameResponse, protocol.OK)
		}
	})
	return c.write(data)
}

// talk waits for a connection to say something on.
func (d *Daemon) talk(ctx context.Context) (c *conn, err error) {
	if !d.world.Wait(ctx, func() bool {
		c = d.current
		return c != nil && (c.greeted || c.plan.Silently || c.ended)
	}) {
		return nil, fmt.Errorf("nobody is connected to %s", d.Name)
	}
	return c, nil
}

// Break ends the connection that was spoken of last.
func (d *Daemon) Break(ctx context.Context, reset bool) error {
	c, err := d.talk(ctx)
	if err != nil {
		return err
	}
	d.world.Do(func(func(string, ...any)) {
		if reset {
			_ = c.tcp.SetLinger(0)
		}
		c.closeLocked()
	})
	d.world.Wait(ctx, func() bool { return c.ended })
	return nil
}
