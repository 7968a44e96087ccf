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
// A Reader consumes in one of three ways: it Runs a Handler, which gets messages one
// by one; or a BatchHandler, which gets many at a time and costs least; or the
// program ranges over Reader.Messages, takes them when it is ready, and answers
// them itself.
//
// Delivery is at least once: a message that is not answered within the daemon's
// message timeout, or whose connection breaks first, comes again. A handler
// answers by returning: nil finishes the message, an error requeues it. One that
// wants to answer later, when many messages have been made durable together,
// say, returns ErrAnswerLater and calls Finish or Requeue when it is ready, from
// any goroutine. For as long as a handler runs, the Reader itself asks the
// daemon for more time.
//
// The credit that MaxInFlight gives is all that a Reader holds in memory,
// however slow its handler is. Messages that wait for a handler longer than the
// daemon's message timeout are dropped unhandled, because the daemon has already
// taken them back.
//
// What a Reader does can be seen: Stats counts, OnHandled tells how long handlers
// take, and what goes wrong is logged with slog, with the topic, the channel and
// the daemon, to Connection.Log.
package millrace
