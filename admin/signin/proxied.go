package signin

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// peer is who a connection is from; a socket file's other end is this machine.
func peer(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return from.Addr().Unmap().WithZone("")
}

func (s *Signin) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(s.proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// remote is the address that a request comes from: of what trusted proxies say, the
// last that is not one of them. What stands before it anybody can have written.
func (s *Signin) remote(r *http.Request) netip.Addr {
	at := peer(r)
	if !s.trusted(at) {
		return at
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		a, err := parseHop(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		if at = a; !s.trusted(at) {
			break
		}
	}
	return at
}

// parseHop reads an address, with or without a port.
func parseHop(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		var p netip.AddrPort
		p, err = netip.ParseAddrPort(text)
		a = p.Addr()
	}
	return a.Unmap().WithZone(""), err
}

// secure reports whether the browser speaks TLS, with us or with a trusted proxy.
func (s *Signin) secure(r *http.Request) bool {
	proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(proto), "https") && s.trusted(peer(r))
}

// proxied returns whom a trusted proxy names, and with which role.
func (s *Signin) proxied(r *http.Request) (name string, role Role) {
	names := r.Header.Values(s.ProxyHeader)
	if len(names) == 0 || !s.Configured() {
		return "", Nobody
	}
	if from := peer(r); !s.trusted(from) {
		s.log.Warn("a header that names a user is ignored: it is not from a --trusted-proxy", "header", s.ProxyHeader, "client", from)
		return "", Nobody
	}
	// Two of them may be the proxy's and the client's own, and we do not know which.
	if len(names) > 1 || checkName(names[0]) != nil {
		if len(names) > 1 || names[0] != "" {
			s.log.Warn("a proxy's header that names a user is ignored: it must be one name", "header", s.ProxyHeader, "client", peer(r))
		}
		return "", Nobody
	}
	return names[0], s.roleOf(names[0], r)
}

// roleOf is the role of somebody whom a proxy names.
func (s *Signin) roleOf(name string, r *http.Request) Role {
	rules := s.people().proxy
	role := rules.role
	if rules.header != "" {
		for _, list := range r.Header.Values(rules.header) {
			groups := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ';' })
			for i := range groups {
				groups[i] = strings.TrimSpace(groups[i])
			}
			role = highest(rules.groups, groups, role)
		}
	}
	switch {
	case slices.Contains(s.Admins, name):
		return Admin
	case slices.Contains(s.Operators, name):
		return max(role, Operator)
	}
	return role
}
