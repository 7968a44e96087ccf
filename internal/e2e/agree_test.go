package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// says is what a lookupd tells of a topic: its channels, then each daemon's TCP port
// with what is paused, such as "[bill ship] 15001 15002(paused)(bill)". Empty: it
// knows none of the name.
func (l lookup) says(topic string) string {
	var answer struct {
		Channels  []string `json:"channels"`
		Producers []struct {
			TCPPort        int      `json:"tcp_port"`
			Paused         bool     `json:"paused"`
			PausedChannels []string `json:"paused_channels"`
		} `json:"producers"`
	}
	if status, err := getJSON("http://"+l.http+"/lookup?topic="+topic, &answer); err != nil {
		return err.Error()
	} else if status != http.StatusOK {
		return ""
	}
	slices.Sort(answer.Channels)
	var daemons []string
	for _, p := range answer.Producers {
		d := fmt.Sprint(" ", p.TCPPort)
		if p.Paused {
			d += "(paused)"
		}
		for _, c := range p.PausedChannels {
			d += "(" + c + ")"
		}
		daemons = append(daemons, d)
	}
	slices.Sort(daemons)
	return fmt.Sprint(answer.Channels) + strings.Join(daemons, "")
}

// generation is the newest one of a topic that the lookupd knows.
func (l lookup) generation(t *testing.T, topic string) (newest uint64) {
	t.Helper()
	var answer map[string][]struct {
		Generation uint64 `json:"generation"`
	}
	if _, err := getJSON("http://"+l.http+"/debug", &answer); err != nil {
		t.Fatal(err)
	}
	for _, p := range answer["topic:"+topic+":"] {
		newest = max(newest, p.Generation)
	}
	return newest
}

func (d daemon) port() string {
	_, port, _ := net.SplitHostPort(d.tcp)
	return port
}

// cluster is lookupds, and daemons that register with all of them.
type cluster struct {
	t       *testing.T
	lookups []lookup
	running []*process // the lookupds
}

func newCluster(t *testing.T, lookupds int) *cluster {
	c := &cluster{t: t}
	for range lookupds {
		l := newLookup(t)
		c.lookups = append(c.lookups, l)
		c.running = append(c.running, l.start(t))
	}
	return c
}

// daemon is a qd that runs and is linked with all lookupds.
func (c *cluster) daemon() (daemon, *process) {
	c.t.Helper()
	var flags []string
	for _, l := range c.lookups {
		flags = append(flags, "--lookupd-tcp-address="+l.tcp)
	}
	d := newDaemon(c.t, flags...)
	p := d.start(c.t)
	c.linked(d)
	return d, p
}

// linked waits until a daemon is linked with all lookupds.
func (c *cluster) linked(d daemon) {
	c.t.Helper()
	eventually(c.t, "qd to be linked with all lookupds", func() bool {
		var answer struct {
			Lookupds []struct {
				Linked bool `json:"linked"`
			} `json:"lookupds"`
		}
		_, err := getJSON("http://"+d.http+"/lookupds", &answer)
		linked := 0
		for _, l := range answer.Lookupds {
			if l.Linked {
				linked++
			}
		}
		return err == nil && linked == len(c.lookups)
	})
}

// agree waits until all lookupds say the same of topic.
func (c *cluster) agree(topic, want string) {
	c.t.Helper()
	for i, l := range c.lookups {
		var got string
		eventually(c.t, fmt.Sprintf("lookupd %d to say %q of %s", i, want, topic), func() bool {
			if now := l.says(topic); now != got {
				got = now
				c.t.Logf("lookupd %d says %q", i, got)
			}
			return got == want
		})
	}
}

// everywhere posts to all lookupds.
func (c *cluster) everywhere(path string) {
	c.t.Helper()
	for _, l := range c.lookups {
		post(c.t, l.http, path, "")
	}
}

func (c *cluster) kill(i int) {
	c.t.Helper()
	c.running[i].signal(syscall.SIGKILL)
	c.running[i].status()
}

func (c *cluster) restart(i int) {
	c.t.Helper()
	c.running[i] = c.lookups[i].start(c.t)
}

