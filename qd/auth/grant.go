package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"
)

// maxTTL is the longest that a grant is held, whatever the server says: a
// longer time is no use, and enough of it overflows.
const maxTTL = 365 * 24 * time.Hour

// maxSteps is how many steps the programs of all expressions of an answer may have
// together; most characters are one. Each takes about fifty bytes, for as long as
// the connection lives, and "a{1000}" asks for a thousand.
const maxSteps = 100_000

// Grant is what a client may do, by the word of an auth server, until it
// expires. It does not change, so goroutines may share it.
//
// Topics and channels are matched by the server's regular expressions, which
// are not anchored: "orders" matches "old-orders-2", as it does in nsqd.
type Grant struct {
	Identity, IdentityURL string // whom the server takes the client for; may be empty
	Expires               time.Time

	authorizations []authorization
}

// authorization is one of the rules of a grant. What any of them allows is
// allowed.
type authorization struct {
	topic              *regexp.Regexp
	channels           []*regexp.Regexp
	publish, subscribe bool
}

// Permissions is the number of the grant's authorizations, which NSQ calls
// permission_count. With none, a client may not even AUTH.
func (g *Grant) Permissions() int { return len(g.authorizations) }

// MayPublish reports whether the client may publish to the topic: an
// authorization to publish matches its name.
//
// nsqd compares the authorization's channels, too, with a channel whose name is
// empty, so that one with channels ["ship"] allows nobody to publish. That is a
// fault of it: a publisher has no channel.
func (g *Grant) MayPublish(topic string) bool {
	for _, a := range g.authorizations {
		if a.publish && a.topic.MatchString(topic) {
			return true
		}
	}
	return false
}

// MaySubscribe reports whether the client may consume from the channel: an
// authorization to subscribe matches the topic, and one of its own channels
// matches the channel.
func (g *Grant) MaySubscribe(topic, channel string) bool {
	for _, a := range g.authorizations {
		if a.subscribe && a.topic.MatchString(topic) && a.hasChannel(channel) {
			return true
		}
	}
	return false
}

func (a authorization) hasChannel(name string) bool {
	for _, c := range a.channels {
		if c.MatchString(name) {
			return true
		}
	}
	return false
}

// answer is what an auth server says, in JSON.
type answer struct {
	TTL            int64  `json:"ttl"` // seconds
	Identity       string `json:"identity"`
	IdentityURL    string `json:"identity_url"`
	Authorizations []struct {
		// A topic left out would be an expression that matches every topic, and
		// what is more likely meant is a misspelt key. Empty, it does match all.
		Topic       *string  `json:"topic"`
		Channels    []string `json:"channels"`
		Permissions []string `json:"permissions"`
	} `json:"authorizations"`
}

// Parse reads a server's answer that came at now. One thing in it that cannot
// be understood refuses all of it. Its errors repeat nothing of the text that
// came, in which the client's secret might stand.
func Parse(text []byte, now time.Time) (*Grant, error) {
	var said answer
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, notAnswer(err)
	}
	if said.TTL <= 0 {
		return nil, fmt.Errorf("ttl is %d, must be positive", said.TTL)
	}
	ttl := maxTTL
	if said.TTL < int64(maxTTL/time.Second) {
		ttl = time.Duration(said.TTL) * time.Second
	}
	g := &Grant{
		Identity: said.Identity, IdentityURL: said.IdentityURL, Expires: now.Add(ttl),
		authorizations: make([]authorization, len(said.Authorizations)),
	}
	c := compiler{steps: maxSteps}
	for i, rule := range said.Authorizations {
		if rule.Topic == nil {
			return nil, fmt.Errorf("authorization %d has no topic", i+1)
		}
		if err := g.authorizations[i].fill(&c, *rule.Topic, rule.Channels, rule.Permissions); err != nil {
			return nil, fmt.Errorf("authorization %d: %w", i+1, err)
		}
	}
	return g, nil
}

func (a *authorization) fill(c *compiler, topic string, channels, permissions []string) (err error) {
	for i, p := range permissions {
		switch p {
		case "publish":
			a.publish = true
		case "subscribe":
			a.subscribe = true
		default:
			return fmt.Errorf("permission %d is neither publish nor subscribe", i+1)
		}
	}
	if a.topic, err = c.compile(topic); err != nil {
		return fmt.Errorf("topic: %w", err)
	}
	for i, channel := range channels {
		pattern, err := c.compile(channel)
		if err != nil {
			return fmt.Errorf("channel %d: %w", i+1, err)
		}
		a.channels = append(a.channels, pattern)
	}
	return nil
}

// compiler compiles the expressions of one answer.
type compiler struct{ steps int } // left

func (c *compiler) compile(pattern string) (*regexp.Regexp, error) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		return nil, errors.New(e.Code.String())
	} else if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	if c.steps -= len(program.Inst); c.steps < 0 {
		return nil, fmt.Errorf("the answer's expressions have more than %d steps", maxSteps)
	}
	return regexp.Compile(pattern)
}

// notAnswer says why text is not the JSON that it should be.
func notAnswer(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(e.Value, " ") // behind it stands the value
		if e.Field == "" {
			return fmt.Errorf("the answer must not be a JSON %s", kind)
		}
		return fmt.Errorf("%s must not be a JSON %s", e.Field, kind)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("the answer is not JSON from byte %d on", e.Offset)
	}
	return errors.New("the answer is not JSON")
}
