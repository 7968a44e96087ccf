package lookupd

import (
	"maps"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// debug shows all registrations by "category:key:subkey", as NSQ does. The lock is
// taken anew for each topic.
func (a *api) debug(s *httpapi.Stream, _ httpapi.Arguments) error {
	_ = s.WriteByte('{')
	d := debugList{api: a, list: list{Stream: s}}
	if err := d.clients(); err != nil {
		return err
	}
	for after, more := "", true; more; {
		var topics []string
		a.dir.read(func(r *registry.Registry, _ time.Time) { topics = r.Topics(after, pageNames) })
		for _, topic := range topics {
			if err := d.topic(topic); err != nil {
				return err
			}
			after = topic
		}
		more = len(topics) == pageNames
	}
	_ = s.WriteByte('}')
	return nil
}

// debugList writes the entries of /debug.
type debugList struct {
	*api
	list    // of keys
	entries list
}

// key begins the list of a key.
func (d *debugList) key(parts ...string) {
	d.next()
	_ = d.WriteByte('"')
	for i, p := range parts {
		if i > 0 {
			_ = d.WriteByte(':')
		}
		_, _ = d.WriteString(p)
	}
	_, _ = d.WriteString(`":[`)
	d.entries = list{Stream: d.Stream}
}

func (d *debugList) end() { _ = d.WriteByte(']') }

// clients writes all connected daemons, inactive ones too.
func (d *debugList) clients() error {
	var clients []fact
	d.dir.read(func(r *registry.Registry, _ time.Time) {
		for _, p := range r.Peers() {
			clients = append(clients, fact{registry.Record{Peer: p, LastSeen: r.LastSeen(p), Superseded: r.Superseded(p)}, r.State(p)})
		}
	})
	if len(clients) == 0 {
		return nil
	}
	if err := d.hold(clients); err != nil {
		return err
	}
	d.key("client", "", "")
	for i := range clients {
		d.entry(&clients[i])
	}
	d.end()
	return d.Err()
}

// hold accounts for entries that wait to be written.
func (d *debugList) hold(all []fact) error { return d.Hold(cap(all) * int(unsafe.Sizeof(fact{}))) }

// topic writes who has a topic, and who has each of its channels.
func (d *debugList) topic(topic string) error {
	var all []fact
	d.dir.read(func(r *registry.Registry, now time.Time) {
		for _, one := range r.Registrations(topic, now) {
			all = append(all, fact{one, r.State(one.Peer)})
		}
	})
	if len(all) == 0 {
		return nil
	}
	if err := d.hold(all); err != nil {
		return err
	}
	channels := make(map[string][]*fact) // who has them
	d.key("topic", topic, "")
	for i := range all {
		d.entry(&all[i])
		for _, c := range all[i].Channels {
			channels[c] = append(channels[c], &all[i])
		}
	}
	d.end()
	for _, c := range slices.Sorted(maps.Keys(channels)) {
		d.key("channel", topic, c)
		for _, f := range channels[c] {
			d.entry(f.of(c))
		}
		d.end()
	}
	return d.Err()
}

// fact is a registration, or a daemon alone, and the daemon's state.
type fact struct {
	registry.Record
	state protocol.PeerState
}

// of returns the registration of one of the topic's channels, which no tombstone hides.
func (f *fact) of(channel string) *fact {
	one := *f
	one.Paused = slices.Contains(f.PausedChannels, channel)
	one.Tombstoned, one.TombstonedAt = false, time.Time{}
	return &one
}

// entry writes an entry: NSQ's fields and the generation, and then only what says
// something. Times are in nanoseconds since the Unix epoch, 0 for never.
func (d *debugList) entry(f *fact) {
	d.entries.next()
	buried := int64(0)
	if !f.TombstonedAt.IsZero() {
		buried = f.TombstonedAt.UnixNano()
	}
	b := d.AvailableBuffer()
	b = append(append(b, `{"id":`...), f.Peer.JSON.Remote...)
	b = append(append(b, ','), f.Peer.JSON.Facts...)
	b = strconv.AppendInt(append(b, `,"last_update":`...), f.LastSeen.UnixNano(), 10)
	b = strconv.AppendBool(append(b, `,"tombstoned":`...), f.Tombstoned)
	b = strconv.AppendInt(append(b, `,"tombstoned_at":`...), buried, 10)
	b = strconv.AppendUint(append(b, `,"generation":`...), f.Generation, 10)
	if f.Peer.Info.Instance != "" {
		b = append(append(append(b, `,"instance":"`...), f.Peer.Info.Instance...), '"')
	}
	if f.state != "" && f.state != protocol.PeerReady {
		b = append(append(append(b, `,"state":"`...), f.state...), '"')
	}
	if f.Paused {
		b = append(b, `,"paused":true`...)
	}
	if f.Away {
		b = append(b, `,"away":true`...)
	}
	if f.Superseded {
		b = append(b, `,"superseded":true`...)
	}
	_, _ = d.Write(append(b, '}'))
}
