// Package otel shows how what a Writer and a Reader do becomes OpenTelemetry's
// metrics, and how a trace goes on from who publishes to who handles. It is a module
// of its own, so that the client needs nothing of OpenTelemetry's; copy it.
package otel

import (
	"context"
	"errors"
	"fmt"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
)

// system is what OpenTelemetry's conventions for messaging call the broker's kind.
var system = attribute.String("messaging.system", "millrace")

// MeasureWriter has config count what its Writer publishes, by topic and outcome,
// and how long that takes.
func MeasureWriter(meter metric.Meter, config *millrace.WriterConfig) error {
	sent, err1 := meter.Int64Counter("messaging.client.sent.messages", metric.WithDescription("Messages published, or not."))
	took, err2 := meter.Float64Histogram("messaging.client.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("From the acceptance of a batch's first message to the daemon's answer."))
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("making instruments for a writer: %w", err)
	}
	config.OnPublish = func(p millrace.Published) {
		attributes := metric.WithAttributes(system, attribute.String("messaging.destination.name", p.Topic), attribute.String("error.type", kind(p.Err)))
		sent.Add(context.Background(), int64(p.Messages), attributes)
		took.Record(context.Background(), p.Took.Seconds(), attributes)
	}
	return nil
}

// kind is the sort of a publish's error: few values, whatever the daemon says.
func kind(err error) string {
	if _, ok := errors.AsType[*millrace.RefusedError](err); ok {
		return "refused"
	}
	if _, ok := errors.AsType[*millrace.UncertainError](err); ok {
		return "uncertain"
	}
	if err != nil {
		return "unavailable"
	}
	return ""
}

// MeasureReader has config count what its Reader handles, how old it was and how
// long handling took.
func MeasureReader(meter metric.Meter, config *millrace.ReaderConfig) error {
	handled, err1 := meter.Int64Counter("messaging.client.consumed.messages", metric.WithDescription("Messages handled, or failed."))
	took, err2 := meter.Float64Histogram("messaging.process.duration", metric.WithUnit("s"), metric.WithDescription("In the handler."))
	age, err3 := meter.Float64Histogram("millrace.message.age", metric.WithUnit("s"), metric.WithDescription("From publish to handler."))
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("making instruments for a reader: %w", err)
	}
	topic, channel := attribute.String("messaging.destination.name", config.Topic), attribute.String("messaging.consumer.group.name", config.Channel)
	config.OnHandled = func(h millrace.Handled) {
		attributes := metric.WithAttributes(system, topic, channel, attribute.Bool("error", h.Err != nil))
		handled.Add(context.Background(), int64(h.Messages), attributes)
		took.Record(context.Background(), h.Took.Seconds(), attributes)
		age.Record(context.Background(), h.Age.Seconds(), attributes)
	}
	return nil
}

// ObserveWriter shows how much the Writer has in flight, until the registration is
// ended.
func ObserveWriter(meter metric.Meter, w *millrace.Writer) (metric.Registration, error) {
	inFlight, err1 := meter.Int64ObservableGauge("millrace.writer.in_flight", metric.WithDescription("Messages accepted and unanswered."))
	spooled, err2 := meter.Int64ObservableGauge("millrace.writer.spooled", metric.WithDescription("Records in the spool."))
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("making instruments for a writer: %w", err)
	}
	return meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := w.Stats()
		o.ObserveInt64(inFlight, int64(s.InFlight))
		o.ObserveInt64(spooled, int64(s.Spooled))
		return nil
	}, inFlight, spooled)
}

// w3c is the form that traces have in an envelope.
var w3c propagation.TraceContext

// Wrap puts the context's trace around a body.
func Wrap(ctx context.Context, body []byte) []byte {
	carrier := propagation.MapCarrier{}
	w3c.Inject(ctx, carrier)
	return millrace.WrapTrace(body, carrier["traceparent"], carrier["tracestate"])
}

// Unwrap returns the body that was wrapped, and a context in which its trace goes on.
func Unwrap(ctx context.Context, wrapped []byte) (context.Context, []byte) {
	body, traceparent, tracestate := millrace.UnwrapTrace(wrapped)
	return w3c.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent, "tracestate": tracestate}), body
}
