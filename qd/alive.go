package qd

import "time"

// Alive goes through the locks of all topics and all connections, and returns when it is
// through: it does not where one of them is stuck. It asks no client and no disk.
func (d *Daemon) Alive() {
	d.broker.InFlight()
	d.sessions.Clients()
}

// EndBy is when Run returns at the latest if the daemon was told to end at the time told,
// but for what the disk takes to keep all messages.
func (d *Daemon) EndBy(told time.Time) time.Time {
	s := d.running.Now()
	by, begun := d.drain.Deadline()
	if !begun {
		by = told.Add(s.DrainTimeout)
	}
	return by.Add(s.StopTimeout)
}
