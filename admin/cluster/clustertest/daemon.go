// #nosec G115 -- numbers of a made-up cluster, small and never negative.

package clustertest

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Node is a played queue daemon.
type Node struct {
	Server
	Stock bool // it is nsqd: knows nothing that is Millrace's alone

	fleet *Fleet

	state    sync.Mutex // guards what follows
	daemon   Daemon
	advanced time.Time // when what flows by itself was last added up
	unlisted map[*Lookupd]bool
}

// Daemon is what a queue daemon knows. Only Change may touch it.
type Daemon struct {
	Version      string
	Hostname     string
	Zone, Region string
	Started      time.Time
	Health       string // OK, or what is wrong
	State        string // ready, failing, draining, stopping
	DrainSince   time.Time
	Deadline     time.Time // of the drain; zero is none

	DiskFree, DiskSize, MemoryUsed, MemoryLimit uint64

	Topics      map[string]*Topic
	Producers   []Client
	Config      []Setting // GET /config
	lastMessage uint64
}

// Setting is one of those that GET /config lists.
type Setting struct {
	Key     string `json:"key"`
	Value   any    `json:"value"`
	Default any    `json:"default"`
	Source  string `json:"source"`
}

// Pause is what was said with a pause.
type Pause struct {
	Reason, By   string
	Since, Until time.Time
}

// Policy is what was set for a topic.
type Policy struct {
	RetentionAge   time.Duration `json:"retention_age,omitempty"`
	RetentionBytes int64         `json:"retention_bytes,omitempty"`
	MaxMessages    int64         `json:"max_messages,omitempty"`
	MaxBytes       int64         `json:"max_bytes,omitempty"`
	Overflow       string        `json:"overflow,omitempty"`
}

// Topic is a topic of a Daemon.
type Topic struct {
	Name          string
	Depth, OnDisk int64
	Messages      uint64
	Bytes         uint64
	Paused        bool
	Pause         Pause
	Durability    string
	LogBytes      int64
	Segments      int
	Oldest        time.Time
	Damaged, Lost uint64
	Policy        Policy
	Percentiles   map[float64]time.Duration
	Channels      map[string]*Channel

	PerSecond float64 // messages come to it by themselves
	rest      float64 // of a message
}

// Channel is a channel of a Topic. Depth, InFlight and Deferred are figures; Listed are
// messages that can be looked at, and the dead of them are all the dead that there are.
type Channel struct {
	Name                             string
	Depth, OnDisk                    int64
	InFlight, Deferred               int64
	Messages                         uint64
	Requeued, TimedOut               uint64
	Finished                         uint64
	Buried, Revived, Deleted         uint64
	Paused                           bool
	Pause                            Pause
	MaxAttempts                      int
	Percentiles                      map[float64]time.Duration
	Clients                          []Client
	Listed                           []Message
	PerSecond                        float64 // messages are finished by themselves, if there are any
	RequeuedPerSecond                float64
	TimedOutPerSecond                float64
	rest, restRequeued, restTimedOut float64
}

// Message is one that can be looked at.
type Message struct {
	ID        string // 16 hexadecimal digits
	Body      []byte
	State     string // ready, in_flight, deferred, dead
	Published time.Time
	Attempts  uint16
	Reason    string
	Due       time.Time // deferred: when it is delivered; in_flight: when its time ends; dead: when it died
	Client    string    // that holds it
}

// newNode is the daemon with a number.
func newNode(f *Fleet, number int, stock bool) *Node {
	n := &Node{fleet: f, Stock: stock, unlisted: make(map[*Lookupd]bool), advanced: time.Now()}
	n.daemon = Daemon{
		Version: "1.3.0", Hostname: fmt.Sprintf("host-%d", number), Started: startTime(), Health: "OK", State: "ready",
		DiskFree: 80 << 30, DiskSize: 100 << 30, MemoryUsed: 64 << 20, MemoryLimit: 1 << 30,
		Topics:      make(map[string]*Topic),
		lastMessage: uint64(number+1) << 40,
		Config: []Setting{
			{"mem_limit", 1 << 30, 1 << 30, "default"},
			{"max_msg_size", 1 << 20, 1 << 20, "default"},
			{"data_path", fmt.Sprintf("/var/lib/qd-%d", number), "", "flag"},
			{"auth_secret", "***", "", "file"},
		},
	}
	return n
}

// Change calls do with what the daemon knows, for looking or changing. Nobody is answered
// meanwhile.
func (n *Node) Change(do func(d *Daemon)) {
	n.state.Lock()
	defer n.state.Unlock()
	n.flow()
	do(&n.daemon)
}

