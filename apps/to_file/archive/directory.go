package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Prepare creates the directories, tries in them what later has to work, so
// that a wrong setting is known before the first message is taken, and makes
// whole what earlier runs have left (Recover). After ErrNoSpace it may be
// called again.
func (a *Archive) Prepare() error {
	if a.err != nil {
		return a.err
	}
	if err := a.try(); err != nil {
		return a.failed(err)
	}
	return a.Recover()
}

func (a *Archive) try() error {
	dirs := []string{a.output}
	if a.moves() {
		dirs = append(dirs, a.work)
	}
	for _, dir := range dirs {
		if err := a.makeDirs(dir); err != nil {
			return err
		}
	}
	// Two paths may lead to one directory. Finished files are in it then, too, and must not
	// be taken for unfinished ones.
	if same, err := a.fs.Same(a.output, a.work); err != nil {
		return fmt.Errorf("compare output-dir and work-dir: %w", err)
	} else if same {
		a.work = a.output
	}
	for _, dir := range dirs {
		probe := filepath.Join(dir, fmt.Sprintf(".to_file-probe-%s-%d", a.name.topic, a.name.pid))
		f, err := a.fs.Open(probe, Continue)
		if err != nil {
			return fmt.Errorf("create a file in %s: %w", dir, err)
		}
		if err := errors.Join(f.Close(), a.fs.Remove(probe)); err != nil {
			return fmt.Errorf("try %s: %w", probe, err)
		}
	}
	return nil
}

// makeDirs creates dir and what is missing above it.
func (a *Archive) makeDirs(dir string) error {
	if err := a.mkdirAll(dir); err != nil {
		return fmt.Errorf("create directory %s: %w", dir, err)
	}
	return nil
}

// mkdirAll syncs each new directory into its parent, for otherwise a power cut
// could take it away with the synced files in it. One that is there may be of a
// run that was stopped before that, so each is synced once.
func (a *Archive) mkdirAll(dir string) error {
	there, err := a.fs.Exists(dir)
	if err != nil || there && a.rooted[dir] {
		return err
	}
	parent := filepath.Dir(dir)
	if !there {
		if err := a.mkdirAll(parent); err != nil {
			return err
		}
		// Another archive may have been faster.
		if err := a.fs.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	err = a.fs.SyncDir(parent)
	if there && errors.Is(err, fs.ErrPermission) {
		err = nil // then it was not this program that made it
	}
	if err != nil {
		return err
	}
	if a.rooted == nil || len(a.rooted) >= mostRooted {
		a.rooted = make(map[string]bool)
	}
	a.rooted[dir] = true
	return nil
}

// mostRooted bounds what is remembered: with dates in their names, directories never end.
const mostRooted = 64
