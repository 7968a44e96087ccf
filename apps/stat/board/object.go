package board

import (
	"encoding/json"
	"time"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// The names here are what --json promises.
type (
	object struct {
		At       time.Time       `json:"at"`
		Nodes    []nodeObject    `json:"nodes"`
		Lookupds []lookupObject  `json:"lookupds"`
		Total    figures         `json:"total"`
		Topics   []*topicObject  `json:"topics"`
		Troubles []troubleObject `json:"troubles"`
	}
	nodeObject struct {
		Address string  `json:"address"`
		Up      bool    `json:"up"`
		Error   string  `json:"error,omitempty"`
		Version string  `json:"version,omitempty"`
		State   string  `json:"state,omitempty"`
		Started *string `json:"started,omitempty"`
	}
	lookupObject struct {
		Address string `json:"address"`
		Up      bool   `json:"up"`
		Error   string `json:"error,omitempty"`
	}
	topicObject struct {
		Topic string `json:"topic"`
		figures
		Paused   bool            `json:"paused"`
		Channels []channelObject `json:"channels"`
	}
	channelObject struct {
		Channel string `json:"channel"`
		figures
		Paused bool `json:"paused"`
	}
	// Rates are null where they are not known.
	figures struct {
		In       *float64 `json:"in_per_second"`
		Out      *float64 `json:"out_per_second"`
		Requeue  *float64 `json:"requeue_per_second"`
		Timeout  *float64 `json:"timeout_per_second"`
		Depth    int64    `json:"depth"`
		OnDisk   int64    `json:"on_disk"`
		InFlight int64    `json:"in_flight"`
		Deferred int64    `json:"deferred"`
		Dead     int64    `json:"dead"`
		Messages uint64   `json:"messages"`
		Finished uint64   `json:"finished"`
		Requeued uint64   `json:"requeued"`
		TimedOut uint64   `json:"timed_out"`
		Clients  int      `json:"clients"`
	}
	troubleObject struct {
		Severity string  `json:"severity"`
		Kind     string  `json:"kind"`
		Topic    string  `json:"topic,omitempty"`
		Channel  string  `json:"channel,omitempty"`
		Node     string  `json:"node,omitempty"`
		Reason   string  `json:"reason"`
		Since    *string `json:"since,omitempty"`
	}
)

// Object is the sample as JSON, in a line. With --channel alone a topic has no figures of
// its own: they are 0, and its rates null.
func Object(s *Sample) ([]byte, error) {
	o := object{At: s.At.UTC(), Total: figuresOf(s.Total), Nodes: []nodeObject{}, Lookupds: []lookupObject{}, Topics: []*topicObject{}, Troubles: []troubleObject{}}
	for _, n := range s.Nodes {
		o.Nodes = append(o.Nodes, nodeObject{n.Address, n.Up, n.Error, n.Version, n.State, moment(n.Started)})
	}
	for _, l := range s.Lookupds {
		o.Lookupds = append(o.Lookupds, lookupObject{l.Address, l.Up, l.Error})
	}
	for i := range s.Rows {
		o.add(&s.Rows[i])
	}
	for _, t := range s.Troubles {
		o.Troubles = append(o.Troubles, troubleObject{severity(t.Severity), t.Kind, t.Topic, t.Channel, t.Node, t.Reason, moment(t.Since)})
	}
	line, err := json.Marshal(o)
	return append(line, '\n'), err
}

func (o *object) add(r *Row) {
	if len(o.Topics) == 0 || o.Topics[len(o.Topics)-1].Topic != r.Topic {
		none := fleet.Figures{Rates: fleet.UnknownRates}
		o.Topics = append(o.Topics, &topicObject{Topic: r.Topic, figures: figuresOf(none), Channels: []channelObject{}})
	}
	t := o.Topics[len(o.Topics)-1]
	if r.Channel == "" {
		t.figures, t.Paused = figuresOf(r.Figures), r.Paused
		return
	}
	t.Channels = append(t.Channels, channelObject{r.Channel, figuresOf(r.Figures), r.Paused})
}

func figuresOf(f fleet.Figures) figures {
	known := func(rate float64) *float64 {
		if rate < 0 {
			return nil
		}
		return &rate
	}
	return figures{
		known(f.In), known(f.Out), known(f.Requeue), known(f.Timeout),
		f.Depth, f.OnDisk, f.InFlight, f.Deferred, f.Dead, f.Messages, f.Finished, f.Requeued, f.TimedOut, f.Clients,
	}
}

func severity(s fleet.Severity) string {
	switch s {
	case fleet.Failure:
		return "failure"
	case fleet.Warning:
		return "warning"
	}
	return "note"
}

func moment(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format(time.RFC3339)
	return &text
}
