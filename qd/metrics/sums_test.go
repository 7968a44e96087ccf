package metrics_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// prometheus sees scrapes, and adds up what rises from one to the next. It takes no
// notice of the value at which a series begins.
type prometheus struct {
	t    *testing.T
	last map[string]float64 // the last scrape
	ever map[string]float64 // of each topic, the last value that was seen
	sum  float64
}

// see takes in a scrape. fresh are the topics that are new since the last one: of
// these, and of the rest, what their series begin with has happened since.
func (p *prometheus) see(all map[string]float64, fresh map[string]bool) {
	for _, topic := range shown(all) {
		now := all[published(topic)]
		was, before := p.last[published(topic)]
		switch {
		case fresh[topic], topic == "_other" && !before:
			p.sum += now
		case !before && now != p.ever[topic]:
			p.t.Errorf("%s comes in sight with %v, was last seen with %v", topic, now, p.ever[topic])
		case before && now < was:
			p.t.Errorf("%s falls from %v to %v", topic, was, now)
		case before:
			p.sum += now - was
		}
		p.ever[topic] = now
	}
	for topic := range fresh {
		if _, there := all[published(topic)]; !there {
			delete(p.ever, topic)
		}
	}
	p.last = all
}

// Whatever happens to topics, and to who is shown: no counter falls while its
// series is there, and all that rises is what was published, to the last message.
func TestNothingIsCountedTwice(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) { wander(t, seed) })
	}
}

func wander(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	d := start(t, 3)
	p := prometheus{t: t, ever: make(map[string]float64)}
	fresh := make(map[string]bool) // topics that no scrape has seen
	unseen := make(map[string]int) // messages that none has
	want := 0
	for range 250 {
		name := string(rune('a' + r.IntN(8)))
		switch r.IntN(10) {
		case 0:
			if d.broker.DeleteTopic(name) == nil {
				want -= unseen[name] // nobody can tell
				unseen[name] = 0
				delete(fresh, name)
			}
		case 1:
			if r.IntN(8) == 0 { // hours have many seconds, at each of which the broker looks at its disk
				time.Sleep(time.Duration(r.IntN(90)) * time.Minute)
			}
		case 2, 3, 4:
			p.see(d.scrape(), fresh)
			clear(fresh)
			clear(unseen)
		default:
			if _, err := d.broker.Find(name); err != nil {
				fresh[name] = true
			}
			n := 1 + r.IntN(20)
			d.publish(name, n)
			want += n
			unseen[name] += n
		}
	}
	p.see(d.scrape(), fresh)
	if p.sum != float64(want) {
		t.Errorf("seed %d: %v were seen, %d published", seed, p.sum, want)
	}
}
