package protocol

// The extension of V2 is spoken on a connection whose client has named it in
// IDENTIFY and whose daemon has answered it there. Towards others both are
// exactly NSQ's: an nsqd ignores the key and answers without it.
//
//	SEEK place
//
// moves the channel subscribed to. A place is "earliest", "latest", the ID of a
// message, a time as in RFC 3339, or one in milliseconds or nanoseconds since
// 1970. It is answered OK, or E_SEEK_FAILED, which does not end the connection.

// The places that are words.
const (
	PlaceEarliest = "earliest" // the oldest message that the topic has kept
	PlaceLatest   = "latest"   // behind what was published so far
)

// ExtensionRequest is what a client that knows the extension asks for. It may
// be empty.
type ExtensionRequest struct {
	// ChannelStart is the place where a channel begins that SUB makes; empty
	// leaves it to NSQ's rule: at the latest, but for a topic's first channel,
	// which gets everything.
	ChannelStart string `json:"channel_start,omitempty"`
}

// ExtensionResponse is what a daemon that knows the extension answers.
type ExtensionResponse struct {
	MaxMsgSize    int64 `json:"max_msg_size"`    // bytes of a message
	MaxBodySize   int64 `json:"max_body_size"`   // bytes of a command's body
	MaxReqTimeout int64 `json:"max_req_timeout"` // of REQ and DPUB, in milliseconds
	WholeBatches  bool  `json:"whole_batches"`   // MPUB stores all or nothing, whatever it answers
	Seek          bool  `json:"seek"`            // SEEK is known
}