// Restart makes the daemon look as after a restart: it has just started, and all that it
// counts since then is zero. Its messages are still there.
func (n *Node) Restart() {
	n.Change(func(d *Daemon) {
		started := startTime()
		if !started.After(d.Started) {
			started = d.Started.Add(time.Second)
		}
		d.Started, d.State = started, "ready"
		for _, t := range d.Topics {
			t.Messages, t.Bytes = 0, 0
			for _, c := range t.Channels {
				c.Messages, c.Requeued, c.TimedOut, c.Finished = 0, 0, 0, 0
				c.Depth, c.InFlight = c.Depth+c.InFlight, 0
				c.Buried, c.Revived, c.Deleted = 0, 0, 0
			}
		}
	})
}

// Unlist has the lookups not know the daemon any more, as when it has lost them; with
// none given, no lookupd does.
func (n *Node) Unlist(from ...*Lookupd) { n.list(true, from) }

// List is the opposite of Unlist.
func (n *Node) List(at ...*Lookupd) { n.list(false, at) }

func (n *Node) list(gone bool, lookupds []*Lookupd) {
	if len(lookupds) == 0 {
		lookupds = n.fleet.Lookupds
	}
	n.state.Lock()
	defer n.state.Unlock()
	for _, l := range lookupds {
		n.unlisted[l] = gone
	}
}

// Topic returns the topic with a name, which is created if need be.
func (d *Daemon) Topic(name string) *Topic {
	t := d.Topics[name]
	if t == nil {
		t = &Topic{Name: name, Durability: "disk", Channels: make(map[string]*Channel)}
		d.Topics[name] = t
	}
	return t
}

// Channel returns the channel with a name, which is created if need be: with what the
// topic has kept, if it is the first.
func (t *Topic) Channel(name string) *Channel {
	c := t.Channels[name]
	if c == nil {
		c = &Channel{Name: name}
		if len(t.Channels) == 0 {
			c.Depth, c.OnDisk, c.Messages = t.Depth, t.OnDisk, uint64(t.Depth)
			t.Depth, t.OnDisk = 0, 0
		}
		t.Channels[name] = c
	}
	return c
}

// Publish adds n messages of so many bytes each.
func (t *Topic) Publish(n int, bytes int) {
	t.Messages += uint64(n)
	t.Bytes += uint64(n * bytes)
	if len(t.Channels) == 0 {
		t.Depth += int64(n)
	}
	for _, c := range t.Channels {
		c.Messages += uint64(n)
		c.Depth += int64(n)
	}
}

// Finish finishes as many messages as there are, at most n.
func (c *Channel) Finish(n int) {
	n = min(n, int(c.Depth))
	c.Depth -= int64(n)
	c.OnDisk = min(c.OnDisk, c.Depth)
	c.Finished += uint64(n)
}

// Dead is how many messages are dead.
func (c *Channel) Dead() (n int) {
	for _, m := range c.Listed {
		if m.State == "dead" {
			n++
		}
	}
	return n
}

// Show adds a message that can be looked at, in a state, and counts it there. It returns
// its ID.
func (d *Daemon) Show(c *Channel, state string, body []byte) string {
	d.lastMessage++
	m := Message{
		ID: fmt.Sprintf("%016x", d.lastMessage), Body: body, State: state, Attempts: 1,
		Published: time.Now().Add(-time.Minute), Due: time.Now().Add(time.Minute),
	}
	switch state {
	case "ready":
		c.Depth++
		m.Attempts, m.Due = 0, time.Time{}
	case "in_flight":
		c.InFlight++
	case "deferred":
		c.Deferred++
	case "dead":
		c.Buried++
		m.Attempts, m.Reason, m.Due = 5, "timed out", time.Now().Add(-time.Second)
	}
	c.Messages++
	c.Listed = append(c.Listed, m)
	slices.SortFunc(c.Listed, func(a, b Message) int { return cmp.Compare(a.ID, b.ID) })
	return m.ID
}

// flow adds what has come and gone by itself since it was last called.
func (n *Node) flow() {
	now := time.Now()
	seconds := now.Sub(n.advanced).Seconds()
	n.advanced = now
	for _, t := range n.daemon.Topics {
		if k := whole(&t.rest, t.PerSecond*seconds); k > 0 {
			t.Publish(k, 100)
		}
		for _, c := range t.Channels {
			if !c.Paused && !t.Paused {
				c.Finish(whole(&c.rest, c.PerSecond*seconds))
			}
			c.Requeued += uint64(whole(&c.restRequeued, c.RequeuedPerSecond*seconds))
			c.TimedOut += uint64(whole(&c.restTimedOut, c.TimedOutPerSecond*seconds))
		}
	}
}

// whole adds to a rest, and takes the whole part of it.
func whole(rest *float64, more float64) int {
	*rest += more
	n := int(*rest)
	*rest -= float64(n)
	return n
}
