package program

import (
	"os"

	"github.com/millrace-mq/millrace/internal/program/logs"
	"golang.org/x/term"
)

// IsTerminal reports whether stream, one of Stdio or a logs.Layer over one, is a terminal.
// /dev/null is none.
func IsTerminal(stream any) bool {
	for w, ok := stream.(logs.Layer); ok; w, ok = stream.(logs.Layer) {
		stream = w.Stream()
	}
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	conn, err := f.SyscallConn() // after Fd a file would have no deadlines
	if err != nil {
		return false
	}
	is := false
	return conn.Control(func(fd uintptr) { is = term.IsTerminal(int(fd)) }) == nil && is
}
