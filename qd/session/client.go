package session

import (
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

// Client is what a connection says of itself and has come to, for those who
// list connections.
type Client struct {
	// Connection tells it from all others while the daemon runs.
	Connection                             uint64
	ID, Hostname, RemoteAddress, UserAgent string

	State      protocol.State
	Connected  time.Time
	LastActive time.Time // when its last command but NOP was carried out; at first, when it connected
	SampleRate int32
	MsgTimeout time.Duration

	Deflate, Snappy, TLS, Authed bool
	// What TLS agreed on, in NSQ's words: the version as "TLS1.3", the cipher suite
	// by its name, the application protocol, mostly none. Empty without TLS.
	TLSVersion, TLSCipherSuite, TLSNegotiatedProtocol string
	// CommonName is that of the client's certificate; empty if it showed none. It
	// is verified only if the daemon's policy is to verify certificates.
	CommonName                   string
	TopologyZone, TopologyRegion string

	// Whom an auth server takes the client for; empty if it was not asked.
	AuthIdentity, AuthIdentityURL string

	// PubCounts is the number of messages published, by topic; nil if it never
	// published.
	PubCounts map[string]uint64
}
