package program

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// CheckDirectory says what is wrong with the directory that the flag names. Nothing is, if
// none is named.
func CheckDirectory(flag, path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s %s: there is no such directory: make it", flag, path)
	case err != nil:
		return fmt.Errorf("%s %s: cannot be looked at: %w", flag, path, err)
	case !info.IsDir():
		return fmt.Errorf("%s %s: is no directory", flag, path)
	}
	return nil
}

// CheckWritten says what is wrong with the file that the flag names, which the daemon
// writes, and makes if it is missing.
func CheckWritten(flag, path string) error {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return CheckDirectory(flag, filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("%s %s: cannot be looked at: %w", flag, path, err)
	}
	if info.IsDir() {
		return fmt.Errorf("%s %s: is a directory: name a file", flag, path)
	}
	// A pipe without a reader must not hold it up.
	// #nosec G304 -- the operator's file
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("%s %s: cannot be written: %w", flag, path, err)
	}
	return f.Close()
}
