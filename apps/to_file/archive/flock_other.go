//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package archive

import "os"

// flock is for systems without it, where only names keep processes apart.
func flock(*os.File, bool) (bool, error) { return true, nil }
