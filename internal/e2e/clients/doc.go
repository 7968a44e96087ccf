// Package clients tests both clients, Go's and Python's, against real programs:
// with daemons that are killed again and again, with all of them away, with more
// daemons than credits, and against brokers that run already.
//
// Go's client runs in the test's process, where the race detector sees it. Python's
// is a process of its own, agent.py, which does what it is told a line at a time; so
// what is tested is written once for both.
package clients
