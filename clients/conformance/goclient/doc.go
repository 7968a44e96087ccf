// Package goclient does with Go's client what the conformance scenarios say: it
// reads requests, a line of JSON each, and answers likewise. What is asked and
// answered stands in Request and Event; the adapters for other languages say the same.
package goclient
