package protocol

// PeerInfo is what a qd and a lookupd tell each other in V1's IDENTIFY. The
// fields up to the topology are NSQ's; the others are left out towards those
// who do not know them, and unknown ones are ignored on both sides.
type PeerInfo struct {
	BroadcastAddress string `json:"broadcast_address"`
	Hostname         string `json:"hostname"`
	HTTPPort         int    `json:"http_port"`
	TCPPort          int    `json:"tcp_port"`
	Version          string `json:"version"`
	TopologyZone     string `json:"topology_zone,omitempty"`
	TopologyRegion   string `json:"topology_region,omitempty"`

	// Extended says that the sender speaks V1's extension: arguments behind
	// those of REGISTER and UNREGISTER, STATE, SYNCED, and RESYNC as the answer
	// to a PING. It is spoken when both have said so.
	Extended bool `json:"extended,omitempty"`
	// Instance is the identity of a qd's data path, 1 to 64 characters of a
	// topic's alphabet: the same after a restart, another for another qd.
	Instance string `json:"instance,omitempty"`
	// State is the daemon's when it identifies itself.
	State PeerState `json:"state,omitempty"`
	// HTTPSPort is where a lookupd answers HTTP requests over TLS; 0 is nowhere.
	HTTPSPort int `json:"https_port,omitempty"`
}

// PeerState says whether a qd takes publishes.
type PeerState string

const (
	// PeerReady takes publishes.
	PeerReady PeerState = "ready"
	// PeerDraining takes none for the rest of its life; consumers are welcome.
	PeerDraining PeerState = "draining"
	// PeerFailing takes none for now: its disk is full or cannot be written.
	PeerFailing PeerState = "failing"
)

// Valid reports whether s is one of the states.
func (s PeerState) Valid() bool {
	return s == PeerReady || s == PeerDraining || s == PeerFailing
}

// What the extension adds to V1's commands and replies.
//
//	REGISTER topic [channel] [generation [paused]]
//	UNREGISTER topic [channel] [generation]
//	STATE ready|draining|failing
//	SYNCED
//
// Arguments are separated by one space each: an empty channel, before a
// generation, is two spaces. A generation is decimal, 1 to 2^64-1; a greater
// one is a later topic of the same name on the same data path. Its presence on
// UNREGISTER says that the topic or channel was deleted.
const (
	// Paused is the last argument of the REGISTER of what is paused. One
	// without it says that it is not.
	Paused = "paused"
	// Resync answers a PING in place of OK: the lookupd has lost some of what
	// the daemon registered, and wants all of it again, SYNCED included.
	Resync = "RESYNC"
)
