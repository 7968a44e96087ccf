// Package protocol is the wire that Millrace shares with NSQ: frames, the V2
// commands and when each is legal, names, message IDs, error codes, and the
// IDENTIFY exchange. Daemons and clients both import it; it imports the
// standard library alone.
//
// Its rules are those of NSQ 1.3. Functions named Append… write to a caller's
// buffer and allocate nothing else; functions named Parse… never keep the
// bytes that they are given beyond what they return.
package protocol

// Version is the nsqd version whose behaviour the wire follows. Clients read
// it as dotted numbers and switch features on it, so it must stay parseable.
const Version = "1.3.0"

// The four bytes that open a connection and choose its protocol.
const (
	MagicV1 = "  V1" // a daemon speaking to lookupd
	MagicV2 = "  V2" // a client speaking to qd
)

// Defaults and limits that both ends of the wire must agree on.
const (
	// MaxLine is the longest command line in bytes, its newline included.
	MaxLine = 16384
	// DefaultMaxMessageSize bounds one message body, in bytes.
	DefaultMaxMessageSize = 1 << 20
	// DefaultMaxBodySize bounds one command body, in bytes.
	DefaultMaxBodySize = 5 << 20
)
