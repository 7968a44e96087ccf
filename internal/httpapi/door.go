package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/millrace-mq/millrace/internal/limit"
)

const (
	// maxIdle is how many connections may be open at once between two requests. Each
	// costs some 15 KB and a file, for two minutes.
	maxIdle = 4096
	// fewConnections is how many there may be before it is noted which of them are
	// idle: until then there is nothing to decide, and a request need not pay for it.
	fewConnections = 1024
)

// door is where a server's connections come in, and what is known of those that ask for
// nothing now. All its methods may be called by any number of goroutines.
type door struct {
	net.Listener
	connections *limit.Connections
	log         *Sparing
	silent      *strangers // have not sent the header of a request yet
	idle        *strangers // have, and had their answer

	here      atomic.Int64   // connections
	turned    sync.WaitGroup // those who are told that there is no room
	connected sync.WaitGroup
}

func newDoor(l net.Listener, connections *limit.Connections, log *Sparing) *door {
	return &door{
		Listener: l, connections: connections, log: log,
		silent: newStrangers(maxStrangers, func(client net.Addr) {
			log.Warn("too many connections ask nothing: the oldest are closed", "client", client)
		}),
		idle: newStrangers(maxIdle, func(client net.Addr) {
			log.Warn("too many connections are kept for another request: those idle for longest are closed", "client", client)
		}),
	}
}

// Accept returns connections that there is room for. When there are no files left to
// accept with, it takes some from those that ask nothing, and returns the error all the
// same: net/http waits a moment after it, within which what was closed is given back.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				d.silent.closeSome()
				d.idle.closeSome()
			}
			return nil, err
		}
		err = d.connections.Enter(limit.RemoteOf(c.RemoteAddr().String()), d.makeRoom)
		if err == nil {
			return c, nil
		}
		d.log.Warn("connections are refused", "client", c.RemoteAddr(), "error", err)
		d.connections.TurnAway(&d.turned, c, noRoom(err))
	}
}

// makeRoom ends a connection that asks for nothing, and reports whether there was one.
func (d *door) makeRoom() bool { return d.idle.closeOldest(0) || d.silent.closeOldest(0) }

// noRoom is what a client is told that was not let in.
func noRoom(why error) []byte {
	body, _ := json.Marshal(struct {
		Message string `json:"message"`
	}{why.Error()})
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nRetry-After: 1\r\nConnection: close\r\nX-NSQ-Content-Type: %s\r\n"+
		"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		http.StatusServiceUnavailable, http.StatusText(http.StatusServiceUnavailable), ContentType, jsonValue[0], len(body), body)
}

// state is told how a connection fares.
func (d *door) state(c net.Conn, to http.ConnState) {
	switch to {
	case http.StateNew: // within http.Server.Serve
		d.here.Add(1)
		d.connected.Add(1)
		d.silent.enter(c)
	case http.StateActive:
		d.silent.leave(c)
		d.idle.leave(c)
	case http.StateIdle:
		if d.here.Load() > fewConnections || d.connections.Tight() {
			d.idle.enter(c)
		}
	case http.StateClosed, http.StateHijacked:
		d.silent.leave(c)
		d.idle.leave(c)
		d.connections.Leave(limit.RemoteOf(c.RemoteAddr().String()))
		d.here.Add(-1)
		d.connected.Done()
	}
}

// wait waits until no connection is left.
func (d *door) wait() {
	d.turned.Wait()
	d.connected.Wait()
}
