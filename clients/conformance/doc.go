// Package conformance plays the same conversations with each of Millrace's
// clients. A scenario is text: what a client's user does and gets, and what
// queue daemons and lookup daemons, which are fakes, see and say. README.md shows
// the language.
//
// The runner speaks to a client through an adapter, a process that does with it
// what each line says. What a client has started must have ended after each
// scenario, and everything that it has said must have been expected.
package conformance
