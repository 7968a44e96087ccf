package limits

import (
	"maps"

	"github.com/millrace-mq/millrace/internal/limit"
)

// What can be too much, as it is counted.
const (
	topicBytes     = "topic_bytes"
	topicMessages  = "topic_messages"
	clientBytes    = "client_bytes"
	clientMessages = "client_messages"
	clientTopics   = "client_topics"
	clientChannels = "client_channels"
)

var kinds = []string{topicBytes, topicMessages, clientBytes, clientMessages, clientTopics, clientChannels}

// Figures are what the limits have come to since the start.
type Figures struct {
	TCP  limit.Counts `json:"tcp"`
	HTTP limit.Counts `json:"http"`
	// Delayed is publishes that were held back and then stored: commands that came
	// together count as one.
	Delayed uint64 `json:"delayed_publishes"`
	// Refused is what was refused, by what was too much: topic_bytes, topic_messages,
	// client_bytes, client_messages (publishes, as above), client_topics, client_channels.
	Refused map[string]uint64 `json:"refused"`
}

// Figures returns the figures.
func (l *Limits) Figures() Figures {
	l.mu.Lock()
	f := Figures{Delayed: l.publishes, Refused: maps.Clone(l.refusals)}
	l.mu.Unlock()
	f.TCP, f.HTTP = l.TCP.Counts(), l.HTTP.Counts()
	return f
}
