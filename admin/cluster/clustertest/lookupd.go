package clustertest

import (
	"maps"
	"net/http"
	"slices"
	"sync"
)

// Lookupd is a played lookup daemon. It lists the Fleet's queue daemons with what they
// have at the moment, but for those that are unlisted.
type Lookupd struct {
	Server

	fleet *Fleet

	state      sync.Mutex                 // guards what follows
	created    map[string]map[string]bool // channels of topics that are known without a daemon
	tombstones map[[2]string]bool         // topic and node
	extra      []map[string]any           // producers that no Node plays
}

func newLookupd(f *Fleet) *Lookupd {
	return &Lookupd{fleet: f, created: make(map[string]map[string]bool), tombstones: make(map[[2]string]bool)}
}

// Create has it know a topic and channels of it, which no daemon need have.
func (l *Lookupd) Create(topic string, channels ...string) {
	l.state.Lock()
	defer l.state.Unlock()
	if l.created[topic] == nil {
		l.created[topic] = make(map[string]bool)
	}
	for _, c := range channels {
		l.created[topic][c] = true
	}
}

// Tombstone has it hide a topic on a node, for as long as the test lasts.
func (l *Lookupd) Tombstone(topic string, n *Node) {
	l.state.Lock()
	defer l.state.Unlock()
	l.tombstones[[2]string{topic, n.Address()}] = true
}

// List has it list a queue daemon that is somewhere else, or nowhere.
func (l *Lookupd) List(broadcastAddress string, httpPort int) {
	l.state.Lock()
	defer l.state.Unlock()
	l.extra = append(l.extra, map[string]any{
		"remote_address": "192.0.2.9:40000", "hostname": "elsewhere", "broadcast_address": broadcastAddress,
		"tcp_port": httpPort - 1, "http_port": httpPort, "version": "1.3.0", "tombstones": []bool{}, "topics": []string{},
	})
}

func (l *Lookupd) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) { reply(w, "OK") })
	m.HandleFunc("GET /info", func(w http.ResponseWriter, _ *http.Request) { reply(w, map[string]string{"version": "1.3.0"}) })
	m.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"settings": []Setting{{"inactive_producer_timeout", "5m0s", "5m0s", "default"}}})
	})
	m.HandleFunc("GET /nodes", l.nodes)
	m.HandleFunc("GET /topics", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"topics": slices.Sorted(maps.Keys(l.known()))})
	})
	m.HandleFunc("GET /channels", func(w http.ResponseWriter, r *http.Request) {
		reply(w, map[string]any{"channels": sorted(l.known()[r.URL.Query().Get("topic")])})
	})
	m.HandleFunc("GET /lookup", l.lookup)
	m.HandleFunc("POST /topic/create", func(_ http.ResponseWriter, r *http.Request) { l.Create(r.URL.Query().Get("topic")) })
	m.HandleFunc("POST /channel/create", func(_ http.ResponseWriter, r *http.Request) {
		l.Create(r.URL.Query().Get("topic"), r.URL.Query().Get("channel"))
	})
	m.HandleFunc("POST /topic/delete", func(_ http.ResponseWriter, r *http.Request) {
		l.state.Lock()
		defer l.state.Unlock()
		delete(l.created, r.URL.Query().Get("topic"))
	})
	m.HandleFunc("POST /channel/delete", func(_ http.ResponseWriter, r *http.Request) {
		l.state.Lock()
		defer l.state.Unlock()
		delete(l.created[r.URL.Query().Get("topic")], r.URL.Query().Get("channel"))
	})
	m.HandleFunc("POST /topic/tombstone", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if n := l.fleet.Node(q.Get("node")); n != nil {
			l.Tombstone(q.Get("topic"), n)
		}
	})
	m.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusNotFound, "NOT_FOUND") })
	return m
}

// known is all channels by topic: of daemons, and created ones.
func (l *Lookupd) known() map[string]map[string]bool {
	all := make(map[string]map[string]bool)
	add := func(topic string, channels []string) {
		if all[topic] == nil {
			all[topic] = make(map[string]bool)
		}
		for _, c := range channels {
			all[topic][c] = true
		}
	}
	for _, n := range l.listed() {
		n.Change(func(d *Daemon) {
			for name, t := range d.Topics {
				add(name, slices.Collect(maps.Keys(t.Channels)))
			}
		})
	}
	l.state.Lock()
	defer l.state.Unlock()
	for topic, channels := range l.created {
		add(topic, slices.Collect(maps.Keys(channels)))
	}
	return all
}

func (l *Lookupd) listed() (all []*Node) {
	for _, n := range l.fleet.Nodes {
		n.state.Lock()
		if !n.unlisted[l] {
			all = append(all, n)
		}
		n.state.Unlock()
	}
	return all
}

// producer is a daemon as lookupds show it, and its topics.
func (n *Node) producer() (p map[string]any, topics []string) {
	host, port := n.hostPort()
	n.Change(func(d *Daemon) {
		p = map[string]any{
			"remote_address": host + ":" + "40000", "hostname": d.Hostname, "broadcast_address": host,
			"tcp_port": port - 1, "http_port": port, "version": d.Version,
			"topology_zone": d.Zone, "topology_region": d.Region,
		}
		topics = sorted(d.Topics)
	})
	return p, topics
}

func (l *Lookupd) nodes(w http.ResponseWriter, r *http.Request) {
	all := []map[string]any{}
	for _, n := range l.listed() {
		p, topics := n.producer()
		if r.URL.Query().Get("topics") != "false" {
			tombstones := []bool{}
			for _, t := range topics {
				tombstones = append(tombstones, l.tombstoned(t, n))
			}
			p["topics"], p["tombstones"] = topics, tombstones
		}
		all = append(all, p)
	}
	l.state.Lock()
	all = append(all, l.extra...)
	l.state.Unlock()
	reply(w, map[string]any{"producers": all})
}

func (l *Lookupd) tombstoned(topic string, n *Node) bool {
	l.state.Lock()
	defer l.state.Unlock()
	return l.tombstones[[2]string{topic, n.Address()}]
}

func (l *Lookupd) lookup(w http.ResponseWriter, r *http.Request) {
	topic := r.URL.Query().Get("topic")
	channels, known := l.known()[topic]
	if !known {
		refuse(w, http.StatusNotFound, "TOPIC_NOT_FOUND")
		return
	}
	producers := []map[string]any{}
	for _, n := range l.listed() {
		if p, topics := n.producer(); slices.Contains(topics, topic) && !l.tombstoned(topic, n) {
			producers = append(producers, p)
		}
	}
	reply(w, map[string]any{"channels": sorted(channels), "producers": producers})
}

// sorted are the keys of a map, [] in JSON if there are none.
func sorted[V any](m map[string]V) []string {
	return append([]string{}, slices.Sorted(maps.Keys(m))...)
}
