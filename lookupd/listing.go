package lookupd

import (
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// producer is a daemon as /lookup shows it. The keys are always there.
type producer struct {
	RemoteAddress    string `json:"remote_address"`
	Hostname         string `json:"hostname"`
	BroadcastAddress string `json:"broadcast_address"`
	TCPPort          int    `json:"tcp_port"`
	HTTPPort         int    `json:"http_port"`
	Version          string `json:"version"`
	TopologyZone     string `json:"topology_zone"`
	TopologyRegion   string `json:"topology_region"`
}

func describe(p *registry.Peer) producer {
	return producer{
		RemoteAddress:    p.RemoteAddress,
		Hostname:         p.Info.Hostname,
		BroadcastAddress: p.Info.BroadcastAddress,
		TCPPort:          p.Info.TCPPort,
		HTTPPort:         p.Info.HTTPPort,
		Version:          p.Info.Version,
		TopologyZone:     p.Info.TopologyZone,
		TopologyRegion:   p.Info.TopologyRegion,
	}
}

// node is a daemon as /nodes shows it. Tombstones and Topics run in parallel.
type node struct {
	producer
	Tombstones []bool   `json:"tombstones"`
	Topics     []string `json:"topics"`
}

// registration is an entry of /debug. Times are in nanoseconds since the Unix
// epoch, 0 for never.
type registration struct {
	ID               string `json:"id"`
	Hostname         string `json:"hostname"`
	BroadcastAddress string `json:"broadcast_address"`
	TCPPort          int    `json:"tcp_port"`
	HTTPPort         int    `json:"http_port"`
	Version          string `json:"version"`
	TopologyZone     string `json:"topology_zone"`
	TopologyRegion   string `json:"topology_region"`
	LastUpdate       int64  `json:"last_update"`
	Tombstoned       bool   `json:"tombstoned"`
	TombstonedAt     int64  `json:"tombstoned_at"`
	Generation       uint64 `json:"generation"`
}

func (a *api) info(*http.Request, url.Values) (any, error) {
	return map[string]string{"version": protocol.Version}, nil
}

func (a *api) topics(*http.Request, url.Values) (any, error) {
	return map[string][]string{"topics": a.allTopics()}, nil
}

func (a *api) allTopics() (topics []string) {
	a.dir.read(func(r *registry.Registry, _ time.Time) { topics = r.Topics("", math.MaxInt) })
	return topics
}

func (a *api) channels(_ *http.Request, q url.Values) (any, error) {
	topic, err := httpapi.Argument(q, "topic")
	if err != nil {
		return nil, err
	}
	var channels []string
	a.dir.read(func(r *registry.Registry, _ time.Time) { channels = r.Channels(topic) })
	return map[string][]string{"channels": channels}, nil
}

func (a *api) lookup(_ *http.Request, q url.Values) (any, error) {
	topic, err := httpapi.Argument(q, "topic")
	if err != nil {
		return nil, err
	}
	var found registry.Listing
	var known bool
	a.dir.read(func(r *registry.Registry, now time.Time) { found, known = r.Lookup(topic, now) })
	if !known {
		return nil, &httpapi.Error{Status: http.StatusNotFound, Code: "TOPIC_NOT_FOUND"}
	}
	producers := make([]producer, len(found.Producers))
	for i, p := range found.Producers {
		producers[i] = describe(p.Peer)
	}
	return struct {
		Channels  []string   `json:"channels"`
		Producers []producer `json:"producers"`
	}{found.Channels, producers}, nil
}

// nodes takes the lock anew for each daemon. One that comes or goes meanwhile
// may be missing or have no topics; nobody waits for the whole list.
func (a *api) nodes(*http.Request, url.Values) (any, error) {
	var peers []*registry.Peer
	a.dir.read(func(r *registry.Registry, now time.Time) { peers = r.Nodes(0, math.MaxInt, now) })
	nodes := make([]node, len(peers))
	for i, p := range peers {
		var topics []registry.PeerTopic
		a.dir.read(func(r *registry.Registry, now time.Time) { topics = r.PeerTopics(p, "", math.MaxInt, now) })
		nodes[i] = node{describe(p), make([]bool, len(topics)), make([]string, len(topics))}
		for j, t := range topics {
			nodes[i].Topics[j], nodes[i].Tombstones[j] = t.Name, t.Tombstoned
		}
	}
	return map[string][]node{"producers": nodes}, nil
}

// debug takes the lock anew for each topic, as nodes does for each daemon.
func (a *api) debug(*http.Request, url.Values) (any, error) {
	all := make(map[string][]registration)
	a.dir.read(func(r *registry.Registry, _ time.Time) {
		for _, p := range r.Peers() {
			all["client::"] = append(all["client::"], debugEntry(p, r.LastSeen(p)))
		}
	})
	for _, topic := range a.allTopics() {
		var registrations []registry.Record
		a.dir.read(func(r *registry.Registry, now time.Time) { registrations = r.Registrations(topic, now) })
		for _, reg := range registrations {
			e := debugEntry(reg.Peer, reg.LastSeen)
			e.Generation, e.Tombstoned = reg.Generation, reg.Tombstoned
			if !reg.TombstonedAt.IsZero() {
				e.TombstonedAt = reg.TombstonedAt.UnixNano()
			}
			all["topic:"+topic+":"] = append(all["topic:"+topic+":"], e)
			for _, channel := range reg.Channels {
				key := "channel:" + topic + ":" + channel
				all[key] = append(all[key], e)
			}
		}
	}
	return all, nil
}

func debugEntry(p *registry.Peer, seen time.Time) registration {
	return registration{
		ID:               p.RemoteAddress,
		Hostname:         p.Info.Hostname,
		BroadcastAddress: p.Info.BroadcastAddress,
		TCPPort:          p.Info.TCPPort,
		HTTPPort:         p.Info.HTTPPort,
		Version:          p.Info.Version,
		TopologyZone:     p.Info.TopologyZone,
		TopologyRegion:   p.Info.TopologyRegion,
		LastUpdate:       seen.UnixNano(),
	}
}
