package journal

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/millrace-mq/millrace/qd/disk"
)

// CheckVersion returns an error that wraps ErrVersion if a segment of the log in dir
// begins as another version would have it. It changes nothing, and leaves whatever
// else is wrong to Open: whoever opens many logs asks first, since Open may mend one
// before the next is found to be unreadable.
//
// Records farther on are not read: no version appends its records to a segment of
// an earlier one.
func CheckVersion(fs disk.FS, dir string) error {
	names, _ := fs.List(dir)
	for _, name := range names {
		if _, _, ok := parseSegmentName(name); !ok {
			continue
		}
		path := filepath.Join(dir, name)
		b, err := disk.ReadUpTo(fs, path, segmentHeaderSize+recordHeaderSize)
		if err != nil {
			continue
		}
		_, err = parseSegmentHeader(b)
		if err == nil && len(b) > segmentHeaderSize {
			_, err = parseHeader(b[segmentHeaderSize:])
		}
		if errors.Is(err, ErrVersion) {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}
