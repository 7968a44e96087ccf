package broker

import (
	"context"
	"strings"
)

// Change is something that has become different without a call for just that, or that a
// consumer has had done. Those who keep an audit log want to know; of the calls that
// operators make they know already.
type Change struct {
	Action         string // create-topic, create-channel, delete-topic, delete-channel, unpause-topic, unpause-channel, seek or take-over
	Topic, Channel string
	Detail         string // what else there is to say, in words; may be empty
	Owner          any    // of the consumer that has had it done; nil if the context says who
	Err            error  // why it has not been done, or not in a way that outlives a crash
}

// tell tells of a change. No lock is held.
func (b *Broker) tell(ctx context.Context, c Change) {
	if b.Changed != nil {
		b.Changed(ctx, c)
	}
}

// byItself is the context of what nobody has asked for at that moment.
var byItself = context.Background()

// others says which channels a topic got because other daemons have them.
func others(channels []string) string {
	if len(channels) == 0 {
		return ""
	}
	return "with the channels that other daemons have: " + strings.Join(channels, " ")
}
