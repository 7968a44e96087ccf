package actions

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/protocol"
)

// Request is what somebody wants to have done.
type Request struct {
	Action  string
	Targets []Target
	Args    url.Values
	URL     string // of the HTTP request that asks for it, for the log; may be empty
}

// Target is what an action is done to; which fields it needs is the action's Scope.
type Target struct {
	Topic   string `json:"topic,omitempty"`
	Channel string `json:"channel,omitempty"`
	Node    string `json:"node,omitempty"` // address
	ID      string `json:"id,omitempty"`   // of a message, or a connection
}

// String names a target among others.
func (t Target) String() string {
	s := t.Topic
	if t.Channel != "" {
		s += "/" + t.Channel
	}
	for _, part := range []string{t.ID, t.Node} {
		if part != "" && s != "" {
			s += " "
		}
		s += part
	}
	return s
}

// Refused is why an action was not begun: nothing has been done.
type Refused struct {
	Status   int    // of HTTP
	Code     string // UNAUTHORIZED, FORBIDDEN, READ_ONLY, INVALID_ACTION, INVALID_TARGET, INVALID_ARGUMENT, NODE_NOT_FOUND, IN_USE, BUSY, STOPPING
	Sentence string // what is wrong, each complaint in a line of its own
}

func (r *Refused) Error() string { return r.Code + ": " + r.Sentence }

func refuse(status int, code, format string, args ...any) *Refused {
	return &Refused{status, code, fmt.Sprintf(format, args...)}
}

// MaxTargets is how many targets a request may have.
const MaxTargets = 20_000

// May returns nil if who may do an action now, or why not.
func (a *Actions) May(who signin.Who, action string) error {
	act, ok := Find(action)
	if !ok {
		return refuse(http.StatusBadRequest, "INVALID_ACTION", "there is no action %q", action)
	}
	if r := a.may(who, act); r != nil {
		return r
	}
	return nil
}

func (a *Actions) may(who signin.Who, act Action) *Refused {
	switch {
	case who.Role == signin.Nobody:
		return refuse(http.StatusUnauthorized, "UNAUTHORIZED", "sign in first")
	case a.ReadOnly:
		return refuse(http.StatusForbidden, "READ_ONLY", "this admin only shows: nothing can be changed with it")
	case who.Role < act.Role:
		return refuse(http.StatusForbidden, "FORBIDDEN", "%s needs the role %s; %s has the role %s", act.Name, act.Role, who.Name, who.Role)
	}
	return nil
}

// checkTargets returns what is wrong with a request's targets.
func checkTargets(act Action, r *Request, s *fleet.Snapshot) *Refused {
	if len(r.Targets) == 0 {
		return refuse(http.StatusBadRequest, "INVALID_TARGET", "nothing is named that it should be done to")
	}
	if len(r.Targets) > MaxTargets {
		return refuse(http.StatusBadRequest, "INVALID_TARGET", "%s are named; at most %s can be at a time", number(len(r.Targets)), number(MaxTargets))
	}
	var wrong []string
	for _, t := range r.Targets {
		if w := checkTarget(act, t, r.Args.Has("all")); w != "" && !slices.Contains(wrong, w) {
			wrong = append(wrong, w)
		}
		if len(wrong) == maxNamed {
			break
		}
	}
	if len(wrong) > 0 {
		return refuse(http.StatusBadRequest, "INVALID_TARGET", "%s", strings.Join(wrong, "\n"))
	}
	known := make(map[string]bool, len(s.Nodes))
	for _, n := range s.Nodes {
		known[n.Address] = true
	}
	for _, t := range r.Targets { // or anybody could have any address posted to
		if t.Node != "" && !known[t.Node] {
			return refuse(http.StatusNotFound, "NODE_NOT_FOUND", "there is no node %q", t.Node)
		}
	}
	return nil
}

// checkTarget returns a complaint; empty is none.
func checkTarget(act Action, t Target, all bool) string {
	topic, channel, node, id := need(act.On)
	switch {
	case topic != never && t.Topic == "" && topic == always:
		return act.Name + " needs a topic"
	case t.Topic != "" && !protocol.ValidName(t.Topic):
		return fmt.Sprintf("%.80q is no name of a topic: 1 to 64 of the characters . a-z A-Z 0-9 _ -, and #ephemeral behind them", t.Topic)
	case channel == always && t.Channel == "":
		return act.Name + " needs a channel"
	case t.Channel != "" && !protocol.ValidName(t.Channel):
		return fmt.Sprintf("%.80q is no name of a channel: 1 to 64 of the characters . a-z A-Z 0-9 _ -, and #ephemeral behind them", t.Channel)
	case node == always && t.Node == "":
		return act.Name + " needs a node"
	case topic == never && t.Topic != "", channel == never && t.Channel != "", node == never && t.Node != "", id == never && t.ID != "":
		return fmt.Sprintf("%s is not about %s: name %s", act.Name, superfluous(act.On, t), needs[act.On])
	case act.On == OnMessages && all == (t.ID != ""):
		return act.Name + " needs the ID of a message or all=true, not both"
	case act.On == OnMessages && !all && !validID(t.ID):
		return fmt.Sprintf("%.80q is no ID of a message: 16 hexadecimal digits in lower case", t.ID)
	case act.On == OnConnection && !decimal(t.ID):
		return act.Name + " needs the number of a connection as id"
	}
	return ""
}

// How much an action needs a field of a target.
const (
	never = iota
	may
	always
)

func need(s Scope) (topic, channel, node, id int) {
	switch s {
	case OnTopic:
		return always, never, may, never
	case OnChannel:
		return always, always, may, never
	case OnTopicOrChannel:
		return always, may, never, never
	case OnNode:
		return never, never, always, never
	case OnTopicAtNode:
		return always, never, always, never
	case OnMessages:
		return always, always, may, may
	default: // OnConnection
		return never, never, always, always
	}
}

var needs = map[Scope]string{
	OnTopic: "a topic, and perhaps a node", OnChannel: "a topic and a channel, and perhaps a node", OnTopicOrChannel: "a topic, and perhaps a channel",
	OnNode: "a node", OnTopicAtNode: "a topic and a node", OnMessages: "a topic, a channel, and a message's ID or all=true, and perhaps a node",
	OnConnection: "a node, and a connection's number",
}

// superfluous is what a target names that the action is not about.
func superfluous(s Scope, t Target) string {
	topic, channel, node, _ := need(s)
	switch {
	case topic == never && t.Topic != "":
		return "a topic"
	case channel == never && t.Channel != "":
		return "a channel"
	case node == never && t.Node != "":
		return "a node"
	}
	return "an id"
}

func validID(id string) bool {
	_, ok := protocol.ParseID([]byte(id))
	return ok
}

func decimal(s string) bool {
	return s != "" && len(s) <= 20 && strings.Trim(s, "0123456789") == ""
}
