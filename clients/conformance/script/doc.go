// Package script is the language of the conformance scenarios: what a client's
// user does and gets, and what daemons and lookupds see and say, a step a line.
// It turns text into steps and does nothing else. The README one folder up shows
// the language; Parse says of each line that it does not understand what is wrong.
package script
