package clients

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A Writer with a spool takes what is published while all daemons are away, and
// delivers it in order when they are back: by itself, or after the program has been
// closed, or killed, in between.
func TestOutage(t *testing.T) {
	t.Run("go", func(t *testing.T) { newOutage(t, goClient{}).run(nil) })
	t.Run("go, closed and opened again", func(t *testing.T) { newOutage(t, goClient{}).run((*outage).reopen) })
	for _, asyncio := range []bool{false, true} {
		a := newAgent(t, asyncio)
		t.Run(a.String(), func(t *testing.T) { newOutage(t, a).run(nil) })
		t.Run(a.String()+", closed and opened again", func(t *testing.T) { newOutage(t, a).run((*outage).reopen) })
		t.Run(a.String()+", killed", func(t *testing.T) { newOutage(t, newAgent(t, asyncio)).run((*outage).kill) })
	}
}

type outage struct {
	*testing.T
	client
	qds       []*node
	settings  writerSettings
	w         writer
	published int
}

const outageTopic = "outage"

func newOutage(t *testing.T, of client) *outage {
	o := &outage{T: t, client: of}
	for i := range 3 {
		o.qds = append(o.qds, newQD(t, fmt.Sprintf("q%d", i+1), nil))
	}
	startAll(t, o.qds...)
	for _, q := range o.qds {
		q.createTopic(t, outageTopic, "all")
	}
	tcp, _ := addresses(o.qds)
	// What is sent to a daemon that is gone, before its connection is known to have
	// broken, is uncertain, and goes to the spool like the rest only with this.
	o.settings = writerSettings{Addresses: tcp, Spool: t.TempDir(), RetryUncertain: true}
	o.w = of.writer(t, o.settings)
	return o
}

// run publishes before, during and after an outage, in the middle of which meanwhile
// happens to the Writer.
func (o *outage) run(meanwhile func(*outage)) {
	o.publish(50)
	for _, q := range o.qds {
		q.kill()
	}
	o.publish(50)
	o.publishAsync(500)
	if meanwhile != nil {
		meanwhile(o)
		o.publish(20)
	}
	startAll(o.T, o.qds...)
	o.publish(50)
	tcp, _ := addresses(o.qds)
	r := o.reader(o.T, readerSettings{Topic: outageTopic, Channel: "all", Addresses: tcp, Form: batches})
	o.judge(collect(o.T, r, o.published))
	must(o.T, o.w.close())
	must(o.T, r.close())
}

// body is different each time, and sorts as it was published.
func (o *outage) body() []byte {
	o.published++
	return fmt.Appendf(nil, "%06d", o.published-1)
}

// publish publishes one by one. While there is nobody, each is accepted when the
// spool has it.
func (o *outage) publish(n int) {
	o.Helper()
	for range n {
		must(o.T, o.w.publish(patience, outageTopic, o.body()))
	}
}

func (o *outage) publishAsync(n int) {
	o.Helper()
	var bodies [][]byte
	for range n {
		bodies = append(bodies, o.body())
	}
	outcomes := make(chan error, n)
	o.w.publishAsync(outageTopic, bodies, func(_ int, err error) { outcomes <- err })
	for range n {
		must(o.T, <-outcomes)
	}
}

func (o *outage) reopen() {
	must(o.T, o.w.close())
	o.w = o.writer(o.T, o.settings)
}

// kill kills the agent, and goes on with another one.
func (o *outage) kill() {
	must(o.T, o.client.(*agent).process.Kill())
	o.client = newAgent(o.T, o.client.(*agent).form == "asyncio")
	o.w = o.writer(o.T, o.settings)
}

// judge wants the messages in order: as each daemon has them, and as the daemons,
// which have the same clock, say that they were published.
func (o *outage) judge(came []*delivery) {
	o.Helper()
	last := map[string]string{}
	got := map[string]bool{}
	for _, d := range came {
		if string(d.Body) <= last[d.Address] {
			o.Errorf("%s came from %s after %s", d.Body, d.Address, last[d.Address])
		}
		last[d.Address] = string(d.Body)
		got[string(d.Body)] = true
	}
	if len(got) != o.published {
		o.Errorf("%d different messages came, of %d", len(got), o.published)
	}
	slices.SortStableFunc(came, func(a, b *delivery) int { return int(a.Stamp - b.Stamp) })
	for i := 1; i < len(came); i++ {
		if a, b := came[i-1], came[i]; a.Stamp < b.Stamp && string(a.Body) > string(b.Body) {
			o.Errorf("%s was stored by %s %v before %s by %s", a.Body, a.Address, time.Duration(b.Stamp-a.Stamp), b.Body, b.Address)
		}
	}
}