// Whatever is done through a daemon, or to a lookupd, in the end all lookupds say
// the same.
func TestLookupdsAgree(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	a, _ := c.daemon()
	a.post(t, "/topic/create?topic=orders", "")
	a.post(t, "/channel/create?topic=orders&channel=ship", "")
	c.agree("orders", "[ship] "+a.port())
	b, second := c.daemon()
	b.post(t, "/topic/create?topic=orders", "") // and the channel that the other one has
	ports := []string{a.port(), b.port()}
	slices.Sort(ports)
	both := func(of string) string { return strings.Join(ports, " ") + of }
	c.agree("orders", "[ship] "+both(""))
	b.post(t, "/channel/create?topic=orders&channel=bill", "")
	c.agree("orders", "[bill ship] "+both(""))

	// Pauses.
	b.post(t, "/topic/delete?topic=orders", "")
	c.agree("orders", "[ship] "+a.port()) // what nobody has any more is forgotten
	a.post(t, "/topic/pause?topic=orders", "")
	a.post(t, "/channel/pause?topic=orders&channel=ship", "")
	c.agree("orders", "[ship] "+a.port()+"(paused)(ship)")
	a.post(t, "/topic/unpause?topic=orders", "")
	a.post(t, "/channel/unpause?topic=orders&channel=ship", "")
	c.agree("orders", "[ship] "+a.port())

	// As admin tools delete a topic: a tombstone everywhere, then the topic. Its
	// successor is visible at once, and another tombstone of the old one hides nothing.
	old := c.lookups[0].generation(t, "orders")
	c.everywhere("/topic/tombstone?topic=orders&node=" + a.http)
	c.agree("orders", "[ship]")
	a.post(t, "/topic/delete?topic=orders", "")
	c.agree("orders", "") // else its successor may be given the channels that a lookupd still knows
	a.post(t, "/topic/create?topic=orders", "")
	c.agree("orders", "[] "+a.port())
	c.everywhere(fmt.Sprintf("/topic/tombstone?topic=orders&node=%s&generation=%d", a.http, old))
	c.agree("orders", "[] "+a.port())

	// While a lookupd is dead, and while another one hangs.
	c.kill(2)
	c.running[1].signal(syscall.SIGSTOP)
	a.post(t, "/topic/delete?topic=orders", "")
	a.post(t, "/topic/create?topic=parts", "")
	a.post(t, "/channel/create?topic=parts&channel=count", "")
	a.post(t, "/channel/pause?topic=parts&channel=count", "")
	second.signal(syscall.SIGKILL)
	second.status()
	c.running[1].signal(syscall.SIGCONT)
	b.start(t)
	b.post(t, "/topic/create?topic=later", "")
	c.restart(2)
	c.linked(a)
	c.linked(b)
	c.agree("orders", "")
	c.agree("parts", "[count] "+a.port()+"(count)")
	c.agree("later", "[] "+b.port())
}

// What an operator deletes at one lookupd alone, and the daemon still has, is there
// again after the daemon's next PING.
func TestLookupdsAgreeAfterAPing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	d, _ := c.daemon()
	d.post(t, "/topic/create?topic=orders", "")
	d.post(t, "/channel/create?topic=orders&channel=ship", "")
	d.post(t, "/channel/pause?topic=orders&channel=ship", "")
	want := "[ship] " + d.port() + "(ship)"
	c.agree("orders", want)
	post(t, c.lookups[0].http, "/topic/delete?topic=orders", "")
	if got := c.lookups[0].says("orders"); got != "" {
		t.Errorf("it still says %q", got)
	}
	post(t, c.lookups[1].http, "/channel/delete?topic=orders&channel=ship", "")
	c.agree("orders", want)
}

// A new topic has the channels that only a lookupd knows that comes back later, from
// its first message on.
func TestChannelsOfALookupdThatComesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2)
	a, _ := c.daemon()
	b, _ := c.daemon()
	c.kill(1)
	flags := []string{"--lookupd-tcp-address=" + c.lookups[1].tcp}
	other := newDaemon(t, flags...)
	other.start(t)
	other.post(t, "/topic/create?topic=orders", "")
	other.post(t, "/channel/create?topic=orders&channel=ship", "")
	a.post(t, "/pub?topic=orders", "first")
	a.post(t, "/channel/create?topic=orders&channel=own", "")
	a.post(t, "/pub?topic=orders", "second")
	b.post(t, "/topic/create?topic=orders", "")
	if err := deleteMissing(b, "orders", "ship"); err != nil {
		t.Fatal(err)
	}
	c.restart(1)
	eventually(t, "the channel to be learned of", func() bool {
		_, channels := a.stats("orders")
		return channels["ship"].Depth == 2 && channels["own"].Depth == 2
	})
	eventually(t, "the other daemon to have heard of it", func() bool {
		var answer struct {
			Lookupds []struct {
				Awaited int `json:"awaited_topics"`
			} `json:"lookupds"`
		}
		_, err := getJSON("http://"+b.http+"/lookupds", &answer)
		return err == nil && len(answer.Lookupds) == 2 && answer.Lookupds[0].Awaited+answer.Lookupds[1].Awaited == 0
	})
	if _, channels := b.stats("orders"); len(channels) > 1 {
		t.Errorf("a channel that was deleted is back: %v", channels)
	}
}

// deleteMissing deletes a channel that a daemon has not.
func deleteMissing(d daemon, topic, channel string) error {
	r, err := client.Post("http://"+d.http+"/channel/delete?topic="+topic+"&channel="+channel, "", nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	var answer struct {
		Message string `json:"message"`
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || answer.Message != "CHANNEL_NOT_FOUND" {
		return fmt.Errorf("deleting a channel that is not there: %s %q %w", r.Status, answer.Message, err)
	}
	return nil
}
