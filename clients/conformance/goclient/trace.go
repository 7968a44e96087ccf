package goclient

import millrace "github.com/millrace-mq/millrace/clients/go"

func trace(r Request) Event {
	e := Event{ID: r.ID, Result: "ok"}
	body := r.Bodies[0].Bytes()
	if r.Do == "wrap" {
		body = millrace.WrapTrace(body, r.Traceparent, r.Tracestate)
	} else {
		body, e.Traceparent, e.Tracestate = millrace.UnwrapTrace(body)
	}
	packed := Pack(body)
	e.Body = &packed
	return e
}
