package audit

import (
	"context"

	"github.com/millrace-mq/millrace/internal/httpapi"
)

// Actor is who does something, as far as is known. Its fields are Entry's.
type Actor struct {
	Who, How, Through, From, UserAgent, Via string
}

// Acts is somebody who does something for an Actor: a connection, for one. Who it is
// for may change, as by AUTH.
type Acts interface {
	Actor() Actor
}

type actsKey struct{}

// NewContext returns a context of what is done for whom a acts for.
func NewContext(ctx context.Context, a Acts) context.Context {
	return context.WithValue(ctx, actsKey{}, a)
}

// ActorOf returns for whom something is done with ctx: whom With names, or who has sent
// the request that is to change something, or the daemon itself.
func ActorOf(ctx context.Context) Actor {
	if a, ok := ctx.Value(actsKey{}).(Acts); ok {
		return a.Actor()
	}
	if d := httpapi.DeedOf(ctx); d != nil {
		return sender(d).Actor()
	}
	return Actor{Via: Itself}
}

// By fills in who has done what e says.
func (e Entry) By(a Actor) Entry {
	e.Who, e.How, e.Through, e.From, e.UserAgent, e.Via = a.Who, a.How, a.Through, a.From, a.UserAgent, a.Via
	return e
}

// Did is an entry about something that is over: done, or failed with err.
func Did(action, topic, channel, detail string, err error) Entry {
	r := Result{OK: err == nil}
	if err != nil {
		r.Error = err.Error()
	}
	return Entry{Action: action, Topic: topic, Channel: channel, Detail: detail, Results: []Result{r}, Done: true}
}
