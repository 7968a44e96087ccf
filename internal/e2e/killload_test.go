package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/ledger"
	"github.com/millrace-mq/millrace/protocol"
)

const (
	// beat is how often a producer publishes: a batch each time, so that the load
	// is steady and what consumers cannot keep up with is bounded.
	beat = 2 * time.Millisecond
	// unanswered is how many commands of a connection may wait for their OK.
	unanswered = 512
)

// producer publishes to one topic over one connection, which it renews when the
// daemon was killed.
type producer struct {
	daemon daemon
	topic  string
	lane   *ledger.Lane
	batch  int // messages each beat
	buf    []byte
}

// span is messages that one OK acknowledges.
type span struct {
	first    ledger.Key
	messages int
}

// body is a new body for each message.
func body(k ledger.Key, due time.Time) []byte { return ledger.AppendBody(nil, k, due) }

// bodies are those of so many messages from first on.
func bodies(first ledger.Key, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = body(ledger.Key{Lane: first.Lane, Seq: first.Seq + i}, time.Time{})
	}
	return list
}

// singles appends a beat of PUBs, one OK each.
func (p *producer) singles() (spans []span) {
	for range p.batch {
		k := p.lane.Attempt(1)
		p.buf = protocol.AppendPub(p.buf, p.topic, body(k, time.Time{}))
		spans = append(spans, span{k, 1})
	}
	return spans
}

// batches appends an MPUB.
func (p *producer) batches() []span {
	k := p.lane.Attempt(p.batch)
	p.buf = protocol.AppendMPub(p.buf, p.topic, bodies(k, p.batch))
	return []span{{k, p.batch}}
}

// later appends a beat of DPUBs, due in 5 to 600 ms.
func (p *producer) later() (spans []span) {
	for range p.batch {
		k := p.lane.Attempt(1)
		delay := time.Duration(5+k.Seq*37%596) * time.Millisecond
		p.buf = protocol.AppendDPub(p.buf, p.topic, delay, body(k, time.Now().Add(delay)))
		spans = append(spans, span{k, 1})
	}
	return spans
}

// pipeline publishes what compose appends, a beat at a time, and reads the OKs
// beside that. It returns when the connection fails or ctx ends.
func (p *producer) pipeline(ctx context.Context, compose func() []span) error {
	w, err := dial(p.daemon.tcp, 0)
	if err != nil {
		return err
	}
	defer w.Close()
	spans := make(chan span, unanswered)
	dead, die := context.WithCancel(ctx)
	defer context.AfterFunc(dead, func() { _ = w.Close() })()
	var reader sync.WaitGroup
	reader.Go(func() {
		defer die()
		p.acknowledge(w, spans)
	})
	defer reader.Wait()
	defer die()
	for pause(dead, beat) {
		p.buf = p.buf[:0]
		for _, s := range compose() {
			select {
			case spans <- s:
			case <-dead.Done():
				return dead.Err()
			}
		}
		if _, err := w.Write(p.buf); err != nil {
			return err
		}
	}
	return dead.Err()
}

// acknowledge takes the OKs down until the connection ends.
func (p *producer) acknowledge(w *wire, spans <-chan span) {
	for {
		t, data, err := w.frame()
		if err != nil || t != protocol.FrameResponse || string(data) != protocol.OK {
			return
		}
		s := <-spans
		p.lane.Acknowledge(s.first, s.messages)
	}
}

// overHTTP publishes by HTTP, by /pub and both kinds of /mpub in turn.
func (p *producer) overHTTP(ctx context.Context) error {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	web := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	for n := 0; pause(ctx, beat); n++ {
		path, messages, content := "/pub", 1, []byte(nil)
		if n%3 > 0 {
			path, messages = "/mpub", p.batch
		}
		first := p.lane.Attempt(messages)
		switch list := bodies(first, messages); n % 3 {
		case 0, 1:
			content = bytes.Join(list, []byte("\n"))
		case 2:
			path += "?binary=true"
			content = protocol.AppendBatch(nil, list)
		}
		if err := p.post(ctx, web, path, content); err != nil {
			return err
		}
		p.lane.Acknowledge(first, messages)
	}
	return ctx.Err()
}

