package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Prepare creates the directories and tries in them what later has to work, so
// that a wrong setting is known before the first message is taken.
func (a *Archive) Prepare() error {
	if err := a.try(); err != nil {
		a.err = err
	}
	return a.err
}

func (a *Archive) try() error {
	for _, dir := range []string{a.output, a.work} {
		if err := a.makeDirs(dir); err != nil {
			return err
		}
	}
	probe := fmt.Sprintf(".to_file-probe-%d", a.name.pid)
	src, dst := filepath.Join(a.work, probe), filepath.Join(a.output, probe)
	f, err := a.fs.Open(src, false)
	if err != nil {
		return fmt.Errorf("create a file in %s: %w", a.work, err)
	}
	if err := errors.Join(f.Close(), a.linkProbe(src, dst), a.fs.Remove(src)); err != nil {
		return fmt.Errorf("try %s: %w", src, err)
	}
	return nil
}

func (a *Archive) linkProbe(src, dst string) error {
	if !a.moves() {
		return nil
	}
	if err := a.fs.Link(src, dst); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("work-dir and output-dir must be on one file system that has hard links: %w", err)
	}
	return a.fs.Remove(dst)
}

// publish moves a finished file from the work directory to the output
// directory under the first revision that is free there. A hard link, unlike a
// rename, cannot replace a file that another process has just put there.
func (a *Archive) publish(f *openFile) error {
	rel := f.rel
	for rev := a.rev; ; {
		dst := filepath.Join(a.output, rel)
		if err := a.makeDirs(filepath.Dir(dst)); err != nil {
			return err
		}
		err := a.fs.Link(f.path, dst)
		if errors.Is(err, fs.ErrExist) {
			rev++
			rel = Revision(f.state.name, rev)
			continue
		}
		if err != nil {
			return fmt.Errorf("move a finished file: %w", err)
		}
		// The old name goes when the new one is safe, and for good: were it to
		// come back, and the finished file be taken away by then, a restart
		// would finish it a second time.
		err = a.fs.SyncDir(filepath.Dir(dst))
		if err == nil {
			err = a.fs.Remove(f.path)
		}
		if err == nil {
			err = a.fs.SyncDir(filepath.Dir(f.path))
		}
		if err != nil {
			return fmt.Errorf("move %s to %s: %w", f.path, dst, err)
		}
		a.log.Info("moved a finished file", "file", dst)
		return nil
	}
}

// makeDirs creates dir and what is missing above it.
func (a *Archive) makeDirs(dir string) error {
	if err := a.mkdirAll(dir); err != nil {
		return fmt.Errorf("create directory %s: %w", dir, err)
	}
	return nil
}

// mkdirAll syncs each new directory into its parent, for otherwise a power cut
// could take it away with the synced files in it.
func (a *Archive) mkdirAll(dir string) error {
	if ok, err := a.fs.Exists(dir); ok || err != nil {
		return err
	}
	parent := filepath.Dir(dir)
	if err := a.mkdirAll(parent); err != nil {
		return err
	}
	// Another archive may have been faster.
	if err := a.fs.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return a.fs.SyncDir(parent)
}
