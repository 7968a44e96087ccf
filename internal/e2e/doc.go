// Package e2e drives the real programs, as processes, the way a user would:
// it builds them once, starts them on ports that are free, and looks only at
// what a user can see: files, exit statuses, what they print, and HTTP.
//
// It has no code of its own. The books of the tests that kill qd are kept by
// package ledger. What go-nsq has to say lies in gonsq, a module apart so that
// the main one does not depend on it; what nsqjs has to say, in nsqjs, which are
// Node.js programs that TestNsqjs runs. Several daemons, and the network between
// them, are in cluster; both of our own clients against daemons that are killed, away
// or many, in clients.
package e2e
