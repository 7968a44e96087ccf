// Package arch holds the architecture as a failing test: which folder may
// import which, which modules from outside may be used where, what keeps the
// queue's core pure, and that every package says once what it is.
//
// It has no code of its own. A rule is changed in rules_test.go, and the
// reason for the change belongs in docs/ARCHITECTURE.md.
package arch
