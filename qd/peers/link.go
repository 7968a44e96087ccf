package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

const (
	// pingInterval is NSQ's. A lookupd stops listing a daemon that it has not
	// heard a PING from for five minutes.
	pingInterval = 15 * time.Second

	// A lost lookupd is tried again after minPause, then after longer and
	// longer pauses. Each is shortened at random by up to a half, so that the
	// daemons of a cluster do not all come back at once.
	minPause = 100 * time.Millisecond
	maxPause = 15 * time.Second
)

// link keeps one lookupd informed. Its goroutine owns it, but for the fields
// that say otherwise.
type link struct {
	*Peers
	address string
	dismiss context.CancelFunc
	news    chan struct{} // there is something new to tell; anyone signals it
	asks    chan struct{} // there are topics to be asked about; anyone signals it
	web     *http.Client  // of anyone
	lost    bool          // and said so

	mu     sync.Mutex // guards what follows
	status Link
	full   string // its reply that it takes no more registrations; empty while it takes all
	face   string // scheme, host and port of its HTTP face; empty while it is not linked, or has none
}

// newLink returns a link that nobody runs yet.
func (p *Peers) newLink(address string) *link {
	l := &link{
		Peers: p, address: address, news: make(chan struct{}, 1), asks: make(chan struct{}, 1),
		status: Link{Address: address, Since: time.Now()},
	}
	l.web = l.newWeb()
	return l
}

// run keeps the link up until ctx ends.
func (l *link) run(ctx context.Context) {
	defer l.web.CloseIdleConnections()
	pause := minPause
	for {
		informed, err := l.attend(ctx)
		if ctx.Err() != nil {
			return
		}
		if informed {
			pause = minPause
		}
		l.complain(err)
		// #nosec G404 -- when to try again, or whom: not a secret
		wait(ctx, pause/2+rand.N(pause/2))
		pause = min(2*pause, maxPause)
	}
}

// complain notes a failure, and logs it: loudly, unless the one before was no
// success.
func (l *link) complain(err error) {
	l.mu.Lock()
	l.status.LastError = err.Error()
	l.status.Failures++
	l.mu.Unlock()
	if l.lost {
		l.Log.Debug("lookupd is still out of reach", "lookupd", l.address, "error", err)
		return
	}
	l.lost = true
	l.Log.Warn("lookupd is out of reach; trying again", "lookupd", l.address, "error", err)
}

// attend makes a connection and keeps the lookupd informed over it until it
// fails or ctx ends. informed reports whether the lookupd had everything once.
func (l *link) attend(ctx context.Context) (informed bool, err error) {
	conn, err := l.connect(ctx)
	if err != nil {
		return false, err
	}
	self := l.Self()
	self.Extended, self.State = true, l.State()
	introduction, err := l.introduction(self)
	if err != nil {
		_ = conn.Close()
		return false, err
	}
	c, info, hangUp, err := converse(ctx, conn, introduction, l.RequestTimeout)
	if err != nil {
		return false, err
	}
	defer hangUp()
	l.linked(info)
	defer l.unlinked()

	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	asking.Go(func() { l.catchUp(ctx) })

	n := news{link: l, to: c, told: new(roster), state: self.State}
	n.teller = teller{out: c.out, extended: info.Extended}
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		done, err := n.tell()
		if err != nil {
			return informed, err
		}
		if done && !informed {
			informed, l.lost = true, false
			l.Log.Info("registered with lookupd", "lookupd", l.address, "topics", len(n.told.topics), "version", info.Version)
		}
		select {
		case <-l.news:
		case <-c.stirred:
		case <-ping.C:
			n.ping = true
		}
	}
}

// introduction is what the lookupd is told of the daemon, with the token if there is
// one. Lookupds that do not know it ignore it.
func (l *link) introduction(self protocol.PeerInfo) ([]byte, error) {
	said := struct {
		protocol.PeerInfo
		Token string `json:"token,omitempty"`
	}{PeerInfo: self}
	if l.Token != nil {
		token, err := l.Token()
		if err != nil {
			return nil, err
		}
		said.Token = token
	}
	body, err := json.Marshal(said)
	if err != nil {
		return nil, fmt.Errorf("describing ourselves: %w", err)
	}
	return body, nil
}

// news is what a lookupd was told over a connection, and what it has to be.
type news struct {
	teller
	link   *link
	to     *conversation
	told   *roster
	state  protocol.PeerState
	synced bool // it knows that it has been told everything
	ping   bool // it has to be shown that we live
	pinged bool // and what it replies to now ends with that
}

// tell sends what there is to tell, once the lookupd has replied to all that was
// sent before: so what is new meanwhile is one change, however much it is. done
// reports that the lookupd knows everything. It fails when the conversation has.
func (n *news) tell() (done bool, err error) {
	idle, lost := n.to.state()
	if lost != nil || !idle {
		return false, lost
	}
	if reply := n.to.takesNoMore(); reply != "" {
		n.link.fills(reply)
	}
	if n.to.wantsAll() && n.pinged { // to a PING alone, or one could have us tell it without end
		n.link.Log.Info("lookupd asks for everything again", "lookupd", n.link.address)
		n.told, n.synced = new(roster), false
		n.link.empties()
	}
	n.pinged = n.ping
	before := n.said
	if newest := n.link.roster.Load(); newest != n.told {
		n.changes(n.told, newest)
		n.told = newest
		n.link.knows(len(newest.topics))
	}
	if n.extended && !n.synced {
		n.command("SYNCED")
		n.synced = true
	}
	if state := n.link.State(); n.extended && state != n.state {
		n.command("STATE " + string(state))
		n.state = state
	}
	if n.ping {
		n.command("PING")
		n.ping = false
	}
	return n.said == before, n.to.flush()
}

// linked notes that the lookupd has said what it is.
func (l *link) linked(info protocol.PeerInfo) {
	scheme, port := "http", info.HTTPPort
	if l.TLS != nil {
		scheme, port = "https", info.HTTPSPort
	}
	face := ""
	if info.BroadcastAddress != "" && port > 0 {
		face = scheme + "://" + net.JoinHostPort(info.BroadcastAddress, strconv.Itoa(port))
	} else {
		l.Log.Warn("lookupd says of no HTTP address where it could be asked for a new topic's channels: it is not asked",
			"lookupd", l.address, "scheme", scheme)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.face = face
	l.status.Linked, l.status.Since, l.status.LastError = true, time.Now(), ""
	l.status.Extended, l.status.Version = info.Extended, info.Version
}

// fills notes that the lookupd does not take all that we have, until it asks for that again.
func (l *link) fills(reply string) {
	l.mu.Lock()
	known := l.full != ""
	l.full = reply
	l.mu.Unlock()
	if !known {
		l.Log.Warn("lookupd takes no more of our topics and channels: consumers do not find the rest by it", "lookupd", l.address, "error", reply)
	}
}

func (l *link) empties() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = ""
}

func (l *link) unlinked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.face, l.full = "", ""
	l.status.Linked, l.status.Since, l.status.Topics = false, time.Now(), 0
}

// knows notes how many topics the lookupd has been told of.
func (l *link) knows(topics int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status.Topics = topics
}
