package registry

import (
	"encoding/json"

	"github.com/millrace-mq/millrace/protocol"
)

// Rendered is a peer in JSON, made once because every lookup shows it.
type Rendered struct {
	// Remote is the remote address, a string in quotes.
	Remote string
	// Facts are NSQ's other seven fields, with commas between them and without
	// braces: `"hostname":"h","broadcast_address":…,"topology_region":""`.
	Facts string
}

func render(info protocol.PeerInfo, remoteAddress string) Rendered {
	// Strings and numbers cannot fail.
	remote, _ := json.Marshal(remoteAddress)
	facts, _ := json.Marshal(struct {
		Hostname         string `json:"hostname"`
		BroadcastAddress string `json:"broadcast_address"`
		TCPPort          int    `json:"tcp_port"`
		HTTPPort         int    `json:"http_port"`
		Version          string `json:"version"`
		TopologyZone     string `json:"topology_zone"`
		TopologyRegion   string `json:"topology_region"`
	}{
		info.Hostname, info.BroadcastAddress, info.TCPPort, info.HTTPPort, info.Version, info.TopologyZone, info.TopologyRegion,
	})
	return Rendered{string(remote), string(facts[1 : len(facts)-1])}
}
