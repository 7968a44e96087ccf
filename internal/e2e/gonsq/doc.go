// Package gonsq lets go-nsq, NSQ's own client, talk to Millrace: it publishes
// to qd in every way it knows, finds it through lookupd, and consumes.
//
// It is a module apart, as a user's program would be, so that go-nsq is no
// dependency of Millrace. MILLRACE_PROGRAMS names the folder with the built
// programs; without it there is nothing to talk to, and the tests are skipped,
// or failed where CI is true. go-nsq's own tests run here too, against daemons
// on the default ports.
package gonsq
