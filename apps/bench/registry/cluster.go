// #nosec G115 -- numbers that the bench itself has drawn or counted, never negative.

package registry

import (
	"strconv"

	"github.com/millrace-mq/millrace/protocol"
)

// cluster says who has what: a pure function of the settings, so that any
// answer of a lookupd can be checked without a copy of the registry.
//
// Daemon 0 is the large one. Topics lie on daemons at random, but the same ones
// in each run; channels are the same for all topics.
type cluster struct {
	name     string // of the run: topics begin with it, and it is every daemon's host
	daemons  int
	topics   int
	copies   int // daemons that have the same topic
	channels int
	large    int // topics of daemon 0, spread over all of them

	topicsOf [][]int32      // by daemon, rising
	numbers  map[string]int // of daemons, by address
}

func newCluster(s Settings, name string) *cluster {
	c := &cluster{
		name: name, daemons: s.Daemons, topics: s.Topics, copies: s.Producers, channels: s.Channels,
		large: min(s.Large, s.Topics), topicsOf: make([][]int32, s.Daemons), numbers: make(map[string]int, s.Daemons),
	}
	for d := range c.daemons {
		c.numbers[c.address(d)] = d
	}
	var holders []int
	for t := range c.topics {
		holders = c.holders(holders[:0], t)
		for _, d := range holders {
			c.topicsOf[d] = append(c.topicsOf[d], int32(t))
		}
	}
	return c
}

// holders appends the daemons that have topic t, each once.
func (c *cluster) holders(dst []int, t int) []int {
	rest := c.copies
	if c.onLarge(t) {
		dst = append(dst, 0)
		rest--
	}
	// A step that never goes round within a topic makes its daemons distinct.
	others := c.daemons - 1
	first, step := int(scatter(uint64(2*t))%uint64(others)), 1
	if rest > 0 {
		step += int(scatter(uint64(2*t+1)) % uint64(others/rest))
	}
	for k := range rest {
		dst = append(dst, 1+(first+k*step)%others)
	}
	return dst
}

func (c *cluster) onLarge(t int) bool {
	every := c.topics / c.large
	return t%every == 0 && t/every < c.large
}

// scatter mixes the bits of n (the finalizer of SplitMix64).
func scatter(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// registrations is how many REGISTERs a daemon's topics take.
func (c *cluster) registrations(d int) int { return len(c.topicsOf[d]) * max(c.channels, 1) }

// total is how many REGISTERs everybody's topics take.
func (c *cluster) total() int { return c.topics * c.copies * max(c.channels, 1) }

func (c *cluster) topic(t int) string { return string(c.appendTopic(nil, t)) }

func (c *cluster) appendTopic(dst []byte, t int) []byte {
	return strconv.AppendInt(append(append(dst, c.name...), '-'), int64(t), 10)
}

// topicNumber is the t of a topic's name, or -1 if it is none of ours.
func (c *cluster) topicNumber(name string) int {
	prefix := len(c.name) + 1
	if len(name) <= prefix || name[:prefix] != c.name+"-" {
		return -1
	}
	t, err := strconv.Atoi(name[prefix:])
	if err != nil || t < 0 || t >= c.topics || c.topic(t) != name {
		return -1
	}
	return t
}

func (c *cluster) channel(i int) string { return "channel-" + strconv.Itoa(i) }

// appendRegister appends the i-th REGISTER of a daemon. With the extension it
// names a generation.
func (c *cluster) appendRegister(dst []byte, d, i int, extended bool) []byte {
	each := max(c.channels, 1)
	dst = c.appendTopic(append(dst, "REGISTER "...), int(c.topicsOf[d][i/each]))
	if c.channels > 0 {
		dst = strconv.AppendInt(append(dst, " channel-"...), int64(i%each), 10)
	} else if extended {
		dst = append(dst, ' ') // an empty channel
	}
	if extended {
		dst = append(dst, " 1"...)
	}
	return append(dst, '\n')
}

// info is what a daemon says of itself. Nobody connects to the address.
func (c *cluster) info(d int, extended bool) protocol.PeerInfo {
	info := protocol.PeerInfo{
		BroadcastAddress: c.address(d), Hostname: c.name, TCPPort: 4150, HTTPPort: 4151, Version: protocol.Version,
	}
	if extended {
		info.Extended, info.Instance, info.State = true, c.name+"-"+strconv.Itoa(d), protocol.PeerReady
	}
	return info
}

func (c *cluster) address(d int) string { return numbered("10.77.", d) }

// numbered is the n-th address, below 65,536, of a network with a mask of 16 bits.
func numbered(network string, n int) string {
	return network + strconv.Itoa(n>>8) + "." + strconv.Itoa(n&255)
}
