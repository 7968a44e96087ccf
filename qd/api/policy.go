package api

import (
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/queue"
)

// maxAttempts is the highest limit of deliveries: as far as attempts count.
const maxAttempts = math.MaxUint16

// edit is one setting of a policy being changed.
type edit func(p *broker.Policy)

// settings are the arguments for a topic's policy, in the order in which they
// are checked. parse returns what a value does; the text is what it has to be.
var settings = []struct {
	name, must string
	parse      func(value string) (do edit, ok bool)
}{
	{"durability", "must be memory, disk or fsync, or empty for the daemon's", parseDurability},
	{"retention_age", "must be a duration such as 24h or 30m, or 0 for none", parseAge},
	{"retention_bytes", mustCount, count(math.MaxInt64, func(p *broker.Policy, n int64) { p.RetentionBytes = n })},
	{"max_messages", mustCount, count(math.MaxInt, func(p *broker.Policy, n int64) { p.MaxMessages = int(n) })},
	{"max_bytes", mustCount, count(math.MaxInt64, func(p *broker.Policy, n int64) { p.MaxBytes = n })},
	{"overflow", "must be " + reject + " or " + dropOldest, parseOverflow},
}

const (
	mustCount = "must be a whole number, or 0 for none"

	// What happens to a topic whose backlog is as large as it may be.
	reject     = broker.OverflowReject
	dropOldest = broker.OverflowDropOldest
)

func parseDurability(value string) (edit, bool) {
	if value == "" {
		return func(p *broker.Policy) { p.Durability = nil }, true
	}
	level := new(broker.Level)
	err := level.Set(value)
	return func(p *broker.Policy) { p.Durability = level }, err == nil
}

func parseAge(value string) (edit, bool) {
	age, err := time.ParseDuration(value)
	return func(p *broker.Policy) { p.RetentionAge = age }, err == nil && age >= 0
}

func parseOverflow(value string) (edit, bool) {
	return func(p *broker.Policy) { p.DropOldest = value == dropOldest }, value == reject || value == dropOldest
}

func count(most int64, set func(p *broker.Policy, n int64)) func(string) (edit, bool) {
	return func(value string) (edit, bool) {
		n, err := numberArgument(url.Values{"n": {value}}, "n", most)
		return func(p *broker.Policy) { set(p, n) }, err == nil
	}
}

// policyArguments reads what is to be changed of the policy of a topic.
func policyArguments(q url.Values, topic string) (edits []edit, err error) {
	for _, s := range settings {
		values, given := q[s.name]
		if !given {
			continue
		}
		do, ok := s.parse(values[0])
		if !ok {
			return nil, invalid(s.name, s.must)
		}
		edits = append(edits, do)
	}
	var p broker.Policy
	apply(edits)(&p)
	if protocol.Ephemeral(topic) && p.Durability != nil && *p.Durability != broker.Memory {
		return nil, httpapi.Errorf(http.StatusConflict, "LEVEL_FIXED: an ephemeral topic is in memory only")
	}
	return edits, nil
}

func apply(edits []edit) edit {
	return func(p *broker.Policy) {
		for _, do := range edits {
			do(p)
		}
	}
}

// createTopic creates a topic with the policy that is given, or sets that of
// one that exists. Without policy it is nsqd's.
func (a *api) createTopic(r *http.Request, q url.Values) (any, error) {
	name, err := httpapi.NameArgument(q, "topic", "INVALID_TOPIC")
	if err != nil {
		return nil, err
	}
	edits, err := policyArguments(q, name)
	if err != nil {
		return nil, err
	}
	var p broker.Policy
	apply(edits)(&p)
	t, err := a.Limits.Topic(a.called(r), name, func() (*broker.Topic, error) { return a.Broker.Create(r.Context(), name, p) })
	if err == nil && len(edits) > 0 {
		err = t.ChangePolicy(apply(edits)) // it may have been there
	}
	return nil, refusal(err)
}

