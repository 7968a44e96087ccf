package lookupd

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/lookupd/registry"
	"github.com/millrace-mq/millrace/protocol"
)

// topics lists the names of all topics that who asks may find.
func (a *api) topics(s *httpapi.Stream, q httpapi.Arguments) error {
	p, err := pageArguments(q, namePlace)
	if err != nil {
		return err
	}
	sees := s.View(a.policy, access.Find)
	return writeNames(s, "topics", p, func(after string, limit int) (page []string) {
		for more := true; more && len(page) < limit; {
			var part []string
			a.dir.read(func(r *registry.Registry, _ time.Time) { part = r.Topics(after, limit) })
			if more = len(part) == limit; more {
				after = part[limit-1]
			}
			for _, t := range part {
				if len(page) < limit && (sees == nil || sees(t, "")) {
					page = append(page, t)
				}
			}
		}
		return page
	})
}

// channels lists a topic's channels.
func (a *api) channels(s *httpapi.Stream, q httpapi.Arguments) error {
	topic, err := q.Required("topic")
	if err != nil {
		return err
	}
	p, err := pageArguments(q, namePlace)
	if err != nil {
		return err
	}
	var all []string
	a.dir.read(func(r *registry.Registry, _ time.Time) { all = r.Channels(topic) })
	if err := s.Hold(len(all) * nameBytes); err != nil {
		return err
	}
	return writeNames(s, "channels", p, func(after string, limit int) []string {
		i, found := slices.BinarySearch(all, after)
		if found {
			i++
		}
		return all[i:min(len(all), i+min(limit, len(all)))]
	})
}

// writeNames writes the list called key. take returns up to limit names behind after;
// there are no more if they are fewer.
func writeNames(s *httpapi.Stream, key string, p page, take func(after string, limit int) []string) error {
	_, _ = s.WriteString(`{"` + key + `":[`)
	l := list{Stream: s}
	for p.left > 0 {
		limit := min(p.left, pageNames)
		part := take(p.after, limit)
		for _, n := range part {
			l.next()
			name(s, n)
		}
		if err := s.Err(); err != nil {
			return err
		}
		if len(part) < limit {
			p.after = ""
			break
		}
		p.left -= limit
		p.after = part[limit-1]
	}
	if p.after != "" && len(take(p.after, 1)) == 0 {
		p.after = ""
	}
	_ = s.WriteByte(']')
	end(s, p.after)
	return nil
}

// lookup tells who has a topic.
func (a *api) lookup(s *httpapi.Stream, q httpapi.Arguments) error {
	topic, err := q.Required("topic")
	if err != nil {
		return err
	}
	var found registry.Listing
	var known bool
	a.dir.read(func(r *registry.Registry, now time.Time) { found, known = r.Lookup(topic, now) })
	if !known {
		return &httpapi.Error{Status: http.StatusNotFound, Code: "TOPIC_NOT_FOUND"}
	}
	if err := s.Hold(sizeOf(found)); err != nil {
		return err
	}
	_, _ = s.WriteString(`{"channels":[`)
	channels, producers := list{Stream: s}, list{Stream: s}
	for _, n := range found.Channels {
		channels.next()
		name(s, n)
	}
	_, _ = s.WriteString(`],"producers":[`)
	for i := range found.Producers {
		p := &found.Producers[i]
		producers.next()
		begin(s, p.Peer, p.State)
		paused(s, p)
		_ = s.WriteByte('}')
	}
	_, _ = s.WriteString("]}")
	return nil
}

// sizeOf is how many bytes a lookup keeps until it is sent.
func sizeOf(l registry.Listing) int {
	names := len(l.Channels)
	for i := range l.Producers {
		names += len(l.Producers[i].PausedChannels)
	}
	return names*nameBytes + len(l.Producers)*int(unsafe.Sizeof(registry.Producer{}))
}

// nameBytes is what the name of a topic or channel takes beside its text, which is
// the registry's.
const nameBytes = int(unsafe.Sizeof(""))

// begin writes a daemon as all lists show it, but for the brace at its end: NSQ's
// eight fields, and its state if that says something.
func begin(s *httpapi.Stream, p *registry.Peer, state protocol.PeerState) {
	_, _ = s.WriteString(`{"remote_address":`)
	_, _ = s.WriteString(p.JSON.Remote)
	_ = s.WriteByte(',')
	_, _ = s.WriteString(p.JSON.Facts)
	if state != "" && state != protocol.PeerReady {
		_, _ = s.WriteString(`,"state":"` + string(state) + `"`)
	}
}

// paused writes what of a topic is paused on a daemon.
func paused(s *httpapi.Stream, p *registry.Producer) {
	if p.Paused {
		_, _ = s.WriteString(`,"paused":true`)
	}
	if len(p.PausedChannels) == 0 {
		return
	}
	_, _ = s.WriteString(`,"paused_channels":[`)
	l := list{Stream: s}
	for _, n := range p.PausedChannels {
		l.next()
		name(s, n)
	}
	_ = s.WriteByte(']')
}

// available lists the daemons that take publishes.
func (a *api) available(s *httpapi.Stream, q httpapi.Arguments) error {
	p, err := pageArguments(q, nodePlace)
	if err != nil {
		return err
	}
	topic, _ := q.First("topic")
	if topic != "" && !protocol.ValidName(topic) {
		return httpapi.BadRequest("INVALID_ARG_TOPIC")
	}
	region, _ := q.First("region")
	zone, _ := q.First("zone")
	var all []*registry.Peer
	a.dir.read(func(r *registry.Registry, now time.Time) { all = r.Available(topic, region, zone, now) })
	_, _ = s.WriteString(`{"producers":[`)
	l := list{Stream: s}
	first, _ := slices.BinarySearchFunc(all, p.number()+1, func(p *registry.Peer, n uint64) int { return cmp.Compare(p.Number(), n) })
	all = all[first:]
	for _, peer := range all[:min(p.left, len(all))] {
		l.next()
		begin(s, peer, "")
		_ = s.WriteByte('}')
	}
	_ = s.WriteByte(']')
	next := ""
	if p.left < len(all) {
		next = strconv.FormatUint(all[p.left-1].Number(), 10)
	}
	end(s, next)
	return nil
}
