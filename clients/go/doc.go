// Package millrace publishes to and consumes from Millrace's queue daemons, and
// from NSQ's: a Writer sends messages to topics, a Reader receives those of one
// channel and hands them to a Handler.
//
// # Publishing
//
// A Writer keeps one connection, to the first of its addresses that answers,
// and has any number of publishes on their way on it. What it reports about a
// publish is exact: nil means that the daemon has the messages; an
// *UncertainError, that the connection broke between the sending and the answer,
// so that the daemon may have them; any other error, that it has not. (One
// exception is NSQ's: an nsqd that answers an MPUB with E_MPUB_FAILED may have
// queued some of it. Millrace's qd stores a batch whole or not at all.)
//
// # Consuming
//
// Delivery is at least once: a message that is not answered within the daemon's
// message timeout, or whose connection breaks first, comes again. A handler
// answers by returning: nil finishes the message, an error requeues it. One that
// wants to answer later, when many messages have been made durable together,
// say, returns ErrAnswerLater and calls Finish or Requeue when it is ready, from
// any goroutine.
//
// The credit that MaxInFlight gives is all that a Reader holds in memory,
// however slow its handler is. Messages that wait for a handler longer than the
// daemon's message timeout are dropped unhandled, because the daemon has already
// taken them back.
package millrace
