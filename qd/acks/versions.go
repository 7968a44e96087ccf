package acks

import (
	"errors"
	"fmt"

	"github.com/millrace-mq/millrace/qd/disk"
)

// CheckVersion returns an error that wraps ErrVersion if the file at path begins as
// another version would have it. It changes nothing, and leaves whatever else is
// wrong to Open. Every version replaces a file of an earlier one before it appends
// to it, so the first record is enough.
func CheckVersion(fsys disk.FS, path string) error {
	b, err := disk.ReadUpTo(fsys, path, headerSize)
	if err != nil {
		return nil
	}
	size, err := recordSize(b)
	if err == nil && b[4] != version {
		// Only with the body can it be told from damage.
		if b, err = disk.ReadUpTo(fsys, path, size); err != nil {
			return nil
		}
		err = otherVersion(b, len(b) == size)
	}
	if errors.Is(err, ErrVersion) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
