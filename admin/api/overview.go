package api

import (
	"net/http"
	"net/url"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// figures are fleet's, with 64-bit numbers as strings: browsers' numbers are exact up
// to 2^53 only.
type figures struct {
	Depth    int64    `json:"depth,string"`
	OnDisk   int64    `json:"on_disk,string"`
	InFlight int64    `json:"in_flight,string"`
	Deferred int64    `json:"deferred,string"`
	Dead     int64    `json:"dead,string"`
	Messages uint64   `json:"messages,string"`
	Requeued uint64   `json:"requeued,string"`
	TimedOut uint64   `json:"timed_out,string"`
	Finished uint64   `json:"finished,string"`
	Clients  int      `json:"clients"`
	In       *float64 `json:"in_rate"` // per second; null: not known yet
	Out      *float64 `json:"out_rate"`
	Requeue  *float64 `json:"requeue_rate"`
	Timeout  *float64 `json:"timeout_rate"`
}

func showFigures(f fleet.Figures) figures {
	return figures{
		f.Depth, f.OnDisk, f.InFlight, f.Deferred, f.Dead, f.Messages, f.Requeued, f.TimedOut, f.Finished, f.Clients,
		rate(f.In), rate(f.Out), rate(f.Requeue), rate(f.Timeout),
	}
}

// rate is null if it is not known.
func rate(v float64) *float64 {
	if v >= 0 { // false for NaN, too
		return &v
	}
	return nil
}

// troubleView is something that is wrong.
type troubleView struct {
	Severity string  `json:"severity"` // note, warning, failure
	Kind     string  `json:"kind"`
	Topic    string  `json:"topic,omitempty"`
	Channel  string  `json:"channel,omitempty"`
	Node     string  `json:"node,omitempty"`
	Reason   string  `json:"reason"`
	Since    *string `json:"since,omitempty"`
}

var severities = map[fleet.Severity]string{fleet.Note: "note", fleet.Warning: "warning", fleet.Failure: "failure"}

// nodeView is a daemon as a whole.
type nodeView struct {
	Address     string  `json:"address"`
	Hostname    string  `json:"hostname"`
	Version     string  `json:"version"`
	Millrace    bool    `json:"millrace"`
	Up          bool    `json:"up"`
	Error       string  `json:"error,omitempty"`
	Seen        *string `json:"seen,omitempty"`
	Started     *string `json:"started,omitempty"`
	Health      string  `json:"health,omitempty"`
	State       string  `json:"state,omitempty"`
	DiskFree    uint64  `json:"disk_free,string,omitempty"`
	DiskSize    uint64  `json:"disk_size,string,omitempty"`
	MemoryUsed  uint64  `json:"memory_used,string,omitempty"`
	MemoryLimit uint64  `json:"memory_limit,string,omitempty"`
	Topics      int     `json:"topics"`
	Figures     figures `json:"figures"`
}

type lookupdView struct {
	Address string `json:"address"`
	Up      bool   `json:"up"`
	Error   string `json:"error,omitempty"`
	Version string `json:"version,omitempty"`
	Nodes   int    `json:"nodes"`
}

// overview is the whole in a page: sums, daemons, and what is wrong.
func (a *api) overview(*http.Request, url.Values) (any, error) {
	s := a.Source.Latest()
	channels := 0
	for _, t := range s.Topics {
		channels += len(t.Channels)
	}
	v := struct {
		At          *string       `json:"at"` // null: nobody was asked yet
		Took        float64       `json:"took_ms"`
		Period      float64       `json:"period_ms"`
		ClusterName string        `json:"cluster_name,omitempty"`
		Environment string        `json:"environment,omitempty"`
		Topics      int           `json:"topics"`
		Channels    int           `json:"channels"`
		Totals      figures       `json:"totals"`
		Troubles    []troubleView `json:"troubles"` // the worst first
		Nodes       []nodeView    `json:"nodes"`
		Lookupds    []lookupdView `json:"lookupds"`
	}{
		when(s.At), inMS(s.Took), inMS(s.Period), a.ClusterName, a.Environment, len(s.Topics), channels, showFigures(s.Totals),
		[]troubleView{}, []nodeView{}, []lookupdView{},
	}
	for _, t := range s.Troubles {
		v.Troubles = append(v.Troubles, troubleView{severities[t.Severity], t.Kind, t.Topic, t.Channel, t.Node, t.Reason, when(t.Since)})
	}
	for _, n := range s.Nodes {
		v.Nodes = append(v.Nodes, nodeView{
			n.Address, n.Hostname, n.Version, n.Millrace, n.Up, n.Error, when(n.Seen), when(n.Started), n.Health, n.State,
			n.DiskFree, n.DiskSize, n.MemoryUsed, n.MemoryLimit, len(n.Topics), showFigures(n.Total),
		})
	}
	for _, l := range s.Lookupds {
		v.Lookupds = append(v.Lookupds, lookupdView{l.Address, l.Up, l.Error, l.Version, l.Nodes})
	}
	return v, nil
}

func inMS(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
