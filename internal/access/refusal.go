package access

import (
	"fmt"
	"strconv"
)

// Refusal is a Policy's error that says whether it would help to say who one is.
type Refusal struct {
	// Unknown: nobody knows who he is, as he has shown nothing that counts.
	Unknown bool
	text    string
}

// Error says what is missing. It has no secret in it.
func (r *Refusal) Error() string { return r.text }

// refusal is why a grant does not allow an action.
func (g *Grant) refusal(action Action, topic, channel string) *Refusal {
	r := &Refusal{Unknown: g.Name == ""}
	who := strconv.Quote(g.Name)
	if r.Unknown {
		who = "anyone"
	}
	r.text = fmt.Sprintf("no rule lets %s %s", who, deed(action, topic, channel))
	switch {
	case g.Secret == UnknownSecret:
		r.text = "the token is not known; and " + r.text
	case g.Secret == ExpiredSecret:
		r.text = "the token has expired; and " + r.text
	case r.Unknown:
		r.text += ": show a token, or a certificate"
	}
	return r
}

// deed says what somebody wants to do.
func deed(action Action, topic, channel string) string {
	where := "all topics"
	switch {
	case channel != "" && action != Publish:
		where = fmt.Sprintf("%q %q", limited(topic), limited(channel))
	case topic != "":
		where = strconv.Quote(limited(topic))
	}
	switch action {
	case Stats:
		return "see figures of " + where
	case Look:
		return "look at messages of " + where
	case Publish:
		return "publish to " + where
	case Subscribe:
		return "subscribe to " + where
	case Manage:
		return "manage " + where
	case Register:
		return "register as a daemon"
	case Find:
		return "find " + where
	}
	return "see any figures"
}

// limited is a name as it is told: it is unchecked, and may be anything.
func limited(name string) string {
	if len(name) > 100 {
		return name[:100]
	}
	return name
}
