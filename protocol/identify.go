package protocol

import "encoding/json"

// IdentifyRequest is the body of IDENTIFY. All fields are optional: zero asks
// for the daemon's default. Unknown keys are ignored.
type IdentifyRequest struct {
	ClientID           string `json:"client_id"`
	Hostname           string `json:"hostname"`
	UserAgent          string `json:"user_agent,omitempty"`
	FeatureNegotiation bool   `json:"feature_negotiation"`

	// Times are in milliseconds; -1 switches the thing off where that is
	// allowed.
	HeartbeatInterval   int `json:"heartbeat_interval,omitempty"`
	OutputBufferSize    int `json:"output_buffer_size,omitempty"` // bytes; -1 is unbuffered
	OutputBufferTimeout int `json:"output_buffer_timeout,omitempty"`
	MsgTimeout          int `json:"msg_timeout,omitempty"`

	SampleRate   int32 `json:"sample_rate,omitempty"` // percent, 0 (all) to 99
	TLSv1        bool  `json:"tls_v1,omitempty"`
	Snappy       bool  `json:"snappy,omitempty"`
	Deflate      bool  `json:"deflate,omitempty"`
	DeflateLevel int   `json:"deflate_level,omitempty"`

	TopologyRegion string `json:"topology_region,omitempty"`
	TopologyZone   string `json:"topology_zone,omitempty"`

	Extension *ExtensionRequest `json:"millrace,omitempty"` // nil: the client does not know it
}

// IdentifyResponse answers an IDENTIFY that asked for feature negotiation.
// Times are in milliseconds. The order of the fields is nsqd's.
type IdentifyResponse struct {
	MaxRdyCount         int64  `json:"max_rdy_count"`
	Version             string `json:"version"`
	MaxMsgTimeout       int64  `json:"max_msg_timeout"`
	MsgTimeout          int64  `json:"msg_timeout"`
	TLSv1               bool   `json:"tls_v1"`
	Deflate             bool   `json:"deflate"`
	DeflateLevel        int    `json:"deflate_level"`
	MaxDeflateLevel     int    `json:"max_deflate_level"`
	Snappy              bool   `json:"snappy"`
	SampleRate          int32  `json:"sample_rate"`
	AuthRequired        bool   `json:"auth_required"`
	OutputBufferSize    int    `json:"output_buffer_size"`
	OutputBufferTimeout int64  `json:"output_buffer_timeout"`
	TopologyRegion      string `json:"topology_region"`
	TopologyZone        string `json:"topology_zone"`

	Extension *ExtensionResponse `json:"millrace,omitempty"` // nil unless it was asked for
}

// ParseIdentify reads the body of IDENTIFY.
func ParseIdentify(body []byte) (r IdentifyRequest, err error) {
	err = json.Unmarshal(body, &r)
	return r, err
}

// AuthResponse answers AUTH. The order of the fields is nsqd's.
type AuthResponse struct {
	Identity        string `json:"identity"`
	IdentityURL     string `json:"identity_url"`
	PermissionCount int    `json:"permission_count"`
}
