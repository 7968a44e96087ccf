package session_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/queue"
)

// storm is many clients at once that do everything that clients do, and an
// operator among them.
type storm struct {
	*daemon
	addr string

	mu   sync.Mutex
	seen map[string]map[string]bool // bodies that came, by channel
}

// TestStorm checks that after a storm every message has come to every channel,
// and was finished there exactly once.
func TestStorm(t *testing.T) {
	const publishers, each = 4, 1500
	d, addr := loopback(t, limits())
	s := &storm{daemon: d, addr: addr, seen: map[string]map[string]bool{"one": {}, "two": {}}}
	topic, err := d.broker.Topic(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	for channel := range s.seen {
		if err := topic.CreateChannel(channel); err != nil {
			t.Fatal(err)
		}
	}

	ctx, calm := context.WithCancel(t.Context())
	defer calm()
	var senders, others sync.WaitGroup
	for i := range publishers {
		senders.Go(func() { s.publish(fmt.Sprint("p", i), each) })
	}
	for i := range 3 {
		for channel := range s.seen {
			others.Go(func() { s.consume(ctx, channel, uint64(i)) })
		}
		others.Go(func() { s.pass(ctx) })
	}
	others.Go(func() { s.operate(ctx) })
	senders.Wait()
	calm()
	others.Wait()

	// What the storm has left is taken by consumers that behave.
	for channel := range s.seen {
		others.Go(func() { s.drain(channel, publishers*each) })
	}
	others.Wait()
	topic.View(func(core *queue.Topic) {
		if n, _ := core.Published(); n != publishers*each {
			t.Errorf("%d messages were published, want %d", n, publishers*each)
		}
		for _, c := range core.Channels() {
			if n := c.Counts().Finished; s.seen[c.Name()] != nil && n != publishers*each {
				t.Errorf("channel %s finished %d messages, want %d", c.Name(), n, publishers*each)
			}
		}
	})
	for channel, seen := range s.seen {
		if len(seen) != publishers*each {
			t.Errorf("%d different messages came to channel %s, want %d", len(seen), channel, publishers*each)
		}
	}
}

// publish sends n messages in all ways, and reads an answer to each command.
func (s *storm) publish(name string, n int) {
	p := connect(s.t, s.addr)
	defer p.Close()
	for sent := 0; sent < n; {
		text, commands := "", 0
		for range 1 + rand.IntN(20) {
			bodies := make([]string, min(n-sent, 1+rand.IntN(10)))
			for i := range bodies {
				bodies[i] = fmt.Sprintf("%s %d", name, sent+i)
			}
			switch {
			case len(bodies) == 0:
				continue
			case len(bodies) > 1:
				text += mpub("t", bodies...)
			case rand.IntN(2) == 0:
				text += pub("t", bodies[0])
			default:
				delay := time.Duration(rand.IntN(10)) * time.Millisecond
				text += string(protocol.AppendDPub(nil, "t", delay, []byte(bodies[0])))
			}
			sent += len(bodies)
			commands++
		}
		p.say(text)
		for range commands {
			p.wants("OK")
		}
	}
}

// consume comes and goes, and treats messages as it likes.
func (s *storm) consume(ctx context.Context, channel string, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 7))
	for ctx.Err() == nil {
		p := connect(s.t, s.addr)
		p.say(fmt.Sprintf("SUB t %s\nRDY %d\n", channel, 1+r.IntN(50)))
		for range r.IntN(500) {
			_ = p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			kind, data, err := protocol.ReadFrame(p.r, nil, 1<<20)
			if err != nil {
				break // quiet, or the end
			}
			if kind == protocol.FrameMessage {
				s.treat(r, p, channel, data)
			}
		}
		switch r.IntN(3) {
		case 0:
			_ = p.SetLinger(0)
		case 1:
			_, _ = p.Write(protocol.AppendCls(nil))
		}
		_ = p.Close()
	}
}

func (s *storm) treat(r *rand.Rand, p *peer, channel string, data []byte) {
	m, err := protocol.ParseMessage(data)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.mu.Lock()
	s.seen[channel][string(m.Body)] = true
	s.mu.Unlock()
	var answer []byte
	switch r.IntN(12) {
	case 0:
		answer = protocol.AppendReq(nil, m.ID, 0)
	case 1:
		answer = protocol.AppendReq(nil, m.ID, time.Duration(r.IntN(5))*time.Millisecond)
	case 2:
		answer = protocol.AppendFin(protocol.AppendTouch(nil, m.ID), m.ID)
	case 3: // leaves it
	case 4:
		answer = protocol.AppendFin(protocol.AppendFin(nil, m.ID), m.ID)
	case 5:
		answer = protocol.AppendFin(protocol.AppendRdy(nil, 1+r.IntN(50)), m.ID)
	default:
		answer = protocol.AppendFin(nil, m.ID)
	}
	_, _ = p.Write(answer)
}

// pass subscribes for a moment to a channel that goes with it.
func (s *storm) pass(ctx context.Context) {
	for ctx.Err() == nil {
		p := connect(s.t, s.addr)
		p.say("SUB t passing#ephemeral\nRDY 100\n")
		for range rand.IntN(20) {
			_ = p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if _, _, err := protocol.ReadFrame(p.r, nil, 1<<20); err != nil {
				break // quiet, or the operator has deleted the channel
			}
		}
		_ = p.Close()
	}
}

// operate pauses and deletes.
func (s *storm) operate(ctx context.Context) {
	topic, err := s.broker.Find("t")
	for i := 0; ctx.Err() == nil && err == nil; i++ {
		switch i % 5 {
		case 0:
			err = topic.PauseChannel("one", queue.Pause{})
		case 1:
			err = topic.UnpauseChannel("one")
		case 2:
			_ = topic.DeleteChannel("passing#ephemeral") // may not be there
		case 3:
			err = topic.Pause(queue.Pause{})
		case 4:
			err = topic.Unpause()
		}
		s.audit()
		s.server.Clients()
		time.Sleep(time.Millisecond)
	}
	if err == nil {
		err = topic.Unpause()
	}
	if err == nil {
		err = topic.UnpauseChannel("one")
	}
	if err != nil {
		s.t.Error(err)
	}
}

// drain finishes everything until the channel has finished n messages.
func (s *storm) drain(channel string, n int) {
	p := connect(s.t, s.addr)
	defer p.Close()
	p.say(fmt.Sprintf("SUB t %s\nRDY 100\n", channel))
	topic, err := s.broker.Find("t")
	if err != nil {
		s.t.Error(err)
		return
	}
	finished := func() (f int) {
		topic.View(func(core *queue.Topic) { f = int(core.Channel(channel).Counts().Finished) })
		return f
	}
	for deadline := time.Now().Add(patience); finished() < n; {
		if time.Now().After(deadline) {
			s.t.Errorf("channel %s has finished %d messages of %d, and %d are there", channel, finished(), n, s.depth("t"))
			return
		}
		_ = p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		kind, data, err := protocol.ReadFrame(p.r, nil, 1<<20)
		if err == nil && kind == protocol.FrameMessage {
			m, _ := protocol.ParseMessage(data)
			s.mu.Lock()
			s.seen[channel][string(m.Body)] = true
			s.mu.Unlock()
			_, _ = p.Write(protocol.AppendFin(nil, m.ID))
		}
	}
}
