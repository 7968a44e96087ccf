package registry

import (
	"slices"
	"time"
)

// What a daemon has can be ten thousand topics. So that a caller with a lock can
// let others in, it is taken apart in steps, in the reverse order of names; between
// them it is hidden, and the rest of the registry says nothing that is not so.

// Leave notes that the peer's connection has ended. Nothing shows it from the first
// call on. What it had is remembered if it has an identity; otherwise, limit
// registrations at most are taken out. It returns how many were: fewer than limit
// means that the peer is done with.
func (r *Registry) Leave(p *Peer, now time.Time, limit int) (n int) {
	if r.slots[p.slot] != p {
		return 0 // there was nothing, or it has been taken out meanwhile
	}
	if !p.left {
		p.left, p.leftAt, p.superseded, p.resync = true, now, false, false
		if i, ok := slices.BinarySearchFunc(r.joined, p.number, byNumber); ok {
			r.joined = slices.Delete(r.joined, i, i+1)
		}
		if p.known() {
			r.away = append(r.away, p)
		}
		p.fate = r.fateOf(p)
		r.uncover(p)
	}
	if p.fate == remembered && p.topics.n > 0 {
		return 0
	}
	return r.dissolve(p, limit, p.fate == replaced)
}

// uncover shows the latest of the daemon's connections that are left, unless p, which
// is not, has said all: connections that die while we are held up are not read in the
// order in which they came, so p may be older than what it hid.
func (r *Registry) uncover(p *Peer) {
	if !p.known() || p.synced {
		return
	}
	for _, q := range slices.Backward(r.identities[p.identity]) {
		if !q.left {
			q.superseded = false
			return
		}
	}
}

// fate is what becomes of what a peer had when it leaves.
type fate uint8

const (
	forgotten  fate = iota // the names stay
	replaced               // a later peer of the daemon has named everything: the rest was deleted
	remembered             // until Config.Away is over, or a later peer has named everything
)

func (r *Registry) fateOf(p *Peer) fate {
	if !p.known() {
		return forgotten
	}
	f := remembered
	for _, q := range r.identities[p.identity] {
		if q.number > p.number && q.synced && !q.left {
			return replaced
		}
		if p.earlier(q) && !p.synced {
			// A daemon that is cut off again and again before it has named
			// everything must not fill the memory with beginnings.
			f = forgotten
		}
	}
	return f
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
			return n
		}
	}
	p.synced = true
	return n
}

// Expire forgets what daemons had that have been away for Config.Away, limit
// registrations at most; the names stay. It returns how many were taken out: fewer
// than limit means that all are whose time is over.
func (r *Registry) Expire(now time.Time, limit int) (n int) {
	for n < limit && len(r.away) > 0 && now.Sub(r.away[0].leftAt) >= r.config.Away {
		n += r.dissolve(r.away[0], limit-n, false)
	}
	return n
}

// dissolve takes out limit registrations of the peer at most. If it has left, and
// that was all, it is dropped.
func (r *Registry) dissolve(p *Peer, limit int, deleted bool) (n int) {
	for ; n < limit && p.topics.n > 0; n++ {
		t := r.topics.at(p.topics.pop())
		i, _ := t.find(p.slot)
		r.takeOut(t, i, deleted)
		if deleted {
			r.forgetUnhad(t)
		}
	}
	if p.left && p.topics.n == 0 {
		r.drop(p)
	}
	return n
}
