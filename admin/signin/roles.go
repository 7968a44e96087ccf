// Package signin is who may do what in the admin UI: users from a file, from a
// trusted proxy's header, or from an OpenID provider; their roles; and the sessions
// that remember them.
package signin

import (
	"context"
	"fmt"
	"slices"
)

// Role is how much somebody may do. Each may do what those before it may.
type Role uint8

const (
	// Nobody is not signed in.
	Nobody Role = iota
	// Viewer sees everything but the bodies of messages.
	Viewer
	// Operator sees bodies, and does what can be undone.
	Operator
	// Admin does everything.
	Admin
)

var roles = [...]string{Nobody: "nobody", Viewer: "viewer", Operator: "operator", Admin: "admin"}

// String is the role as settings name it.
func (r Role) String() string {
	if int(r) < len(roles) {
		return roles[r]
	}
	return fmt.Sprintf("Role(%d)", uint8(r))
}

// ParseRole returns the role that has this name; false if there is none. Nobody is
// not one that can be given to somebody.
func ParseRole(name string) (r Role, ok bool) {
	at := slices.Index(roles[:], name)
	if at <= int(Nobody) {
		return Nobody, false
	}
	// #nosec G115 -- an index of the four roles
	return Role(at), true
}

// Who is somebody who asks for something.
type Who struct {
	Name      string // empty for Nobody; somebody who has a name and is Nobody is known, and has no role
	Role      Role
	Looks     bool   // he sees bodies whatever his role may: an access file lets him look at messages
	How       string // open (no user is configured, loopback), password, proxy, oidc, token, certificate
	Remote    string // the address that it comes from, without the port
	UserAgent string
}

// The ways of Who.How.
const (
	Open     = "open"
	Password = "password"
	Proxy    = "proxy"
	OIDC     = "oidc"
)

type whoKey struct{}

// NewContext returns a context in which FromContext finds who.
func NewContext(ctx context.Context, who Who) context.Context {
	return context.WithValue(ctx, whoKey{}, who)
}

// FromContext returns who sends the request that the context is of: what Wrap has
// found out. It is the zero Who, who may nothing, if that was not asked.
func FromContext(ctx context.Context) Who {
	who, _ := ctx.Value(whoKey{}).(Who)
	return who
}
