package program

import (
	"cmp"
	"runtime/debug"
)

// Version is Millrace's version, which is said here and nowhere else, and Released the
// day of it. Commit is what it was built from; empty if only the build knows.
// Builds of packages set them with -ldflags -X.
var (
	Version  = "0.1.0-dev"
	Released = "2026-11-21"
	Commit   = ""
)

// builtFrom is the commit, as short as one can look it up; empty if nobody knows it,
// as after go install of a released version, whose number says as much.
func builtFrom() string {
	info, _ := debug.ReadBuildInfo()
	revision, modified := Commit, false
	if info != nil && Commit == "" {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				revision = s.Value
			case "vcs.modified":
				modified = s.Value == "true"
			}
		}
	}
	short := revision[:min(len(revision), 12)]
	if modified {
		short = cmp.Or(short, "unknown") + " with changes"
	}
	return short
}
