package main

import (
	"net"
	"sync"
	"testing"
)

// between is a network to a daemon, which can fail.
type between struct {
	address string
	to      string
	mu      sync.Mutex
	conns   map[net.Conn]bool
	refuse  bool
	hang    chan struct{} // while it is open, nothing passes
	wg      sync.WaitGroup
}

func newBetween(t *testing.T, to string) *between {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &between{address: l.Addr().String(), to: to, conns: make(map[net.Conn]bool), hang: make(chan struct{})}
	close(b.hang)
	b.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.wg.Go(func() { b.pass(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		b.resume()
		b.cut(true)
		b.wg.Wait()
	})
	return b
}

func (b *between) pass(c net.Conn) {
	defer c.Close()
	d, err := net.Dial("tcp", b.to)
	if err != nil {
		return
	}
	defer d.Close()
	b.mu.Lock()
	if b.refuse {
		b.mu.Unlock()
		return
	}
	b.conns[c], b.conns[d] = true, true
	b.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { b.copy(c, d) })
	both.Go(func() { b.copy(d, c) })
	both.Wait()
	b.mu.Lock()
	delete(b.conns, c)
	delete(b.conns, d)
	b.mu.Unlock()
}

func (b *between) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		b.mu.Lock()
		hang := b.hang
		b.mu.Unlock()
		<-hang
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut ends all connections, and refuses new ones if told to.
func (b *between) cut(refuse bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = refuse
	for c := range b.conns {
		c.Close()
	}
}

// pause lets nothing pass until resume.
func (b *between) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hang = make(chan struct{})
}

func (b *between) resume() {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.hang:
	default:
		close(b.hang)
	}
}
