package limit

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Connections counts those of one kind, and says which are too many. It is safe for
// concurrent use. Those through socket files count among all, but have no address.
type Connections struct {
	mu            sync.Mutex
	most, each    int // 0: any number
	n             int
	by            map[Remote]int
	full, crowded uint64
	tight         atomic.Bool
	farewells     chan struct{}
}

// NewConnections returns a Connections of so many in all, and of so many from each
// address; 0 is any number.
func NewConnections(most, perAddress int) *Connections {
	c := &Connections{by: make(map[Remote]int), farewells: make(chan struct{}, manyFarewells)}
	c.Set(most, perAddress)
	return c
}

// Set changes how many there may be. Those that there are stay.
func (c *Connections) Set(most, perAddress int) {
	c.mu.Lock()
	c.most, c.each = most, perAddress
	c.changed()
	c.mu.Unlock()
}

// TooManyError says which bound keeps a connection out.
type TooManyError struct {
	Most int
	From Remote // whose connections are too many; zero: those of all
}

func (e *TooManyError) Error() string {
	if e.From.Local() {
		return fmt.Sprintf("TOO_MANY_CONNECTIONS: there are %d already (max-connections)", e.Most)
	}
	return fmt.Sprintf("TOO_MANY_CONNECTIONS: there are %d from %s already (max-connections-per-address)", e.Most, e.From)
}

// Enter counts one from there, or returns a *TooManyError. Whoever got in has to
// Leave. room, which may be nil, is asked to end another one if there are too many in
// all, and reports whether it has: that one leaves soon.
func (c *Connections) Enter(from Remote, room func() bool) error {
	err := c.tryEnter(from, room == nil)
	switch {
	case err == nil:
		return nil
	case room == nil || !err.From.Local():
		return err
	}
	made := room()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !made {
		c.full++
		return &TooManyError{Most: c.most}
	}
	c.enter(from)
	return nil
}

// tryEnter counts as refused what it refuses; what is refused for the sake of all only if
// that is final.
func (c *Connections) tryEnter(from Remote, final bool) *TooManyError {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.each > 0 && !from.Local() && c.by[from] >= c.each:
		c.crowded++
		return &TooManyError{c.each, from}
	case c.most > 0 && c.n >= c.most:
		if final {
			c.full++
		}
		return &TooManyError{Most: c.most}
	}
	c.enter(from)
	return nil
}

// enter needs mu.
func (c *Connections) enter(from Remote) {
	c.n++
	c.by[from]++
	c.changed()
}

// Leave ends the counting of one that has entered.
func (c *Connections) Leave(from Remote) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	c.changed()
	if c.by[from]--; c.by[from] == 0 {
		delete(c.by, from)
	}
}

// Tight reports whether half of what there may be is there, which is never so without a
// bound. It takes no lock.
func (c *Connections) Tight() bool { return c.tight.Load() }

// changed needs mu.
func (c *Connections) changed() { c.tight.Store(c.most > 0 && c.n >= c.most/2) }

// Counts are figures of Connections.
type Counts struct {
	Now int `json:"connections"`
	// How many were kept out since the start: for those of all, and for those of their
	// address.
	RefusedFull    uint64 `json:"refused_full"`
	RefusedCrowded uint64 `json:"refused_per_address"`
}

// Counts returns the figures.
func (c *Connections) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Counts{c.n, c.full, c.crowded}
}

// Who is kept out is told why, and given a moment to read it, for a close with unread
// bytes would be a reset that overtakes the answer. Of more than so many at once the
// connections are just closed: they cost a goroutine and a file each.
const (
	manyFarewells    = 64
	farewellPatience = time.Second
	farewellBytes    = 64 << 10
)

// TurnAway answers a connection that was not let in, and closes it. It does not wait
// for that; wg does.
func (c *Connections) TurnAway(wg *sync.WaitGroup, conn net.Conn, answer []byte) {
	select {
	case c.farewells <- struct{}{}:
	default:
		_ = conn.Close()
		return
	}
	wg.Go(func() {
		defer func() { <-c.farewells }()
		farewell(conn, answer)
	})
}

func farewell(conn net.Conn, answer []byte) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(farewellPatience))
	if _, err := conn.Write(answer); err != nil { // over TLS, shakes hands first
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	buffer := make([]byte, 4<<10)
	for left := farewellBytes; left > 0; {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		left -= n
	}
}
