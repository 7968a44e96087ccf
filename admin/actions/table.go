package actions

import (
	"net/url"
	"slices"
	"strconv"

	"github.com/millrace-mq/millrace/admin/signin"
)

// Action is something that can be changed, as it is told to people.
type Action struct {
	Name   string // as in URLs
	Title  string // what it does, as a button says it
	Role   signin.Role
	On     Scope
	Danger bool   // it drops messages or ends something: pages ask for Confirmation
	Undo   string // what cannot be undone, a sentence without a full stop; empty if it can be
	Args   []Arg

	cannot string // what an nsqd cannot, behind "cannot"; empty if it can
}

// Scope is which fields of a Target an action needs. All take several targets.
type Scope uint8

const (
	// OnTopic needs Topic; with Node it is done on that node alone.
	OnTopic Scope = iota + 1
	// OnChannel needs Topic and Channel; with Node it is done on that node alone.
	OnChannel
	// OnTopicOrChannel needs Topic.
	OnTopicOrChannel
	// OnNode needs Node.
	OnNode
	// OnTopicAtNode needs Topic and Node.
	OnTopicAtNode
	// OnMessages needs Topic and Channel, and the ID of a message unless the argument all
	// is given; with Node it is done on that node alone.
	OnMessages
	// OnConnection needs Node, and as ID the connection's.
	OnConnection
)

// Kind is how an argument is entered.
type Kind uint8

// The kinds of arguments.
const (
	Text     Kind = iota + 1
	Duration      // such as 90m
	Time          // RFC 3339, or milliseconds or nanoseconds since 1970
	Place         // earliest, latest, a message ID, or a time
	Number        // 0 or more
	Choice        // one of Choices
	Truth         // true or false
	Name          // of a topic
)

// Arg is an argument of an action.
type Arg struct {
	Name, Title string
	Hint        string // what to enter, and what happens without
	Kind        Kind
	Choices     []string
	Required    bool
	Most        int64 // bytes of a Text, or the highest Number; 0: not bounded here
}

const (
	maxReason   = 500 // bytes, as daemons take it
	maxBy       = 200
	maxAttempts = 65535
)

var pauseArgs = []Arg{
	{Name: "reason", Title: "Reason", Hint: "told to whoever finds it paused", Kind: Text, Most: maxReason},
	{Name: "for", Title: "Resume after", Hint: "such as 90m; without, until somebody resumes it", Kind: Duration},
	{Name: "until", Title: "Resume at", Hint: "a time with its zone, such as 2026-01-02T15:04:05Z", Kind: Time},
}

var topicArgs = []Arg{
	{Name: "durability", Title: "Durability", Hint: "what OK means to a publisher; empty takes the daemon's", Kind: Choice, Choices: []string{"", "memory", "disk", "fsync"}},
	{Name: "retention_age", Title: "Keep finished messages for", Hint: "such as 24h; 0 is not at all", Kind: Duration},
	{Name: "retention_bytes", Title: "Keep so many bytes of them", Hint: "0 is no bound", Kind: Number},
	{Name: "max_messages", Title: "Messages of the longest backlog", Hint: "0 is no bound", Kind: Number},
	{Name: "max_bytes", Title: "Bytes of the longest backlog", Hint: "0 is no bound", Kind: Number},
	{Name: "overflow", Title: "Beyond that", Hint: "refuse publishes, or drop the oldest messages", Kind: Choice, Choices: []string{"reject", "drop-oldest"}},
}

var (
	allArg  = Arg{Name: "all", Title: "All of them", Hint: "true: all, in place of one by its ID", Kind: Truth}
	toArg   = Arg{Name: "to", Title: "To the topic", Hint: "created if it is not there", Kind: Name, Required: true}
	attempt = Arg{Name: "max_attempts", Title: "Attempts", Hint: "so often a message is delivered before it is dead; 0 is for ever", Kind: Number, Most: maxAttempts}
)

const (
	undoEmpty  = "The messages are dropped, and cannot be had back"
	undoDelete = "The messages are dropped, and consumers are disconnected; that cannot be undone"
)

