package web

import (
	"math"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// counterPage is how many messages have come, all together, as NSQ's page of that
// name shows it.
type counterPage struct {
	*view
	Total   uint64
	Topics  []*fleet.Topic // those that most comes into now
	Started int            // nodes that it is summed over
	Stats   []stat
	Charts  charts
}

// counterTopics is how many topics are listed.
const counterTopics = 10

func (u *UI) counter(v *view) (any, error) {
	v.Title, v.API = "Counter", "/api/counter"
	s := v.Snapshot
	p := counterPage{view: v, Stats: u.stats(s.Totals, key{}), Charts: u.charts(v, key{})}
	for _, t := range s.Topics {
		// A topic's own figure: its channels each count the same messages again.
		p.Total += min(t.Messages, math.MaxUint64-p.Total)
		p.Topics = busiest(p.Topics, t)
	}
	for _, n := range s.Nodes {
		p.Started += b2i(n.Up)
	}
	return p, nil
}

// busiest puts t into a list of those that most comes into, if it belongs there.
func busiest(list []*fleet.Topic, t *fleet.Topic) []*fleet.Topic {
	if t.In <= 0 {
		return list
	}
	at := len(list)
	for at > 0 && list[at-1].In < t.In {
		at--
	}
	if at == counterTopics {
		return list
	}
	list = append(list, nil)
	copy(list[at+1:], list[at:])
	list[at] = t
	return list[:min(len(list), counterTopics)]
}
