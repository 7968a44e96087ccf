package e2e

import (
	"syscall"
	"testing"
)

// A lookupd that was killed knows nothing when it comes back: every qd must
// notice and tell it everything again.
func TestLookupdIsKilledAndComesBack(t *testing.T) {
	l := newLookup(t)
	lookupd := l.start(t)
	d := newDaemon(t, "--lookupd-tcp-address="+l.tcp)
	d.start(t)
	d.post(t, "/topic/create?topic=orders", "")
	eventually(t, "lookupd to list the topic", func() bool { return l.lists("orders") })

	lookupd.signal(syscall.SIGKILL)
	lookupd.status()
	d.post(t, "/topic/create?topic=meanwhile", "")
	l.start(t)
	eventually(t, "qd to register again", func() bool { return l.lists("orders") })
	eventually(t, "qd to register what is new", func() bool { return l.lists("meanwhile") })
}

// A qd that stops is gone from lookupd, and is back with its topics when it
// starts again.
func TestLookupdFollowsQd(t *testing.T) {
	l := newLookup(t)
	l.start(t)
	d := newDaemon(t, "--lookupd-tcp-address="+l.tcp)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		qd := d.start(t)
		if sig == syscall.SIGTERM {
			d.post(t, "/topic/create?topic=orders", "")
		}
		eventually(t, "lookupd to list the topic", func() bool { return l.lists("orders") })
		qd.signal(sig)
		qd.status()
		eventually(t, "lookupd to forget the topic's producer", func() bool { return !l.lists("orders") })
	}
	d.start(t)
	eventually(t, "lookupd to list the topic after the kill", func() bool { return l.lists("orders") })
}
