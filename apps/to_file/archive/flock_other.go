//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package archive

import "os"

// removed is for systems where a file that is open cannot be, or does not tell.
func removed(os.FileInfo) bool { return false }

// flock is for systems without it, where only names keep processes apart.
func flock(*os.File, bool) (bool, error) { return true, nil }
