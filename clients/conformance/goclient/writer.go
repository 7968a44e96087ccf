package goclient

import (
	"fmt"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

type writer struct {
	*millrace.Writer
	server *server
	asyncs chan func() // publishes that must be accepted in their order; closed when the scenario is over

	letGo chan struct{} // closed when blocking callbacks are to return
}

func newWriter(s *server, r Request) (*writer, error) {
	var config millrace.WriterConfig
	if err := set(&config, r.Settings); err != nil {
		return nil, err
	}
	w, err := millrace.NewWriter(config)
	if err != nil {
		return nil, err
	}
	mine := &writer{Writer: w, server: s, asyncs: make(chan func(), 100), letGo: make(chan struct{})}
	s.wg.Go(func() {
		for f := range mine.asyncs {
			f()
		}
	})
	return mine, nil
}

func (w *writer) do(r Request) {
	switch r.Do {
	case "publish":
		if r.Async {
			w.asyncs <- func() { w.publishAsync(r) }
			return
		}
		w.server.wg.Go(func() { w.publish(r) })
	case "flush":
		w.server.wg.Go(func() {
			ctx, cancel := r.limited()
			defer cancel()
			w.server.tell(result(r.ID, "ok", w.Flush(ctx)))
		})
	case "close":
		w.server.wg.Go(func() { w.server.tell(result(r.ID, "ok", w.Close())) })
	case "letgo":
		close(w.letGo)
		w.server.tell(result(r.ID, "ok", nil))
	default:
		w.server.tell(result(r.ID, "ok", fmt.Errorf("a writer does not %s", r.Do)))
	}
}

func (r *Request) bodies() (list [][]byte) {
	for _, b := range r.Bodies {
		list = append(list, b.Bytes())
	}
	return list
}

func (w *writer) publish(r Request) {
	ctx, cancel := r.limited()
	defer cancel()
	bodies := r.bodies()
	switch r.Form {
	case "many":
		w.server.tell(result(r.ID, "stored", w.PublishMany(ctx, r.Topic, bodies)))
	case "deferred":
		w.server.tell(result(r.ID, "stored", w.PublishDeferred(ctx, r.Topic, r.delay(), bodies[0])))
	default:
		for i, b := range bodies {
			w.server.tell(result(r.ID+i, "stored", w.Publish(ctx, r.Topic, b)))
		}
	}
}

// accepted is what an asynchronous publish is before it has ended.
const accepted = "accepted"

// publishAsync ends when everything was accepted. What bounds it is called off
// when it was answered, since the context bounds the trying, too.
func (w *writer) publishAsync(r Request) {
	bodies := r.bodies()
	for i := range max(1, len(bodies)) {
		if i > 0 && r.Form != "each" {
			return
		}
		ctx, cancel := r.limited()
		done := func(err error) {
			cancel()
			w.server.tell(result(r.ID+i, "stored", err))
			if r.Blocking {
				<-w.letGo
			}
		}
		var err error
		switch r.Form {
		case "many":
			err = w.PublishManyAsync(ctx, r.Topic, bodies, done)
		case "deferred":
			err = w.PublishDeferredAsync(ctx, r.Topic, r.delay(), bodies[0], done)
		default:
			err = w.PublishAsync(ctx, r.Topic, bodies[i], done)
		}
		if err != nil {
			cancel()
		}
		w.server.tell(result(r.ID+i, accepted, err))
	}
}