func (p *producer) post(ctx context.Context, web *http.Client, path string, content []byte) error {
	and := "?"
	if bytes.ContainsRune([]byte(path), '?') {
		and = "&"
	}
	r, err := http.NewRequestWithContext(ctx, "POST", "http://"+p.daemon.http+path+and+"topic="+p.topic, bytes.NewReader(content))
	if err != nil {
		return err
	}
	answer, err := web.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || string(text) != protocol.OK) {
		err = fmt.Errorf("%s: %s %s", path, answer.Status, text)
	}
	return err
}

// manner is how a consumer behaves.
type manner struct {
	ready    int
	timeout  time.Duration // of messages; 0 is the daemon's default
	slow     time.Duration // it rests after each batch of answers
	requeue  int           // one message in so many is requeued, for up to 50 ms; 0 is none
	withhold int           // one in so many is not answered until it times out; 0 is none
	leave    int           // after so many messages it disconnects with some unanswered; 0 is never
}

// consumer reads a channel, one connection after the other.
type consumer struct {
	daemon  daemon
	topic   string
	channel string
	manner  manner
	reader  *ledger.Reader
	kind    func() bool // it behaves: all that comes is finished at once
	taken   int
}

var errLeft = errors.New("the consumer has left")

// consume is one connection.
func (c *consumer) consume(ctx context.Context) error {
	w, err := dial(c.daemon.tcp, c.manner.timeout)
	if err != nil {
		return err
	}
	defer w.Close()
	defer context.AfterFunc(ctx, func() { _ = w.Close() })()
	c.reader.Connected()
	if err := w.subscribe(c.topic, c.channel, c.manner.ready); err != nil {
		return err
	}
	var answers []byte
	for n := 1; ; n++ {
		t, data, err := w.frame()
		if err != nil {
			return err
		}
		if answers, err = c.answer(answers, t, data); err != nil {
			return err
		}
		if w.r.Buffered() > 0 && len(answers) < 4<<10 {
			continue
		}
		if _, err := w.Write(answers); err != nil {
			return err
		}
		answers = answers[:0]
		if c.manner.leave > 0 && n >= c.manner.leave && !c.kind() {
			return c.goAway(w)
		}
		if c.manner.slow > 0 && !c.kind() {
			pause(ctx, c.manner.slow)
		}
	}
}

// goAway disconnects. The end of the stream lies behind all FINs, so the daemon
// reads those first, which it would not if the connection were simply closed
// with deliveries in it that nobody has read.
func (c *consumer) goAway(w *wire) error {
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, w.r); err != nil {
		return err
	}
	return errLeft
}

// answer appends the answer to a frame.
func (c *consumer) answer(answers []byte, t protocol.FrameType, data []byte) ([]byte, error) {
	if t == protocol.FrameError {
		return answers, c.refused(data)
	}
	m, err := protocol.ParseMessage(data)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	k, ok := c.reader.Receive(m, now)
	if !ok {
		return protocol.AppendFin(answers, m.ID), nil
	}
	c.taken++
	switch {
	case c.kind():
	case every(c.taken, c.manner.requeue):
		return protocol.AppendReq(answers, m.ID, time.Duration(c.taken*7%50)*time.Millisecond), nil
	case every(c.taken, c.manner.withhold):
		return answers, nil
	}
	c.reader.Finish(k, now)
	return protocol.AppendFin(answers, m.ID), nil
}

func every(n, each int) bool { return each > 0 && n%each == 0 }

// refused takes down a FIN that came too late. A REQ may do so as well.
func (c *consumer) refused(data []byte) error {
	e := protocol.ParseError(data)
	if e.Fatal() {
		return e
	}
	const before = len("FIN ")
	if e.Code == protocol.EFinFailed && len(e.Text) >= before+protocol.IDLength {
		if id, ok := protocol.ParseID([]byte(e.Text[before : before+protocol.IDLength])); ok {
			c.reader.Refused(id)
		}
	}
	return nil
}
