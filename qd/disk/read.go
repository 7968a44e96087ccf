package disk

import (
	"errors"
	"fmt"
	"io"
)

// ReadUpTo returns the first n bytes of a file, or all of it if there are fewer.
func ReadUpTo(fsys FS, path string, n int) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	got, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return b[:got], nil
}
