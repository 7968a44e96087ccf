package signin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
)

// identity is who a provider says that somebody is.
type identity struct {
	name   string
	groups []string // those that have a role
}

// What a session keeps of groups: a cookie has no room for hundreds.
const (
	maxGroups     = 8
	maxGroupBytes = 1 << 10
)

// home is where browsers find us.
func (p *provider) home() string { return strings.TrimSuffix(p.callback, callbackPath) }

// identify reads the claims of a token that was verified.
func (p *provider) identify(token *oidc.IDToken) (identity, error) {
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return identity{}, fmt.Errorf("reading the ID token's claims: %w", err)
	}
	// Who can have others sign what is for somebody else says so here.
	if azp, ok := claims["azp"].(string); len(token.Audience) > 1 && (!ok || azp != p.clientID) {
		return identity{}, fmt.Errorf("the ID token is for %q and was not asked for by us", token.Audience)
	}
	name, err := p.nameOf(claims)
	if err != nil {
		return identity{}, err
	}
	return identity{name: name, groups: p.groupsOf(claims)}, nil
}

// groupsOf are the values of the role claim that have a role, the highest first, as
// many as a session keeps.
func (p *provider) groupsOf(claims map[string]any) (groups []string) {
	if p.roleClaim == "" || p.roleClaim == "email" && unverified(claims) {
		return nil
	}
	for _, group := range values(claims, p.roleClaim) {
		if _, known := p.roles[group]; known && !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
	}
	slices.SortStableFunc(groups, func(a, b string) int { return int(p.roles[b]) - int(p.roles[a]) })
	bytes := 0
	for i, group := range groups {
		if bytes += len(group); i == maxGroups || bytes > maxGroupBytes {
			return groups[:i]
		}
	}
	return groups
}

// unverified reports whether the address in the claim email may be anybody's: with some
// providers a user writes there what he likes.
func unverified(claims map[string]any) bool {
	return fmt.Sprint(claims["email_verified"]) == "false" // some send it as a text
}

// nameOf is the name that a claim has, which must be one that can be shown.
func (p *provider) nameOf(claims map[string]any) (string, error) {
	candidates := []string{p.nameClaim}
	if p.nameClaim == "" {
		candidates = []string{"preferred_username", "email", "sub"}
	}
	for _, claim := range candidates {
		name, ok := claims[claim].(string)
		if !ok || claim == "email" && unverified(claims) {
			continue
		}
		if err := checkName(name); err != nil {
			return "", fmt.Errorf("the claim %s is no name: it %w", claim, err)
		}
		return name, nil
	}
	return "", fmt.Errorf("the ID token has no name: none of the claims %s is there and certain", strings.Join(candidates, ", "))
}

// values returns the texts that a claim has: one, or a list. If there is none called
// path, that is the way to one in other claims, with dots.
func values(claims map[string]any, path string) (all []string) {
	v, ok := claims[path]
	for rest := path; !ok && rest != ""; {
		var key string
		key, rest, _ = strings.Cut(rest, ".")
		if v = claims[key]; rest == "" {
			break
		}
		inner, isObject := v.(map[string]any)
		if !isObject {
			return nil
		}
		claims = inner
	}
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, one := range v {
			if text, ok := one.(string); ok {
				all = append(all, text)
			}
		}
	}
	return all
}
