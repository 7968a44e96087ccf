package archive

import (
	"fmt"
	"time"
)

// rotation is when files end, besides the change of their name.
type rotation struct {
	size     int64         // bytes of lines; 0 is no limit
	interval time.Duration // since the file was opened; 0 is no limit
}

// state is what the decision to end a file depends on.
type state struct {
	name   string // revision left open
	opened time.Time
	bytes  int64 // of lines; what a continued file held before counts
}

// due says why a file must end before a line of now, which belongs into files
// called name, or returns "" if it need not.
func (r rotation) due(s state, name string, now time.Time) string {
	switch {
	case name != s.name:
		return "its name is now " + name
	case r.interval > 0 && now.Sub(s.opened) > r.interval:
		return fmt.Sprintf("it is older than %s", r.interval)
	case r.size > 0 && s.bytes > r.size:
		return fmt.Sprintf("it holds more than %d bytes", r.size)
	}
	return ""
}
