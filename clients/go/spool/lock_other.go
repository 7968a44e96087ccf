//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd)

package spool

import (
	"errors"
	"os"
)

// lock is for systems without flock, where spools are not to be had: two Writers
// in one directory would lose each other's messages.
func lock(string) (*os.File, error) {
	return nil, errors.New("this system has no flock, by which a spool's directory is kept to one Writer")
}