func (a *api) setTopicPolicy(_ *http.Request, q url.Values) (any, error) {
	name, err := httpapi.NameArgument(q, "topic", "INVALID_TOPIC")
	if err != nil {
		return nil, err
	}
	edits, err := policyArguments(q, name)
	if err != nil {
		return nil, err
	}
	if len(edits) == 0 { // a slip of the pen, such as max_message
		var names []string
		for _, s := range settings {
			names = append(names, s.name)
		}
		return nil, httpapi.BadRequest("MISSING_ARG: name at least one of " + strings.Join(names, ", "))
	}
	t, err := a.Broker.Find(name)
	if err == nil {
		err = t.ChangePolicy(apply(edits))
	}
	return nil, refusal(err)
}

// policyView is a topic's policy as it is shown; 0 is what was not set.
type policyView struct {
	Topic      string        `json:"topic_name"`
	Durability broker.Level  `json:"durability"`     // in effect
	Source     string        `json:"durability_set"` // for the topic, or the daemon
	Age        time.Duration `json:"retention_age"`  // ns
	Bytes      int64         `json:"retention_bytes"`
	Messages   int           `json:"max_messages"`
	MaxBytes   int64         `json:"max_bytes"`
	Overflow   string        `json:"overflow"`
}

func (a *api) topicPolicy(_ *http.Request, q url.Values) (any, error) {
	name, err := httpapi.NameArgument(q, "topic", "INVALID_TOPIC")
	if err != nil {
		return nil, err
	}
	t, err := a.Broker.Find(name)
	if err != nil {
		return nil, refusal(err)
	}
	p, level := t.Policy(), t.Level()
	// A topic keeps a log, or does without, when the daemon's level has changed:
	// then its level is its own although nobody has set it.
	source := "topic"
	if p.Durability == nil && level == a.Broker.Durability {
		source = "daemon"
	}
	return policyView{
		name, level, source, p.RetentionAge, p.RetentionBytes, p.MaxMessages, p.MaxBytes, p.Overflow(),
	}, nil
}

// createChannel creates a channel, where it is told to begin. One that exists
// stays where it is.
func (a *api) createChannel(r *http.Request, q url.Values) (any, error) {
	topic, channel, err := httpapi.ChannelArguments(q)
	if err != nil {
		return nil, err
	}
	create := (*broker.Topic).CreateChannel
	if q.Has("start") {
		start, err := placeArgument(q, "start")
		if err != nil {
			return nil, err
		}
		create = func(t *broker.Topic, channel string) error { return t.CreateChannelAt(channel, start) }
	}
	limit := int64(-1)
	if q.Has("max_attempts") {
		if limit, err = numberArgument(q, "max_attempts", maxAttempts); err != nil {
			return nil, err
		}
	}
	t, err := a.Broker.Find(topic)
	if err == nil {
		err = a.Limits.Channel(a.called(r), topic, channel, func() (*broker.Topic, error) { return t, create(t, channel) })
	}
	if err == nil && limit >= 0 {
		err = t.SetMaxAttempts(channel, int(limit))
	}
	return nil, refusal(err)
}

func (a *api) setChannelPolicy(_ *http.Request, q url.Values) (any, error) {
	topic, channel, err := httpapi.ChannelArguments(q)
	if err != nil {
		return nil, err
	}
	limit, err := numberArgument(q, "max_attempts", maxAttempts)
	if err != nil {
		return nil, err
	}
	t, err := a.Broker.Find(topic)
	if err == nil {
		err = t.SetMaxAttempts(channel, int(limit))
	}
	return nil, refusal(err)
}

func (a *api) channelPolicy(_ *http.Request, q url.Values) (any, error) {
	topic, channel, err := httpapi.ChannelArguments(q)
	if err != nil {
		return nil, err
	}
	t, err := a.Broker.Find(topic)
	if err != nil {
		return nil, refusal(err)
	}
	found, limit := false, 0
	t.View(func(core *queue.Topic) {
		if c := core.Channel(channel); c != nil {
			found, limit = true, c.MaxAttempts()
		}
	})
	if !found {
		return nil, refusal(broker.ErrNoChannel)
	}
	return struct {
		Topic       string `json:"topic_name"`
		Channel     string `json:"channel_name"`
		MaxAttempts int    `json:"max_attempts"`
	}{topic, channel, limit}, nil
}
