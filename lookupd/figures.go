package lookupd

import (
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/lookupd/metrics"
	"github.com/millrace-mq/millrace/lookupd/registry"
)

// figures gathers what /metrics shows.
func (a *api) figures() metrics.Figures {
	var f metrics.Figures
	if a.tcp != nil {
		f.TCP = a.tcp()
	}
	if a.audit != nil {
		counts := a.audit.Counts()
		f.Audit = &counts
	}
	if file, ok := a.policy.(*access.File); ok {
		counts := file.Failures().Counts()
		f.Access = &counts
	}
	if a.connections != nil {
		f.HTTP = a.connections.Counts()
	}
	var counts registry.Counts
	a.dir.read(func(r *registry.Registry, now time.Time) { counts = r.Counts(now) })
	f.Away, f.Topics, f.Channels, f.Registrations, f.Tombstones = counts.Away, counts.Topics, counts.Channels, counts.Registrations, counts.Tombstones
	f.Daemons = map[string]int{
		"ready": counts.Ready, "draining": counts.Draining, "failing": counts.Failing, "unsaid": counts.Unsaid,
		"inactive": counts.Inactive, "superseded": counts.Superseded,
	}
	return f
}
