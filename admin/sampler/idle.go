package sampler

import (
	"fmt"

	"github.com/millrace-mq/millrace/admin/fleet"
)

// stateClosing is nsqd's number of a connection that has said CLS.
const stateClosing = 4

// idle says why a consumer is given nothing, in words; empty if it is, or if it is not
// known why not.
func idle(c *fleet.Client, topic, channel standing) string {
	switch {
	case c.State == stateClosing:
		return "it is closing: it wants no more, and answers what it holds"
	case channel.paused:
		return "the channel is paused" + because(channel.reason)
	case c.Ready <= 0:
		return "its RDY is 0: it asks for nothing, as clients do that back off or share their credit among nodes"
	case c.InFlight >= c.Ready && c.InFlight > 0:
		return fmt.Sprintf("it holds %d of the %d messages that its RDY allows: it gets more when it answers", c.InFlight, c.Ready)
	case channel.depth == 0 && topic.paused && topic.depth > 0:
		return "the topic is paused" + because(topic.reason) + ": nothing comes to the channel"
	case channel.depth == 0:
		return "there is nothing to deliver on this node"
	case c.SampleRate > 0 && c.SampleRate < 100:
		return fmt.Sprintf("it has asked for a sample: it gets %d of 100 messages", c.SampleRate)
	}
	return ""
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// mend takes back what idle said of consumers that were given something since the reading
// before: with credit for one message, a consumer that works holds it at nearly every look.
func (b *book) mend(all []fleet.Client) {
	if b == nil {
		return
	}
	type who struct {
		node, address, topic, channel string
	}
	before := make(map[who]uint64, len(b.clients))
	for i := range b.clients {
		c := &b.clients[i]
		before[who{c.Node, c.RemoteAddress, c.Topic, c.Channel}] = c.Messages
	}
	for i := range all {
		c := &all[i]
		if n, known := before[who{c.Node, c.RemoteAddress, c.Topic, c.Channel}]; known && c.Messages > n {
			c.Idle = ""
		}
	}
}
