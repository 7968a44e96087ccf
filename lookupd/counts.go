package lookupd

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/millrace-mq/millrace/lookupd/metrics"
	"github.com/millrace-mq/millrace/protocol"
)

// The causes for which we end connections, beside the words of errors.
const (
	causeCrowded = "crowded"      // it was the oldest of too many strangers
	causeSlow    = "slow"         // it did not identify itself in time
	causeLine    = "long_line"    // a command without end
	causeTLS     = "tls"          // a handshake failed
	causePlain   = "tls_required" // it spoke without TLS
	causeFull    = "full"         // there were too many connections
	causeAddress = "address"      // there were too many from its address
	causeSilent  = "silent"       // a daemon was silent for the peer timeout, or did not take its replies
)

// causeOf is the cause of a connection's end with an error: the error's word,
// without its prefix and in lower case.
func causeOf(e *protocol.Error) string {
	if e == errPlain {
		return causePlain
	}
	return strings.ToLower(strings.TrimPrefix(e.Code, "E_"))
}

// refusals are the errors that a peer can be told.
var refusals = []string{
	protocol.EInvalid, protocol.EBadProtocol, protocol.EBadTopic, protocol.EBadChannel, protocol.EBadBody, protocol.EUnauthorized,
}

const otherCommand = "other"

// counts are the counters of metrics.TCP, for any number of goroutines. Each name
// that a tally can have is there from the start, so that a rate is right from the first.
type counts struct {
	accepted, resyncs    atomic.Uint64
	refusedRegistrations atomic.Uint64
	plain, extended, tls atomic.Int64
	refused, commands    tally
}

func newCounts() *counts {
	causes := []string{causeCrowded, causeSlow, causeLine, causeTLS, causePlain, causeSilent, causeFull, causeAddress}
	for _, code := range refusals {
		causes = append(causes, causeOf(&protocol.Error{Code: code}))
	}
	return &counts{refused: newTally(causes), commands: newTally(slices.AppendSeq([]string{otherCommand}, maps.Keys(commands)))}
}

// Counts returns what the TCP face knows of itself. Among the strangers are those
// that were refused and are about to be closed.
func (p *peerServer) Counts() metrics.TCP {
	c := p.counts
	return metrics.TCP{
		Strangers: p.lobby.len(),
		Plain:     int(c.plain.Load()),
		Extended:  int(c.extended.Load()),
		TLS:       int(c.tls.Load()),
		Accepted:  c.accepted.Load(),
		Refused:   c.refused.values(),
		Commands:  c.commands.values(),
		Resyncs:   c.resyncs.Load(),

		RefusedRegistrations: c.refusedRegistrations.Load(),
	}
}

// tally is counters by name. Which names there are does not change.
type tally map[string]*atomic.Uint64

func newTally(names []string) tally {
	t := make(tally, len(names))
	for _, name := range names {
		t[name] = new(atomic.Uint64)
	}
	return t
}

func (t tally) add(name string) { t[name].Add(1) }

func (t tally) values() map[string]uint64 {
	values := make(map[string]uint64, len(t))
	for name, n := range t {
		values[name] = n.Load()
	}
	return values
}
