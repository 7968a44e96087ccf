package registry

import (
	"slices"
	"time"
)

// What a daemon has can be ten thousand topics. So that a caller with a lock can
// let others in, it is taken apart in steps, in the reverse order of names; between
// them it is hidden, and the rest of the registry says nothing that is not so.

// Leave notes that the peer's connection has ended. Nothing shows it from the first
// call on. A daemon with an identity is away then; of another's registrations,
// limit at most are taken out, and the names stay. It returns how many were: fewer
// than limit means that the peer is done with.
func (r *Registry) Leave(p *Peer, now time.Time, limit int) (n int) {
	if !p.left {
		p.left, p.leftAt, p.superseded, p.resync = true, now, false, false
		if i, ok := slices.BinarySearchFunc(r.joined, p.number, byNumber); ok {
			r.joined = slices.Delete(r.joined, i, i+1)
		}
		if p.known() && p.topics.n > 0 {
			r.away = append(r.away, p)
		}
	}
	if p.known() && p.topics.n > 0 {
		return 0
	}
	if n = r.dissolve(p, limit, false); n < limit {
		r.drop(p)
	}
	return n
}

// Synced notes that the peer has named everything that it has. Of what earlier
// connections of the same daemon had, limit registrations at most are taken out;
// what the peer has not named was deleted, and is forgotten if nobody else has it.
// It returns how many were taken out: fewer than limit means that all are.
func (r *Registry) Synced(p *Peer, limit int) (n int) {
	if !p.known() {
		return 0
	}
	for _, q := range slices.Clone(r.identities[p.identity]) {
		if !p.earlier(q) {
			continue
		}
		taken := r.dissolve(q, limit-n, true)
		if taken > 0 {
			q.loses()
		}
		if n += taken; n == limit {
			break
		}
		if q.left {
			r.drop(q)
		}
	}
	return n
}

// Expire forgets what daemons had that have been away for Config.Away, limit
// registrations at most; the names stay. It returns how many were taken out: fewer
// than limit means that all are whose time is over.
func (r *Registry) Expire(now time.Time, limit int) (n int) {
	for len(r.away) > 0 && now.Sub(r.away[0].leftAt) >= r.config.Away {
		p := r.away[0]
		if n += r.dissolve(p, limit-n, false); n == limit {
			break
		}
		r.drop(p)
	}
	return n
}

// dissolve takes out limit registrations of the peer at most.
func (r *Registry) dissolve(p *Peer, limit int, deleted bool) (n int) {
	for ; n < limit && p.topics.n > 0; n++ {
		t := r.topics.at(p.topics.pop())
		i, _ := t.find(p.slot)
		r.takeOut(t, i, deleted)
		if deleted {
			r.forgetUnhad(t)
		}
	}
	return n
}
