package signin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// people is what a users' file says. It never changes: another file is another one.
type people struct {
	users map[string]user
	names []string // of users, sorted
	proxy proxyRules
	oidc  *provider // nil: none
}

// user is somebody who has a password.
type user struct {
	hash  hashed
	print string // of the hash: another password has another one
	role  Role
}

// proxyRules say what role somebody has whom a trusted proxy names, beside those
// whom flags name.
type proxyRules struct {
	header string // has the groups; empty: none
	groups map[string]Role
	role   Role // of all others
}

// provider is an OpenID provider and what its claims are worth.
type provider struct {
	issuer       string
	clientID     string
	clientSecret string
	callback     string // where it sends browsers back to
	title        string // on the button
	scopes       []string
	nameClaim    string // empty: the first of the usual ones that is there
	roleClaim    string // may be a path with dots
	roles        map[string]Role
	role         Role // of those to whom roles gives none; Nobody: they do not get in
}

// print changes when those whom the provider has named must be asked about anew.
func (p *provider) print() string { return fingerprint(p.issuer, p.clientID) }

// decoy returns a hash that takes as long to compare as that of somebody, who is
// always the same for a name: whoever tries names that do not exist sees the same
// times as with those that do.
func (p *people) decoy(key []byte, name string) hashed {
	if len(p.names) == 0 {
		return nil
	}
	h := sha256.New()
	h.Write(key)
	h.Write([]byte(name))
	at := binary.BigEndian.Uint64(h.Sum(nil)) % uint64(len(p.names))
	return p.users[p.names[at]].hash
}

func fingerprint(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// parsePeople reads a users' file. The error has a line for each thing that is wrong.
func parsePeople(path, text, base string) (*people, error) {
	f, err := parseTOML(path, text)
	if err != nil {
		return nil, err
	}
	p := &people{users: make(map[string]user), proxy: proxyRules{role: Viewer}}
	for _, s := range f.list("users") {
		p.addUser(s)
	}
	if s := f.table("proxy"); s != nil {
		p.proxy = readProxy(s)
	}
	if s := f.table("oidc"); s != nil {
		p.oidc = readProvider(s, base)
	}
	f.rest()
	p.names = slices.Sorted(maps.Keys(p.users))
	return p, f.err()
}

// empty reports whether it lets nobody in.
func (p *people) empty() bool { return len(p.users) == 0 && p.oidc == nil }

func (p *people) addUser(s *section) {
	defer s.rest()
	name, hash := s.text("name"), s.text("password")
	u := user{print: fingerprint(hash), role: s.role("role", Nobody)}
	if s.needed("name") {
		if err := checkName(name); err != nil {
			s.complain("name", "name: %w", err)
		} else if _, twice := p.users[name]; twice {
			s.complain("name", "name: there is another user called %q", name)
		}
	}
	if s.needed("password") {
		var err error
		if u.hash, err = parseHash(hash); err != nil {
			s.complain("password", "password of %q: %w", name, err)
		}
	}
	s.needed("role")
	p.users[name] = u
}

// checkName returns what is wrong with the name of somebody.
func checkName(name string) error {
	bad := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	switch {
	case name == "":
		return errors.New("must not be empty")
	case len(name) > maxName:
		return fmt.Errorf("must not have more than %d bytes", maxName)
	case strings.ContainsFunc(name, bad), strings.TrimSpace(name) != name:
		return errors.New("must be of letters, digits, signs and single blanks within")
	}
	return nil
}

func readProxy(s *section) proxyRules {
	defer s.rest()
	r := proxyRules{header: s.text("groups_header"), groups: s.roles("roles")}
	if text, _ := s.values["role"].(string); text == Nobody.String() {
		s.used["role"] = true // only those come in whom a flag or a group names
	} else {
		r.role = s.role("role", Viewer)
	}
	if strings.Trim(r.header, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		s.complain("groups_header", "groups_header: must be a header's name, such as X-Forwarded-Groups")
	}
	if (r.header == "") != (len(r.groups) == 0) {
		s.complain("groups_header", "groups_header: give it together with [proxy.roles], the role of each group")
	}
	return r
}

func readProvider(s *section, base string) *provider {
	defer s.rest()
	p := &provider{
		issuer: s.text("issuer"), clientID: s.text("client_id"), clientSecret: s.text("client_secret"), title: s.text("title"),
		scopes: s.texts("scopes"), nameClaim: s.text("name_claim"), roleClaim: s.text("role_claim"),
		roles: s.roles("roles"), role: s.role("role", Nobody),
	}
	if s.needed("issuer") && !isURL(p.issuer) {
		s.complain("issuer", "issuer: must be the provider's URL, such as https://id.example.com")
	}
	s.needed("client_id")
	at := s.text("url")
	if s.needed("url") {
		if !isURL(at) {
			s.complain("url", "url: must be where browsers find this UI, such as https://queues.example.com%s", base)
		}
		p.callback = strings.TrimSuffix(strings.TrimSuffix(at, "/"), strings.TrimSuffix(base, "/")) + base + callbackPath
	}
	if len(p.roles) == 0 && p.role == Nobody {
		s.complain("role", "role: give it, or role_claim and [oidc.roles], or nobody who signs in may do anything")
	}
	if (p.roleClaim == "") != (len(p.roles) == 0) {
		s.complain("role_claim", "role_claim: give it together with [oidc.roles], the role for each of its values")
	}
	if len(p.scopes) == 0 {
		p.scopes = []string{"profile", "email"}
	}
	if !slices.Contains(p.scopes, "openid") {
		p.scopes = append([]string{"openid"}, p.scopes...)
	}
	if u, err := url.Parse(p.issuer); p.title == "" && err == nil {
		p.title = u.Hostname()
	}
	return p
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// highest is the highest role that one of names has in roles, or else least.
func highest(roles map[string]Role, names []string, least Role) Role {
	for _, name := range names {
		least = max(least, roles[name])
	}
	return least
}
