package access

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Parse reads an access file. The error is everything that is wrong with it, a line
// each, with path and the line's number; nothing in it is a token, even if somebody
// has put one into the file by mistake.
func Parse(path string, text []byte) (*Rules, error) {
	d, err := parseDocument(path, string(text))
	if err != nil {
		return nil, err
	}
	p := parser{document: d, lines: make(map[string]int), hashes: make(map[hash]int), rules: &Rules{
		tokens: make(map[hash]token), named: make(map[string][]*rule),
	}}
	d.only("token", "certificate", "rule")
	for _, s := range d.sections("token") {
		p.token(s)
	}
	for _, s := range d.sections("certificate") {
		p.certificate(s)
	}
	for _, s := range d.sections("rule") {
		p.rule(s)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return p.rules, nil
}

type parser struct {
	*document
	rules  *Rules
	lines  map[string]int // of names, counted from 1
	hashes map[hash]int
}

// anyone and from are words of a rule's who that are no names.
const (
	anyone = "anyone"
	from   = "from "
)

// checkName returns what is wrong with the name of a token or a certificate.
func checkName(name string) error {
	if name == "" || len(name) > 64 {
		return errors.New("must have 1 to 64 characters")
	}
	for _, r := range name {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._@-", r)) {
			return errors.New("must have letters, digits and . _ @ - alone")
		}
	}
	if name == anyone {
		return errors.New("stands for everybody in rules: must be another")
	}
	return nil
}

// name reads a section's name, which is nobody else's: it is what logs tell.
func (p *parser) name(s *section) string {
	name, there := s.needed("name", "logs and figures tell it, and rules name it")
	if !there {
		return ""
	}
	line := 1 + p.line("name", s.from)
	if err := checkName(name); err != nil {
		s.complain("name", "name %q: %s", short(name), err)
	} else if first := p.lines[name]; first != 0 {
		s.complain("name", "name %q: is there already, in line %d: give each its own, and name both in the rule", name, first)
	} else {
		p.lines[name] = line
	}
	return name
}

func (p *parser) token(s *section) {
	t := token{name: p.name(s)}
	text, there := s.needed("sha256", "--new-token makes a token and these lines")
	t.expires = s.time("expires")
	line := 1 + p.line("sha256", s.from)
	if h, err := parseHash(text); there && err != nil {
		s.complain("sha256", "sha256: %s", err)
	} else if first := p.hashes[h]; there && first != 0 {
		s.complain("sha256", "sha256: is that of line %d: one token cannot be two", first)
	} else {
		p.hashes[h] = line
		p.rules.tokens[h] = t
	}
	for _, key := range []string{"token", "secret"} {
		if _, there := s.use(key); there {
			s.complain(key, "%s: must not be here, for whoever reads the file could use it: write its sha256, which --new-token prints, and make a new one", key)
		}
		s.used = s.used[:len(s.used)-1]
		delete(s.values, key)
	}
	s.rest()
}

func parseHash(text string) (h hash, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) {
		return h, fmt.Errorf("must be 64 hexadecimal digits, as sha256sum prints them; it has %d characters", len(text))
	}
	return hash(b), nil
}

func (p *parser) certificate(s *section) {
	c := certificate{name: p.name(s), commonName: s.text("common_name"), dns: s.text("dns"), uri: s.text("uri")}
	given := 0
	for _, v := range []string{c.commonName, c.dns, c.uri} {
		if v != "" {
			given++
		}
	}
	if given != 1 {
		s.complain("name", "[[certificate]] must have one of common_name, dns and uri, as it stands in the certificate")
	}
	same := func(other certificate) bool {
		return other.commonName == c.commonName && other.dns == c.dns && other.uri == c.uri
	}
	if given == 1 && slices.ContainsFunc(p.rules.certificates, same) {
		s.complain("name", "[[certificate]] %q: another one has the same common_name, dns or uri", c.name)
	}
	p.rules.certificates = append(p.rules.certificates, c)
	s.rest()
}

// granted are the words of a rule's rights.
var granted = map[string]Action{
	"stats": Stats, "look": Look, "publish": Publish, "subscribe": Subscribe, "manage": Manage, "register": Register,
}

func (p *parser) rule(s *section) {
	r := new(rule)
	p.rules.rules++
	p.rights(s, r)
	r.topics, r.channels = p.patterns(s, "topics"), p.patterns(s, "channels")
	if r.rights.Has(Register) && (r.topics != nil || r.channels != nil) {
		s.complain("rights", "rights: a rule with register must not name topics or channels, for a daemon registers all that it has: make another rule for the other rights")
	}
	if r.channels != nil && r.rights&^rightsTo(Publish) == 0 {
		s.complain("channels", "channels: say nothing where the one right is publish: messages go to all channels of a topic")
	}
	p.who(s, r)
	s.rest()
}

func (p *parser) rights(s *section, r *rule) {
	if _, there := s.values["rights"]; !there {
		s.complain("rights", "[[rule]] has no rights: %s", strings.Join(rightNames(), ", "))
	}
	for _, word := range s.texts("rights") {
		if a, ok := granted[word]; ok {
			r.rights |= rightsTo(a)
		} else {
			s.complain("rights", "rights: %q is none: %s", short(word), suggestion(word, rightNames(), "%q"))
		}
	}
	r.rights = r.rights.implied()
}

func rightNames() []string { return slices.Sorted(maps.Keys(granted)) }

// patterns reads patterns; nil if they are left out.
func (p *parser) patterns(s *section, key string) (all patterns) {
	for _, text := range s.texts(key) {
		if err := pattern(text).check(); err != nil {
			s.complain(key, "%s: %q %s", key, short(text), err)
		}
		all = append(all, pattern(text))
	}
	return all
}

// who reads whom a rule is for.
func (p *parser) who(s *section, r *rule) {
	if _, there := s.values["who"]; !there {
		s.complain("who", `[[rule]] has no who: names of tokens and certificates, "anyone", or "from" and a network`)
	}
	for _, word := range s.texts("who") {
		network, isFrom := strings.CutPrefix(word, from)
		of := p.rules.named[word]
		switch {
		case p.full():
			return
		case word == anyone:
			p.rules.anyone = append(p.rules.anyone, r)
		case isFrom:
			prefix, err := parseNetwork(network)
			if err != nil {
				s.complain("who", "who: %q: %s", short(word), err)
			}
			p.rules.from = append(p.rules.from, origin{prefix, r})
		case p.lines[word] == 0:
			s.complain("who", "who: no token and no certificate is called %q: %s", short(word), p.known(word))
		case len(of) > 0 && of[len(of)-1] == r:
			s.complain("who", "who: %q is there twice", word)
		default:
			p.rules.named[word] = append(of, r)
		}
	}
}

// known says whom a rule may name.
func (p *parser) known(word string) string {
	names := slices.Sorted(maps.Keys(p.lines))
	if len(names) > 20 { // near ones among all, but not all in one line
		if s := suggestion(word, names, "%q"); strings.HasPrefix(s, "is ") {
			return s
		}
		names = names[:0]
	}
	return suggestion(word, append(names, anyone), "%q")
}

// parseNetwork reads 10.0.0.0/8, or one address.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	n, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return n, errors.New(`must be "from" and a network such as 10.0.0.0/8, or an address`)
	case n != n.Masked():
		return n, fmt.Errorf("has bits behind the network's: is %s meant?", n.Masked())
	case n.Addr().Is4In6():
		return n, errors.New("must be written as an IPv4 network")
	}
	return n, nil
}
