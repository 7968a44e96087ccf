package queue

// lease is the hold of a consumer on the messages of one run, or on one
// message: until its deadline they are nobody else's.
type lease struct {
	slot      uint32 // its place in the list of leases, never 0
	number    uint64 // rises with each lease granted
	consumer  *Consumer
	delivered int64
	deadline  int64
	open      int // messages under it that are not yet answered

	// Where they are: entries from up to to of a chunk, or one parked message.
	chunk    *chunk
	from, to int
	parked   *parked

	heapAt int
	held   node[lease] // on the consumer's list
}

// before orders leases by deadline, and those that end together as they were
// granted: so their messages come back in the order in which they went out.
func (l *lease) before(o *lease) bool {
	return l.deadline < o.deadline || l.deadline == o.deadline && l.number < o.number
}

func (l *lease) place() *int { return &l.heapAt }

// leases are the leases of a channel: by number, so that a window entry is
// four bytes, and by deadline.
type leases struct {
	bySlot  []*lease // index 0 is never used
	free    []uint32
	granted uint64
	heap    heap[lease, *lease]
}

func (s *leases) grant(k *Consumer, now, deadline int64, n int) *lease {
	if len(s.free) == 0 {
		if len(s.bySlot) == 0 {
			s.bySlot = append(s.bySlot, nil)
		}
		// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
		s.free = append(s.free, uint32(len(s.bySlot)))
		// #nosec G115 -- positions are 64 bits and count messages that there are, far fewer than 2^63; counts are never negative
		s.bySlot = append(s.bySlot, &lease{slot: uint32(len(s.bySlot))})
	}
	l := s.bySlot[s.free[len(s.free)-1]]
	s.free = s.free[:len(s.free)-1]
	s.granted++
	l.number = s.granted
	l.consumer, l.delivered, l.deadline, l.open = k, now, deadline, n
	k.leases.push(&l.held, l)
	s.heap.push(l)
	return l
}

// give back one message of l; the last one ends it.
func (s *leases) settle(l *lease) {
	l.consumer.inFlight--
	l.open--
	if l.open > 0 {
		return
	}
	l.consumer.leases.remove(&l.held)
	s.heap.remove(l)
	*l = lease{slot: l.slot}
	s.free = append(s.free, l.slot)
}

// at returns the lease with the number, or nil for 0, which no lease has.
func (s *leases) at(slot uint32) *lease {
	if slot == 0 {
		return nil
	}
	return s.bySlot[slot]
}
