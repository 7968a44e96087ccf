package goclient

import (
	"context"
	"errors"
	"fmt"
	"sync"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

type reader struct {
	*millrace.Reader
	name   string
	server *server
	how    string // what handlers do: finish, fail, panic, keep, or wait to be told
	style  string // handler, batch or pull

	mu       sync.Mutex // guards below
	messages map[string]*held
}

// held is a message that the user has.
type held struct {
	message *millrace.Message
	answer  chan string // to the handler that waits
	waits   bool
}

func newReader(s *server, r Request) (*reader, error) {
	mine := &reader{name: r.Client, server: s, how: "finish", style: "handler", messages: map[string]*held{}}
	var config millrace.ReaderConfig
	for key, to := range map[string]*string{"handler": &mine.how, "style": &mine.style} {
		if value, ok := r.Settings[key]; ok {
			*to = value
			delete(r.Settings, key)
		}
	}
	if r.Settings["on_give_up"] == "true" {
		config.OnGiveUp = millrace.HandlerFunc(mine.giveUp)
	}
	delete(r.Settings, "on_give_up")
	if err := set(&config, r.Settings); err != nil {
		return nil, err
	}
	switch mine.style {
	case "handler":
		config.Handler = millrace.HandlerFunc(mine.handle)
	case "batch":
		config.BatchHandler = millrace.BatchHandlerFunc(mine.handleBatch)
	}
	var err error
	if mine.Reader, err = millrace.NewReader(config); err != nil {
		return nil, err
	}
	s.wg.Go(func() {
		if mine.style == "pull" {
			mine.pull()
		} else if err := mine.Run(context.Background()); err != nil {
			s.tell(Event{Client: r.Client, Result: "error", Text: err.Error()})
		}
	})
	return mine, nil
}

func (r *reader) do(q Request) {
	tell := func(err error) { r.server.tell(result(q.ID, "ok", err)) }
	switch q.Do {
	case "pause":
		r.Pause()
		tell(nil)
	case "resume":
		r.Resume()
		tell(nil)
	case "seek":
		r.server.wg.Go(func() { tell(r.Seek(context.Background(), q.Place)) })
	case "close":
		r.server.wg.Go(func() { tell(r.Close()) })
	case "answer":
		tell(r.answer(q))
	default:
		tell(fmt.Errorf("a reader does not %s", q.Do))
	}
}

// receive tells the runner of a message, and keeps it.
func (r *reader) receive(m *millrace.Message) *held {
	h := &held{message: m, answer: make(chan string, 1), waits: r.how == "wait" && r.style != "pull"}
	r.mu.Lock()
	r.messages[m.ID.String()] = h
	r.mu.Unlock()
	r.tell(m, false)
	return h
}

func (r *reader) giveUp(_ context.Context, m *millrace.Message) error {
	r.tell(m, true)
	return nil
}

func (r *reader) tell(m *millrace.Message, givenUp bool) {
	body := Pack(m.Body)
	r.server.tell(Event{Client: r.name, Message: m.ID.String(), Body: &body, Attempts: int(m.Attempts), GivenUp: givenUp})
}

func (r *reader) handle(_ context.Context, m *millrace.Message) error { return r.end(r.receive(m)) }

// handleBatch ends as its first message is told to.
func (r *reader) handleBatch(_ context.Context, batch []*millrace.Message) error {
	var first *held
	for _, m := range batch {
		if h := r.receive(m); first == nil {
			first = h
		}
	}
	return r.end(first)
}

var errFailed = errors.New("the handler has failed, as the scenario wants it")

// end does what the handler is to do.
func (r *reader) end(h *held) error {
	how := r.how
	if how == "wait" {
		how = <-h.answer
	}
	switch how {
	case "fail":
		return errFailed
	case "panic":
		panic("the handler panics, as the scenario wants it")
	case "keep":
		return millrace.ErrAnswerLater
	}
	return nil
}

func (r *reader) pull() {
	for m, err := range r.Messages(context.Background()) {
		if err != nil {
			r.server.tell(Event{Client: r.name, Result: "error", Text: err.Error()})
			return
		}
		r.receive(m)
		switch r.how {
		case "finish":
			m.Finish()
		case "fail":
			m.Requeue(-1)
		}
	}
}

// answer has a handler end or, if it has kept the message, answers that.
func (r *reader) answer(q Request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.messages[q.Message]
	if h == nil {
		return fmt.Errorf("message %s is not held", q.Message)
	}
	if q.How == "touch" {
		h.message.Touch()
		return nil
	}
	if h.waits && q.How != "requeue" {
		h.waits = false
		h.answer <- q.How
		return nil
	}
	switch q.How {
	case "finish":
		h.message.Finish()
	case "fail":
		h.message.Requeue(-1)
	case "requeue":
		h.message.Requeue(q.delay())
	default:
		return fmt.Errorf("%s is not possible any more", q.How)
	}
	return nil
}
