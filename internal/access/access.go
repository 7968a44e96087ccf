// Package access is the question that a daemon asks before it does something for
// somebody: may he? What answers it is a Policy. There is none yet: then everything
// is allowed to everybody who can connect.
//
// Every HTTP route asks, and V1's IDENTIFY. Protocol V2 has NSQ's AUTH (qd/auth).
package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"unicode"
)

// Action is what somebody wants to do. The zero Action is none, so that one that
// was forgotten is not taken for a harmless one.
type Action uint8

const (
	// Look is to read what there is: topics, figures, profiles; not messages.
	Look Action = iota + 1
	// Publish is to publish to a topic, which creates it if need be.
	Publish
	// Consume is to get a topic's messages, or to see their bodies.
	Consume
	// Change is to create, delete, pause, empty or configure something.
	Change
	// Register is to tell a lookupd what a queue daemon has.
	Register
	// Free is what nobody is asked about: whether a daemon is up. Those who probe
	// that cannot prove who they are, and learn nothing else.
	Free
)

var actions = [...]string{Look: "look", Publish: "publish", Consume: "consume", Change: "change", Register: "register", Free: "probe"}

// String returns a verb.
func (a Action) String() string {
	if a.Valid() {
		return actions[a]
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// Valid reports whether a is one of the actions.
func (a Action) Valid() bool { return Look <= a && a <= Free }

// Who is somebody who asks for something, as far as is known.
type Who struct {
	// Remote is where the connection comes from, as net.Addr's String says it:
	// host:port, or whatever a socket file's clients are called.
	Remote string
	// TLS says that the connection is encrypted.
	TLS bool
	// Certificate is the client's, if it was verified; else nil. One that was only
	// asked for proves nothing.
	Certificate *x509.Certificate
	// Secret is what he has shown: the token of an Authorization header of the kind
	// Bearer. It is empty if he has shown none, and always in V1, which has no word
	// for it. It must not be logged.
	Secret string
}

// Of returns who is at the other end of a connection from remote. state is nil
// without TLS.
func Of(remote string, state *tls.ConnectionState) Who {
	who := Who{Remote: remote, TLS: state != nil}
	if state != nil && len(state.VerifiedChains) > 0 && len(state.PeerCertificates) > 0 {
		who.Certificate = state.PeerCertificates[0]
	}
	return who
}

// Policy decides who may do what. Its methods may be called by any number of
// goroutines.
type Policy interface {
	// Allow returns nil if who may do it, and else why not. The error's text is told
	// to him, so it should say what would help; what only the operator should know,
	// such as why an auth server cannot be asked, is the Policy's to log. An answer
	// holds for one HTTP request, or for as long as a connection of V1 does.
	//
	// topic and channel are those that a request names, unchecked; empty if it names
	// none. Allow returns soon after ctx has ended.
	Allow(ctx context.Context, who Who, action Action, topic, channel string) error
}

// Ask asks p, which may be nil: then everything is allowed. Nobody is asked about
// what is Free. An action that is none is refused.
func Ask(ctx context.Context, p Policy, who Who, action Action, topic, channel string) error {
	if p == nil || action == Free {
		return nil
	}
	if !action.Valid() {
		return fmt.Errorf("nothing says what is to be done: %s", action)
	}
	return p.Allow(ctx, who, action, topic, channel)
}

// maxReason is the most bytes of a reason that a client is told.
const maxReason = 500

// Reason is what a client is told of err: one line, not too long.
func Reason(err error) string {
	line := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, err.Error())
	if len(line) > maxReason {
		line = strings.ToValidUTF8(line[:maxReason], "") + "…"
	}
	return line
}
