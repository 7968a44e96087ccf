package program

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Supervised is a daemon as systemd sees it, or another service manager that sets
// NOTIFY_SOCKET.
type Supervised interface {
	// Run serves until ctx ends, and returns when all has ended.
	Run(ctx context.Context) error
	// Alive goes through whatever all work goes through, and returns when it is through.
	// Where work is stuck for ever it does not return. A full disk, many clients and a
	// drain are no reasons not to: a restart would not help.
	Alive()
	// EndBy is when Run returns at the latest if it was told to end at the time told. It
	// is asked again and again: a drain can be given more time.
	EndBy(told time.Time) time.Time
}

const (
	// tellEnd is how often the manager is told when a daemon that ends will have ended.
	tellEnd = 2 * time.Second
	// spare is what it is told beyond EndBy: the last of all is written down then, and
	// the disk may be slow.
	spare = 30 * time.Second
	// mostEnd is the most it is told at once, where a drain has no end.
	mostEnd = 24 * time.Hour
)

// RunSupervised is d.Run, of which the service manager is told, if there is one: that it
// serves, that it ends and how long that may take, and for a watchdog that it works. term
// ends before ctx where a drain comes first; else it is ctx.
func RunSupervised(ctx, term context.Context, d Supervised) error {
	return manager{tell: notify}.run(ctx, term, d)
}

// TellingOfReload is reload, of which the service manager is told when it begins and ends.
// "systemctl reload" waits for the end if the unit has Type=notify-reload (systemd 253).
func TellingOfReload(reload func()) func() {
	return manager{tell: notify}.reloading(reload)
}

// notify tells the manager, if there is one. An error is nobody's: a daemon works without
// being supervised, and a manager that hears nothing does what it does.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// manager is whoever has started the daemon.
type manager struct {
	tell     func(state string)
	watchdog time.Duration // how long it waits for a sign of life; 0 is for ever
}

func (m manager) run(ctx, term context.Context, d Supervised) error {
	// An error is a variable that is no number: then nobody waits, as far as we know.
	if m.watchdog == 0 {
		m.watchdog, _ = daemon.SdWatchdogEnabled(false)
	}
	running, ended := context.WithCancel(context.Background())
	var telling sync.WaitGroup
	telling.Go(func() { m.tellOfEnd(running, ctx, term, d) })
	if m.watchdog > 0 {
		telling.Go(func() { m.feed(running, d) })
	}
	m.tell(daemon.SdNotifyReady + "\nSTATUS=serving")
	err := d.Run(ctx)
	ended()
	telling.Wait()
	return err
}

// feed gives signs of life, as long as there is life: the next one waits for Alive.
func (m manager) feed(running context.Context, d Supervised) {
	look := time.NewTicker(m.watchdog / 4)
	defer look.Stop()
	for {
		d.Alive()
		m.tell(daemon.SdNotifyWatchdog)
		select {
		case <-running.Done():
			return
		case <-look.C:
		}
	}
}

// tellOfEnd tells that the daemon ends, and asks for the time that it takes: it may be more
// than the unit has. It asks for no more than that, so that one that hangs is killed.
func (m manager) tellOfEnd(running, ctx, term context.Context, d Supervised) {
	select {
	case <-running.Done():
		m.tell(daemon.SdNotifyStopping)
		return
	case <-term.Done():
	case <-ctx.Done():
	}
	told := time.Now()
	m.tell(daemon.SdNotifyStopping)
	look := time.NewTicker(tellEnd)
	defer look.Stop()
	for {
		if left := min(time.Until(d.EndBy(told)), mostEnd); left > 0 {
			m.tell(fmt.Sprintf("STATUS=ending, within %s\nEXTEND_TIMEOUT_USEC=%d", left.Round(time.Second), (left + spare).Microseconds()))
		}
		select {
		case <-running.Done():
			return
		case <-look.C:
		}
	}
}

func (m manager) reloading(reload func()) func() {
	return func() {
		m.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
		reload()
		m.tell(daemon.SdNotifyReady)
	}
}