// table is all actions, in the order in which they are told.
var table = []Action{
	{Name: "create-topic", Title: "Create topic", Role: signin.Operator, On: OnTopic, Args: topicArgs},
	{Name: "create-channel", Title: "Create channel", Role: signin.Operator, On: OnChannel, Args: []Arg{
		{Name: "start", Title: "Begin at", Hint: "earliest, latest, a message ID or a time", Kind: Place}, attempt}},
	{Name: "pause-topic", Title: "Pause topic", Role: signin.Operator, On: OnTopic, Args: pauseArgs},
	{Name: "unpause-topic", Title: "Resume topic", Role: signin.Operator, On: OnTopic},
	{Name: "pause-channel", Title: "Pause channel", Role: signin.Operator, On: OnChannel, Args: pauseArgs},
	{Name: "unpause-channel", Title: "Resume channel", Role: signin.Operator, On: OnChannel},
	{Name: "pause-node", Title: "Pause all topics of the node", Role: signin.Operator, On: OnNode, Args: pauseArgs},
	{Name: "unpause-node", Title: "Resume all topics of the node", Role: signin.Operator, On: OnNode},
	{Name: "empty-topic", Title: "Empty topic", Role: signin.Admin, On: OnTopic, Danger: true,
		Undo: "The messages that no channel has taken yet are dropped, and cannot be had back; channels keep theirs"},
	{Name: "empty-channel", Title: "Empty channel", Role: signin.Admin, On: OnChannel, Danger: true, Undo: undoEmpty + "; those in flight and deferred, too"},
	{Name: "delete-topic", Title: "Delete topic", Role: signin.Admin, On: OnTopic, Danger: true, Undo: undoDelete + ". All its channels go with it"},
	{Name: "delete-channel", Title: "Delete channel", Role: signin.Admin, On: OnChannel, Danger: true, Undo: undoDelete},
	{Name: "tombstone", Title: "Remove topic from the node", Role: signin.Admin, On: OnTopicAtNode, Danger: true,
		Undo: "Lookupds hide the topic on the node for a while, and it is deleted there; its messages cannot be had back"},
	{Name: "drain-node", Title: "Drain node", Role: signin.Admin, On: OnNode, Danger: true, cannot: "drain: pause its topics, and stop it when they are empty",
		Undo: "The node takes no publishes for the rest of its life, and ends when it is empty; that cannot be taken back",
		Args: []Arg{{Name: "timeout", Title: "At most for", Hint: "such as 5m; without, as long as it takes", Kind: Duration}}},
	{Name: "publish", Title: "Publish a message", Role: signin.Operator, On: OnTopic, Undo: "A message that was published is delivered", Args: []Arg{
		{Name: "body", Title: "Body", Hint: "one message", Kind: Text, Required: true},
		{Name: "encoding", Title: "The body is given as", Hint: "text, unless it says otherwise", Kind: Choice, Choices: []string{"text", "base64", "hex"}},
		{Name: "delay", Title: "Deliver after", Hint: "such as 30s, or milliseconds; without, at once", Kind: Duration}}},
	{Name: "revive", Title: "Revive dead messages", Role: signin.Operator, On: OnMessages, Args: []Arg{allArg}, cannot: "keep dead messages"},
	{Name: "delete-dead", Title: "Delete dead messages", Role: signin.Admin, On: OnMessages, Danger: true, Undo: undoEmpty, Args: []Arg{allArg}, cannot: "keep dead messages"},
	{Name: "copy", Title: "Copy messages", Role: signin.Operator, On: OnMessages, cannot: "copy messages",
		Undo: "The copies are delivered to all channels of the other topic", Args: []Arg{toArg, allArg,
			{Name: "state", Title: "Those that are", Hint: "with all", Kind: Choice, Choices: []string{"dead", "deferred", "ready"}}}},
	{Name: "move", Title: "Move dead messages", Role: signin.Operator, On: OnMessages, cannot: "move messages",
		Undo: "They are delivered to all channels of the other topic, and are not dead here any more", Args: []Arg{toArg, allArg}},
	{Name: "seek", Title: "Move channel to a place", Role: signin.Admin, On: OnChannel, Danger: true, cannot: "seek",
		Undo: "What lies behind the place is delivered, again if it was; what lies before it is not", Args: []Arg{
			{Name: "to", Title: "Place", Hint: "earliest, latest, a message ID or a time", Kind: Place, Required: true}}},
	{Name: "topic-policy", Title: "Change the topic's settings", Role: signin.Admin, On: OnTopic, Args: topicArgs, cannot: "have settings of a topic",
		Undo: "What a smaller bound drops cannot be had back"},
	{Name: "channel-policy", Title: "Change the channel's settings", Role: signin.Admin, On: OnChannel, Args: []Arg{required(attempt)}, cannot: "have settings of a channel"},
	{Name: "disconnect", Title: "Disconnect client", Role: signin.Operator, On: OnConnection, cannot: "disconnect a client",
		Undo: "What it holds is delivered again; most clients connect again by themselves"},
	{Name: "forget", Title: "Forget in lookupds", Role: signin.Admin, On: OnTopicOrChannel, Danger: true,
		Undo: "Lookupds forget a topic or channel that no node has; it is there again when somebody creates it"},
}

func required(a Arg) Arg {
	a.Required = true
	return a
}

// Table returns all actions.
func Table() []Action { return slices.Clone(table) }

// Find returns the action of a name.
func Find(name string) (Action, bool) {
	i := slices.IndexFunc(table, func(a Action) bool { return a.Name == name })
	if i < 0 {
		return Action{}, false
	}
	return table[i], true
}

// Take returns the action's arguments out of a form, without those that were left
// empty and whatever else the form has.
func (a Action) Take(form url.Values) url.Values {
	args := make(url.Values)
	for _, arg := range a.Args {
		if v := form.Get(arg.Name); v != "" {
			args.Set(arg.Name, v)
		}
	}
	return args
}

// Confirmation is what somebody has to type before a dangerous action is begun: the
// name of what it is about, or of several the number. It is empty if nothing is.
func Confirmation(a Action, targets []Target) string {
	if !a.Danger || len(targets) == 0 {
		return ""
	}
	if len(targets) > 1 {
		return strconv.Itoa(len(targets))
	}
	t := targets[0]
	switch {
	case a.On == OnNode:
		return t.Node
	case t.Channel != "":
		return t.Channel
	}
	return t.Topic
}

// String says what a target is.
func (s Scope) String() string { return needs[s] }

var kinds = [...]string{Text: "text", Duration: "duration", Time: "time", Place: "place", Number: "number", Choice: "choice", Truth: "truth", Name: "name"}

// String names the kind.
func (k Kind) String() string { return kinds[k] }
