package queue

// This file is how long consumers hold messages.

// holding is how long the last answers of a consumer took. Half of them are
// forgotten when they get many, so that the mean tells of now and not of last week.
type holding struct {
	answers int64
	ns      int64 // of all of them together
}

// lastAnswers is how many answers count at most, unless one batch has more.
const lastAnswers = 128

// add counts so many answers, which took ns in all.
func (h *holding) add(answers, ns int64) {
	h.answers += answers
	h.ns += ns
	if h.answers > lastAnswers {
		*h = holding{lastAnswers / 2, h.ns / h.answers * (lastAnswers / 2)}
	}
}

// Held is the mean time from the delivery of a message to its answer, FIN or REQ,
// over the consumer's last answers, in nanoseconds. ok is false while there is
// none.
func (k *Consumer) Held() (ns int64, ok bool) {
	if k.holding.answers == 0 {
		return 0, false
	}
	return k.holding.ns / k.holding.answers, true
}

// NextTimeout is when the first of the messages that the consumer holds will be
// taken from it; ok is false while it holds none. It looks at all of its runs.
func (k *Consumer) NextTimeout() (when int64, ok bool) {
	for l := range k.leases.all {
		if !ok || l.deadline < when {
			when, ok = l.deadline, true
		}
	}
	return when, ok
}

// TimedOut is how many messages were taken from the consumer because it did not
// answer in time.
func (k *Consumer) TimedOut() uint64 { return k.timedOut }
