package protocol

import "strings"

// Loggable is the error for a log: its text but for what a client has said in place of a
// command. If the client has lost count of bytes that is part of a message, or a secret.
func (e *Error) Loggable() string {
	before, name, found := strings.Cut(e.Error(), "invalid command ")
	if !found || isWord(name) {
		return e.Error()
	}
	return before + "invalid command (not shown)"
}

// isWord reports whether name looks like a command, such as one of a later version.
func isWord(name string) bool {
	return len(name) <= 12 && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
}
