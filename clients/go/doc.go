// Package millrace publishes to and consumes from Millrace's queue daemons, and
// from NSQ's: a Writer sends messages to topics, a Reader receives those of one
// channel and hands them to a Handler.
//
// # Publishing
//
// A Writer is connected to several queue daemons, which it is given or finds
// through lookup daemons, and is meant to be shared: messages that are published
// singly at the same time travel together. A publish is tried until it is stored,
// refused, or its context ends, so it should have a context that ends.
//
// What a Writer reports is exact. Nil means that a daemon has the messages. Otherwise the
// error is of one of three types, which errors.As finds:
//
//   - *RefusedError: certainly not stored, and would be refused again;
//   - *UnavailableError: certainly not stored, because nobody took it for as long
//     as it was tried: it may be published again;
//   - *UncertainError: the connection broke, or the context ended, between the
//     sending and the answer, so that a daemon may have it: published again it may
//     be there twice.
//
// ErrClosed says that nothing was stored because the Writer was closed before. If the
// context ended the trying, errors.Is finds its error.
//
// With a Spool, package spool's for instance, what no daemon takes is kept on disk
// and delivered later, and counts as stored.
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
