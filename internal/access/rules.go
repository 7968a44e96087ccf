package access

import (
	"crypto/sha256"
	"crypto/x509"
	"net/netip"
	"slices"
	"time"
)

// Rights is a set of the actions that an access file grants.
type Rights uint16

func rightsTo(all ...Action) (r Rights) {
	for _, a := range all {
		r |= 1 << a
	}
	return r
}

// Has reports whether a is among the rights.
func (r Rights) Has(a Action) bool { return a.Valid() && r&(1<<a) != 0 }

// implied adds what rights contain: who may manage may look, and who may look may
// see figures.
func (r Rights) implied() Rights {
	if r.Has(Manage) {
		r |= rightsTo(Look)
	}
	if r.Has(Look) {
		r |= rightsTo(Stats)
	}
	return r
}

// maxSecret is how many bytes of a secret are looked at. Tokens are far shorter, and
// who shows more must not have us compute for it.
const maxSecret = 4 << 10

// Rules are what an access file says. They do not change, so goroutines may share
// them; another file has other Rules, even if it says the same.
type Rules struct {
	tokens       map[hash]token
	certificates []certificate
	named        map[string][]*rule
	anyone       []*rule
	from         []origin
	rules        int
}

// hash is SHA-256 of a token. A slow hash with salt is for what people think up; a
// token has 256 bits of chance, which nobody finds by trying, with or without the
// hashes. That is also why looking it up in a map tells nothing by the time it
// takes: how much of two hashes agrees says nothing of what they were made of.
type hash [sha256.Size]byte

type token struct {
	name    string
	expires time.Time // zero: never
}

// certificate is one that names its holder, by one of the three.
type certificate struct {
	name                 string
	commonName, dns, uri string
}

func (c *certificate) is(shown *x509.Certificate) bool {
	switch {
	case c.commonName != "":
		return shown.Subject.CommonName == c.commonName
	case c.dns != "":
		return slices.Contains(shown.DNSNames, c.dns)
	}
	for _, u := range shown.URIs {
		if u.String() == c.uri {
			return true
		}
	}
	return false
}

// origin are the addresses that a rule is for.
type origin struct {
	prefix netip.Prefix
	rule   *rule
}

type rule struct {
	rights           Rights
	topics, channels patterns
}

// covers reports whether the rule grants the action there. What names no topic is
// about all of them, and so is what names no channel; but publishers have no channel.
func (r *rule) covers(action Action, topic, channel string) bool {
	switch action {
	case Find:
		return topic == "" || r.topics.match(topic)
	case List:
		return r.rights.Has(Stats)
	}
	return r.rights.Has(action) && r.topics.covers(topic) && (action == Publish || r.channels.covers(channel))
}

// covers is match, but for the empty name, which stands for all names.
func (all patterns) covers(name string) bool {
	if name == "" {
		return all == nil || slices.Contains(all, "*")
	}
	return all.match(name)
}

// Any reports whether there is a rule. While there is none everything is allowed.
func (r *Rules) Any() bool { return r.rules > 0 }

// HasTokens reports whether there are tokens.
func (r *Rules) HasTokens() bool { return len(r.tokens) > 0 }

// Grant is what somebody may do by some Rules. It holds until Expires.
type Grant struct {
	// Name is what the file calls him, by his token, else by his certificate; empty if
	// it does not know him.
	Name string
	// Expires is when his token does; zero if it does not, or he has shown none.
	Expires time.Time
	// Secret is what came of the one that he has shown.
	Secret Finding

	rules []*rule
	open  bool // there are no rules
}

// Finding is what came of a secret.
type Finding uint8

const (
	// NoSecret has been shown.
	NoSecret Finding = iota
	// KnownSecret is a token of the file.
	KnownSecret
	// ExpiredSecret is one whose time is over.
	ExpiredSecret
	// UnknownSecret is none of the file's.
	UnknownSecret
)

// Grant returns what who may do from now on: what he may by his token, by his
// certificate, by where he comes from, and what anyone may. A secret that counts for
// nothing takes nothing away from the rest.
func (r *Rules) Grant(who Who, now time.Time) Grant {
	g := Grant{open: !r.Any(), rules: slices.Clip(r.anyone)}
	if who.Secret != "" {
		g.Secret = UnknownSecret
		if t, ok := r.token(who.Secret); ok {
			g.take(t, now)
		}
	}
	if g.Secret == KnownSecret {
		g.rules = append(g.rules, r.named[g.Name]...)
	}
	if name := r.certified(who.Certificate); name != "" {
		if name != g.Name {
			g.rules = append(g.rules, r.named[name]...)
		}
		if g.Secret != KnownSecret {
			g.Name = name
		}
	}
	if len(r.from) > 0 {
		g.rules = append(g.rules, r.ofAddress(who.address())...)
	}
	return g
}

func (r *Rules) token(secret string) (token, bool) {
	if len(secret) > maxSecret {
		return token{}, false
	}
	t, ok := r.tokens[sha256.Sum256([]byte(secret))]
	return t, ok
}

func (g *Grant) take(t token, now time.Time) {
	if !t.expires.IsZero() && !now.Before(t.expires) {
		g.Secret = ExpiredSecret
		return
	}
	g.Name, g.Expires, g.Secret = t.name, t.expires, KnownSecret
}

func (r *Rules) certified(shown *x509.Certificate) string {
	if shown == nil {
		return ""
	}
	for i := range r.certificates {
		if c := &r.certificates[i]; c.is(shown) {
			return c.name
		}
	}
	return ""
}

func (r *Rules) ofAddress(a netip.Addr) (all []*rule) {
	for _, o := range r.from {
		if o.prefix.Contains(a) {
			all = append(all, o.rule)
		}
	}
	return all
}

// May reports whether the grant allows an action. A topic or channel that is empty
// is all of them.
func (g *Grant) May(action Action, topic, channel string) bool {
	if g.open || action == Free {
		return true
	}
	for _, r := range g.rules {
		if r.covers(action, topic, channel) {
			return true
		}
	}
	return false
}

// Rules is how many rules apply.
func (g *Grant) Rules() int { return len(g.rules) }

// Sees reports whether a list of what action reads shows a topic or, with a channel, a
// channel of it. A topic is shown already if one of its channels might be.
func (g *Grant) Sees(action Action, topic, channel string) bool {
	if g.May(action, topic, channel) {
		return true
	}
	return channel == "" && slices.ContainsFunc(g.rules, func(r *rule) bool { return r.rights.Has(action) && r.topics.match(topic) })
}

// SeesAll reports whether a list of what action reads, which is Stats or Find, shows
// everything.
func (g *Grant) SeesAll(action Action) bool {
	return g.open || slices.ContainsFunc(g.rules, func(r *rule) bool {
		return (action == Find || r.rights.Has(action)) && r.topics.covers("") && r.channels.covers("")
	})
}

// Everywhere are the rights on all topics and channels.
func (g *Grant) Everywhere() (all Rights) {
	for _, a := range []Action{Stats, Look, Publish, Subscribe, Manage, Register} {
		if g.May(a, "", "") {
			all |= rightsTo(a)
		}
	}
	return all
}

// address is where he comes from; the zero Addr, which is in no network, if that is no
// IP address.
func (w Who) address() netip.Addr {
	from, err := netip.ParseAddrPort(w.Remote)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap().WithZone("")
}
