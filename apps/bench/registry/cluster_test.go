package registry

import (
	"slices"
	"testing"
)

// Each topic lies on as many daemons as it should, all different, and each
// daemon's list agrees with the topics'.
func TestCluster(t *testing.T) {
	for _, s := range []Settings{
		{Daemons: 2, Topics: 1, Producers: 1, Channels: 0, Large: 1},
		{Daemons: 2, Topics: 50, Producers: 1, Channels: 1, Large: 10_000},
		{Daemons: 4, Topics: 100, Producers: 3, Channels: 2, Large: 7},
		{Daemons: 300, Topics: 1000, Producers: 299, Channels: 1, Large: 300},
		{Daemons: 1000, Topics: 5000, Producers: 10, Channels: 3, Large: 500},
	} {
		c := newCluster(s, "n")
		lists := make([][]int32, s.Daemons)
		for topic := range s.Topics {
			holders := c.holders(nil, topic)
			distinct := slices.Compact(slices.Sorted(slices.Values(holders)))
			if len(distinct) != s.Producers || len(holders) != s.Producers || distinct[0] < 0 || distinct[len(distinct)-1] >= s.Daemons {
				t.Fatalf("%+v: topic %d lies on %v", s, topic, holders)
			}
			for _, d := range holders {
				lists[d] = append(lists[d], int32(topic))
			}
			if c.topicNumber(c.topic(topic)) != topic {
				t.Errorf("%+v: %s is not %d", s, c.topic(topic), topic)
			}
		}
		registrations := 0
		for d := range s.Daemons {
			registrations += c.registrations(d)
			if !slices.Equal(lists[d], c.topicsOf[d]) {
				t.Errorf("%+v: daemon %d has %v, not %v", s, d, c.topicsOf[d], lists[d])
			}
			if c.numbers[c.address(d)] != d {
				t.Errorf("%s is not daemon %d", c.address(d), d)
			}
		}
		if registrations != c.total() {
			t.Errorf("%+v: %d registrations, not %d", s, registrations, c.total())
		}
		if want := min(s.Large, s.Topics); len(c.topicsOf[0]) != want {
			t.Errorf("%+v: the large daemon has %d topics, not %d", s, len(c.topicsOf[0]), want)
		}
		for _, other := range []string{"", "n", "n-", "n-x", "n-01", "n--1", "n-99999", "m-1"} {
			if n := c.topicNumber(other); n != -1 {
				t.Errorf("%q is topic %d", other, n)
			}
		}
	}
}

func TestRegisterLines(t *testing.T) {
	for _, c := range []struct {
		channels, i int
		extended    bool
		want        string
	}{
		{0, 1, false, "REGISTER n-1\n"},
		{0, 1, true, "REGISTER n-1  1\n"},
		{2, 3, false, "REGISTER n-1 channel-1\n"},
		{2, 2, true, "REGISTER n-1 channel-0 1\n"},
	} {
		cluster := newCluster(Settings{Daemons: 2, Topics: 3, Producers: 1, Channels: c.channels, Large: 3}, "n")
		if got := string(cluster.appendRegister(nil, 0, c.i, c.extended)); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
