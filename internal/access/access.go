// Package access is the question that a daemon asks before it does something for
// somebody: may he? What answers it is a Policy; without one everything is allowed
// to everybody who can connect.
//
// The Policy that there is, is an access file. Rules is what one says, a value that
// does not change and knows no clock; File keeps the Rules of a file that may be
// written anew at any time. Every HTTP route asks, V1's IDENTIFY, and what a client
// of V2 begins; beside it V2 has the auth servers of NSQ (qd/auth).
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
// was forgotten is not taken for a harmless one. The first six are rights, too, of
// the same names in an access file.
type Action uint8

const (
	// Stats is to read figures: depths, counts, clients, settings, profiles; no messages.
	Stats Action = iota + 1
	// Look is to see messages without taking them. Who may, may see figures.
	Look
	// Publish is to publish to a topic, which creates it if need be.
	Publish
	// Subscribe is to take a channel's messages, and to move the channel; both topic and
	// channel are created if need be.
	Subscribe
	// Manage is to create, delete, pause, empty or configure something. Who may, may look.
	Manage
	// Register is to tell a lookupd what a queue daemon has.
	Register
	// Find is to be told that a topic exists, and where: who has any right on it may.
	// Naming no topic, it is for who has any right at all, and shows what he may find.
	Find
	// List is to read a list of figures, of which everybody gets what he may read: who
	// has Stats on anything may.
	List
	// Free is what nobody is asked about: whether a daemon is up. Those who probe
	// that cannot prove who they are, and learn nothing else.
	Free
)

var actions = [...]string{
	Stats: "stats", Look: "look", Publish: "publish", Subscribe: "subscribe", Manage: "manage", Register: "register",
	Find: "find", List: "list", Free: "probe",
}

// String returns a word; that of a right is its name in an access file.
func (a Action) String() string {
	if a.Valid() {
		return actions[a]
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

// Valid reports whether a is one of the actions.
func (a Action) Valid() bool { return Stats <= a && a <= Free }

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
	// Bearer, the secret of V2's AUTH, or the token of V1's IDENTIFY. It is empty if he
	// has shown none. It must not be logged.
	Secret string
	// Name is what he is called in an access file, once he has been asked for it
	// (File.Identify); empty if it is not known. It may be logged and shown.
	Name string
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
	// holds for one HTTP request, or one command.
	//
	// topic and channel are those that a request names, unchecked; empty if it names
	// none: then it is about all of them. Allow returns soon after ctx has ended.
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

// Viewer is a Policy that knows at once all that somebody may read.
type Viewer interface {
	// View returns whether a list of what action reads, which is Stats or Find, shows a
	// topic or, with a channel, a channel of it; nil if it shows everything.
	View(who Who, action Action) func(topic, channel string) bool
}

// View returns what p, which may be nil, lets who see in lists; nil is everything. A
// Policy that is no Viewer is asked about each name.
func View(ctx context.Context, p Policy, who Who, action Action) func(topic, channel string) bool {
	switch p := p.(type) {
	case nil:
		return nil
	case Viewer:
		return p.View(who, action)
	}
	return func(topic, channel string) bool { return p.Allow(ctx, who, action, topic, channel) == nil }
}
