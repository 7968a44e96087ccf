package program

import (
	"github.com/millrace-mq/millrace/internal/program/logs"
)

// patient is std with a standard error that nobody waits for longer than is good for who
// writes to it, and what is to be called at the end.
func (std Stdio) patient() (Stdio, func()) {
	if _, is := std.Err.(*logs.Outlet); is || std.Err == nil {
		return std, func() {}
	}
	o := logs.NewOutlet(std.Err)
	std.Err = o
	return std, o.Close
}
