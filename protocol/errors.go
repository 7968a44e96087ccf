package protocol

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// The error codes of V1 and V2: the first word of an error frame.
const (
	EInvalid        = "E_INVALID"
	EBadProtocol    = "E_BAD_PROTOCOL"
	EBadTopic       = "E_BAD_TOPIC"
	EBadChannel     = "E_BAD_CHANNEL"
	EBadMessage     = "E_BAD_MESSAGE"
	EBadBody        = "E_BAD_BODY"
	EIdentifyFailed = "E_IDENTIFY_FAILED"
	EPubFailed      = "E_PUB_FAILED"
	EMPubFailed     = "E_MPUB_FAILED"
	EDPubFailed     = "E_DPUB_FAILED"
	ESubFailed      = "E_SUB_FAILED"
	EFinFailed      = "E_FIN_FAILED"
	EReqFailed      = "E_REQ_FAILED"
	ETouchFailed    = "E_TOUCH_FAILED"
	ESeekFailed     = "E_SEEK_FAILED" // the extension's
	EAuthFirst      = "E_AUTH_FIRST"
	EAuthFailed     = "E_AUTH_FAILED"
	EAuthDisabled   = "E_AUTH_DISABLED"
	EAuthError      = "E_AUTH_ERROR"
	EUnauthorized   = "E_UNAUTHORIZED"
	ETooMany        = "E_TOO_MANY" // V1: a lookupd takes no more registrations of a daemon, whose connection stays
)

// Error is what a peer is told when a command fails.
type Error struct {
	Code string // one of the E… constants
	Text string // may be empty
}

// Errorf returns an Error with code and a formatted text.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Error returns the error as it stands on the wire.
func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code
	}
	return e.Code + " " + e.Text
}

// Fatal reports whether the connection is closed after the error. Four are
// not: a FIN, REQ or TOUCH that came too late is an ordinary event, and a SEEK to
// a place that is not there has changed nothing.
func (e *Error) Fatal() bool {
	switch e.Code {
	case EFinFailed, EReqFailed, ETouchFailed, ESeekFailed:
		return false
	}
	return true
}

// Draining begins a daemon's reason for refusing a publish while it drains, as
// in "E_PUB_FAILED PUB failed DRAINING: …": nothing was stored, and nothing will
// be for the rest of the daemon's life.
const Draining = "DRAINING"

// Draining reports whether the daemon refuses because it drains, so that another
// one should be asked.
func (e *Error) Draining() bool {
	_, reason, failed := strings.Cut(e.Text, " failed ")
	return failed && strings.HasPrefix(reason, Draining+":")
}

// RateLimited begins a daemon's reason for refusing a publish that came too early, as in
// "E_PUB_FAILED PUB failed RATE_LIMITED: …; again in 1.5s": nothing was stored.
const RateLimited = "RATE_LIMITED"

// RetryAfter is when a daemon that refuses a publish because it came too early may take
// it: 0 if it does not say that.
func (e *Error) RetryAfter() time.Duration {
	_, reason, failed := strings.Cut(e.Text, " failed ")
	if !failed || !strings.HasPrefix(reason, RateLimited+":") {
		return 0
	}
	const before = "; again in "
	at := strings.LastIndex(reason, before) // the reason may hold names of any form
	if at < 0 {
		return 0
	}
	d, err := time.ParseDuration(reason[at+len(before):])
	if err != nil {
		return 0
	}
	return max(d, 0)
}

// ParseError reads the data of an error frame.
func ParseError(data []byte) *Error {
	code, text, _ := strings.Cut(strings.Map(printable, string(data)), " ")
	return &Error{Code: code, Text: text}
}

// printable is r, or what stands for runes that must not reach a terminal.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return unicode.ReplacementChar
}
