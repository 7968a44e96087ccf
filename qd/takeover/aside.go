package takeover

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Folder is where SetAside puts nsqd's files, inside the data directory.
const Folder = "nsqd-taken-over"

// SetAside moves nsqd's files, untouched, to the folder Folder of the data
// directory, where an operator finds them and Find does not. A name that the
// folder has already gets a number behind it. It may be called again after a
// failure or a crash, and goes on where the last call ended.
func (s *Source) SetAside() error { return Complete(s.dir) }

// Complete is SetAside for a takeover that was committed by an earlier
// process: it reads nothing. Where all is set aside it does nothing.
//
// nsqd.dat goes first, and durably, before any queue. So nobody ever sees it
// beside a part of its queues: either it is there with all of them, as before
// the commit, or it is gone and Find has nothing to return. The other way
// round, a crash between two queues would leave an nsqd.dat with which the
// rest could be taken over a second time. The older nsqd.<worker-id>.dat go
// before it, since one alone would take its place.
func Complete(dir string) error {
	left, err := list(dir)
	if err != nil || len(left.metadata)+len(left.rest) == 0 {
		return err
	}
	folder := filepath.Join(dir, Folder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("setting nsqd's files aside: %w", err)
	}
	first := left.metadata
	if len(first) > 0 && first[0] == metadataFile {
		first = append(first[1:len(first):len(first)], metadataFile)
	}
	for _, names := range [][]string{first, left.rest} {
		if err := move(dir, folder, names); err != nil {
			return fmt.Errorf("setting nsqd's files aside: %w", err)
		}
	}
	return nil
}

// move moves files and returns when that survives a power cut.
func move(dir, folder string, names []string) error {
	for _, name := range names {
		to, err := freeName(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, name), to); err != nil {
			return err
		}
	}
	// The new names first: of a file that is moved, one name at least must last.
	return errors.Join(syncDir(folder), syncDir(dir))
}

// freeName returns path, with a number if something is called so. The lock on
// the data directory keeps others from taking the name before it is used.
func freeName(path string) (string, error) {
	name := path
	for n := 1; ; n++ {
		taken, err := exists(name)
		if err != nil || !taken {
			return name, err
		}
		name = fmt.Sprintf("%s.%d", path, n)
	}
}

func syncDir(dir string) error {
	// #nosec G304 -- on the data path; names of topics and channels have no slash
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
