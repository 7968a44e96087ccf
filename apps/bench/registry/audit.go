package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"
)

// samples is how many topics an audit looks up.
const samples = 200

// auditor compares what a lookupd says with what the cluster is, so that one
// that is wrong does not look fast.
type auditor struct {
	*cluster
	client
	nodes bool // ask for /nodes too
	page  int
}

// settle audits until all is right, for a lookupd may take a moment to notice
// that a connection is gone; for stall at the most.
func (a *auditor) settle(ctx context.Context) error {
	defer a.close()
	for until := time.Now().Add(a.stall); ; {
		err := a.audit(ctx)
		if err == nil || ctx.Err() != nil || time.Now().After(until) {
			return err
		}
		if pause(ctx, nil, 50*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// audit looks at topics, at nodes, and at a sample of the topics.
func (a *auditor) audit(ctx context.Context) error {
	if err := a.sample(ctx); err != nil {
		return err
	}
	topics := newTally(a.topics, "/topics", "topics")
	if err := a.list(ctx, "/topics", func(in *json.Decoder) error {
		var name string
		err := in.Decode(&name)
		topics.saw(a.topicNumber(name))
		return err
	}); err != nil {
		return err
	}
	if err := topics.complete(); err != nil || !a.nodes {
		return err
	}
	nodes := newTally(a.daemons, "/nodes", "daemons")
	if err := a.list(ctx, "/nodes", func(in *json.Decoder) error {
		var n node
		if err := in.Decode(&n); err != nil {
			return err
		}
		return a.node(n, nodes)
	}); err != nil {
		return err
	}
	return nodes.complete()
}

// node is an entry of /nodes, or of the producers of /lookup, as far as it is
// looked at.
type node struct {
	Hostname string   `json:"hostname"`
	Address  string   `json:"broadcast_address"`
	Topics   []string `json:"topics"`
}

// number is the daemon, or -1 if it is none of ours.
func (a *auditor) number(n node) int {
	d, known := a.numbers[n.Address]
	if !known || n.Hostname != a.name {
		return -1
	}
	return d
}

func (a *auditor) node(n node, seen *tally) error {
	d := a.number(n)
	seen.saw(d)
	if d >= 0 && len(n.Topics) != len(a.topicsOf[d]) {
		return fmt.Errorf("/nodes gives daemon %d %d topics, not %d", d, len(n.Topics), len(a.topicsOf[d]))
	}
	return nil
}

// list walks the array in the answer to path: {"…":[entry, …]}.
func (a *auditor) list(ctx context.Context, path string, entry func(*json.Decoder) error) error {
	err := a.begin(ctx, path)
	if err == nil && a.status != 200 {
		err = fmt.Errorf("lookupd answered %d", a.status)
	}
	in := json.NewDecoder(&a.client)
	for range 3 { // {, the key, [
		if err == nil {
			_, err = in.Token()
		}
	}
	for err == nil && in.More() {
		err = entry(in)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, &a.client)
	}
	if err != nil {
		a.close() // in the middle of an answer
		return fmt.Errorf("GET %s: %w", path, because(ctx, err))
	}
	return nil
}

// sample looks at who has some topics, one of the large daemon's among them.
func (a *auditor) sample(ctx context.Context) error {
	// #nosec G404 -- numbers that are the same each time, to measure the same
	random := rand.New(rand.NewPCG(3, 4))
	for i := range min(samples, a.topics) {
		t := random.IntN(a.topics)
		if i == 0 {
			t = int(a.topicsOf[0][0])
		}
		if err := a.lookUp(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (a *auditor) lookUp(ctx context.Context, t int) error {
	body, err := a.get(ctx, "/lookup?topic="+a.topic(t), nil)
	if err != nil {
		return err
	}
	var got struct {
		Channels  []string
		Producers []node
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("/lookup of %s: %w in %.200s", a.topic(t), err, body)
	}
	var has, want []int
	for _, p := range got.Producers {
		has = append(has, a.number(p))
	}
	slices.Sort(has)
	if want = slices.Sorted(slices.Values(a.holders(nil, t))); !slices.Equal(has, want) {
		return fmt.Errorf("/lookup of %s names daemons %v, not %v", a.topic(t), has, want)
	}
	var channels []string
	for i := range a.channels {
		channels = append(channels, a.channel(i))
	}
	slices.Sort(channels)
	slices.Sort(got.Channels)
	if !slices.Equal(got.Channels, channels) {
		return fmt.Errorf("/lookup of %s names channels %q, not %q", a.topic(t), got.Channels, channels)
	}
	return nil
}

// tally counts things that must all be listed, each once.
type tally struct {
	seen       []bool
	twice      int
	where, was string // as in "/topics" and "topics"
}

func newTally(n int, where, what string) *tally {
	return &tally{seen: make([]bool, n), where: where, was: what}
}

// saw notes that i is listed; -1 is somebody else's.
func (t *tally) saw(i int) {
	switch {
	case i < 0:
	case t.seen[i]:
		t.twice++
	default:
		t.seen[i] = true
	}
}

func (t *tally) complete() error {
	missing := 0
	for _, seen := range t.seen {
		if !seen {
			missing++
		}
	}
	if missing+t.twice > 0 {
		return fmt.Errorf("%s lacks %d of %d %s, and has %d twice", t.where, missing, len(t.seen), t.was, t.twice)
	}
	return nil
}
