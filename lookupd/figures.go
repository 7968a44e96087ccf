package lookupd

import (
	"time"

	"github.com/millrace-mq/millrace/lookupd/metrics"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// figures gathers what /metrics shows.
func (a *api) figures() metrics.Figures {
	var f metrics.Figures
	if a.tcp != nil {
		f.TCP = a.tcp()
	}
	var counts registry.Counts
	a.dir.read(func(r *registry.Registry, _ time.Time) { counts = r.Counts() })
	f.Away, f.Topics, f.Channels, f.Registrations, f.Tombstones = counts.Away, counts.Topics, counts.Channels, counts.Registrations, counts.Tombstones
	f.Daemons = map[string]int{"ready": 0, "draining": 0, "failing": 0, "unsaid": 0, "superseded": counts.Superseded}
	active := 0
	for after, more := uint64(0), true; more; {
		part := a.nodePage(after, pageNodes)
		for _, n := range part {
			f.Daemons[stateName(n.state)]++
			after = n.peer.Number()
		}
		active += len(part)
		more = len(part) == pageNodes
	}
	f.Daemons["inactive"] = max(0, counts.Ready+counts.Draining+counts.Failing-active) // one may have joined meanwhile
	return f
}

func stateName(s protocol.PeerState) string {
	if s == "" {
		return "unsaid"
	}
	return string(s)
}
