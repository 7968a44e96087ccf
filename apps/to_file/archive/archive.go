// Package archive keeps the messages of one topic in files, a line each. It
// names the files, ends them when a rotation is due, never writes over a file
// that it did not begin, and says when lines are safe: once Sync or Close has
// returned nil, everything appended before is on the device, and so are the
// directory entries that lead to it.
//
// The package has no clock and no goroutine: the caller says what time it is
// and calls from one goroutine at a time. Its disk is the FS interface.
package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"
)

// Config says what an Archive's files are called, when they end and how they
// are written.
type Config struct {
	Name      Name   // of the files, below the directories
	OutputDir string // where finished files are; created when missing
	WorkDir   string // where files are written until they are finished; "" is OutputDir

	Format      Format
	Compression Compression
	Level       int  // of compression, 1 (fast) to 9 (small) for Gzip, to 22 for Zstd
	Sidecar     bool // beside each finished file, a FILE.json says what is in it

	// A file ends once more than RotateSize bytes of lines were written to it,
	// counted before compression, or once it has been open for longer than
	// RotateInterval. Zero is no limit. It also ends when its name changes.
	RotateSize     int64
	RotateInterval time.Duration

	FS  FS           // the disk; nil is the operating system's
	Log *slog.Logger // nil is silence
}

// NeedsRevision reports whether several files may want one name, so that it
// must contain <REV>. It does not look at Name.
func (c Config) NeedsRevision() bool {
	return c.exclusive() || c.RotateSize > 0 || c.moves()
}

// exclusive reports whether a file that exists already is never appended to: a
// compressed or a length-prefixed one may have been cut off anywhere by a
// crash, one with an age limit has one beginning, and of one with a sidecar
// everything in it must be known.
func (c Config) exclusive() bool {
	return c.Compression != None || c.Format == Length || c.RotateInterval > 0 || c.Sidecar
}

// moves reports whether finished files go from one directory to another.
func (c Config) moves() bool {
	return c.WorkDir != "" && filepath.Clean(c.WorkDir) != filepath.Clean(c.OutputDir)
}

// Archive writes the lines of one topic. After any of its methods has failed
// with a disk error, all of them return that error and write nothing more:
// what the disk holds is then unknown beyond the last Sync.
type Archive struct {
	fs        FS
	log       *slog.Logger
	name      Name
	output    string
	work      string
	limits    rotation
	exclusive bool // a file that exists already is never appended to
	gzip      *gzipLines

	err  error // the first failure
	file *openFile
	rev  int    // revision of the latest file
	base string // its name, revision left open

	nameAt int64 // the Unix second that nameIs was computed for
	nameIs string
}

// New returns an Archive that has touched nothing yet. A Config that cannot
// work is refused with every reason.
func New(cfg Config) (*Archive, error) {
	if cfg.WorkDir == "" {
		cfg.WorkDir = cfg.OutputDir
	}
	if cfg.FS == nil {
		cfg.FS = OS{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	a := &Archive{
		fs: cfg.FS, log: cfg.Log, name: cfg.Name,
		output: filepath.Clean(cfg.OutputDir), work: filepath.Clean(cfg.WorkDir),
		limits: rotation{size: cfg.RotateSize, interval: cfg.RotateInterval},
		exclusive: cfg.exclusive(),
		nameAt:    -1 << 62,
	}
	var errs []error
	if cfg.OutputDir == "" {
		errs = append(errs, errors.New("output-dir: must not be empty"))
	}
	if cfg.RotateSize < 0 || cfg.RotateInterval < 0 {
		errs = append(errs, errors.New("rotate-size and rotate-interval must not be negative"))
	}
	if !cfg.Name.hasRevision && (cfg.NeedsRevision()) {
		errs = append(errs, fmt.Errorf("filename-format %q: must contain <REV> with gzip, rotation or a work-dir,"+
			" since several files may then want one name", cfg.Name.format))
	}
	if cfg.Compression == Gzip {
		if cfg.Level < 1 || cfg.Level > 9 {
			errs = append(errs, fmt.Errorf("gzip-level %d: must be 1 to 9", cfg.Level))
		} else {
			a.gzip = newGzipLines(cfg.Level)
		}
	}
	return a, errors.Join(errs...)
}

// moves reports whether finished files go from one directory to another.
func (a *Archive) moves() bool { return a.work != a.output }

// Append adds a message to the file that is current at now, which it opens or
// changes first where that is due. It is not safe yet. The body is not kept.
func (a *Archive) Append(now time.Time, m Record) error {
	if a.err != nil {
		return a.err
	}
	if a.due(now) {
		a.err = a.rotate(now)
	}
	if a.err == nil {
		a.err = a.file.append(m.Body)
	}
	return a.err
}

// Sync puts every line appended so far on the device. Compressed files end a
// gzip member with it. Without new lines it does nothing.
func (a *Archive) Sync() error {
	if a.err == nil && a.file != nil {
		a.err = a.file.sync()
	}
	return a.err
}

// Rotate ends the current file if that is due at now and, unless skipEmpty is
// set, begins the next one even though there is nothing to write to it.
func (a *Archive) Rotate(now time.Time, skipEmpty bool) error {
	switch {
	case a.err != nil || !a.due(now):
	case skipEmpty:
		a.err = a.finish()
	default:
		a.err = a.rotate(now)
	}
	return a.err
}

// Close syncs and ends the current file, if there is one; the next Append
// begins or continues another. After a failure it only gives the file back to
// the system and returns that failure.
func (a *Archive) Close() error {
	if a.err == nil {
		a.err = a.finish()
	}
	if a.file != nil {
		// What the disk holds is already in doubt and reported.
		_ = a.file.f.Close()
		a.file = nil
	}
	return a.err
}

// due reports whether a line of now belongs into another file than the open one.
func (a *Archive) due(now time.Time) bool {
	if a.file == nil {
		return true
	}
	why := a.limits.due(a.file.state, a.nameFor(now), now)
	if why != "" {
		a.log.Info("ending a file", "file", a.file.path, "because", why)
	}
	return why != ""
}

// nameFor is a.name.At, computed once a second: no letter of a datetime format
// changes faster.
func (a *Archive) nameFor(now time.Time) string {
	if s := now.Unix(); s != a.nameAt {
		a.nameAt, a.nameIs = s, a.name.At(now)
	}
	return a.nameIs
}

func (a *Archive) rotate(now time.Time) error {
	if err := a.finish(); err != nil {
		return err
	}
	base := a.nameFor(now)
	if base == a.base {
		a.rev++
	} else {
		a.base, a.rev = base, 0
	}
	for ; ; a.rev++ {
		f, err := a.begin(Revision(base, a.rev), now)
		if errors.Is(err, errTaken) {
			a.log.Debug("file exists already, taking the next revision", "file", Revision(base, a.rev))
			continue
		}
		if err != nil {
			return err
		}
		a.file = f
		a.log.Info("opened a file", "file", f.path)
		return nil
	}
}

// errTaken says that a file of this name cannot be ours to write.
var errTaken = errors.New("name is taken")

// begin opens the file called rel, which may exist already if it can be
// continued, or returns errTaken.
func (a *Archive) begin(rel string, now time.Time) (*openFile, error) {
	if !filepath.IsLocal(rel) {
		return nil, fmt.Errorf("file name %q: must lie below the output directory", rel)
	}
	path := filepath.Join(a.work, rel)
	if a.moves() {
		// A file that could never be moved under its own name is better not begun.
		taken, err := a.fs.Exists(filepath.Join(a.output, rel))
		if err != nil {
			return nil, fmt.Errorf("look for a finished file: %w", err)
		}
		if taken {
			return nil, errTaken
		}
	}
	if err := a.makeDirs(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := a.fs.Open(path, a.exclusive)
	if errors.Is(err, fs.ErrExist) {
		return nil, errTaken
	}
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	file, err := a.adopt(f, rel, path, now)
	if err != nil {
		_ = f.Close() // nothing of ours is in it
		return nil, err
	}
	return file, nil
}

func (a *Archive) adopt(f File, rel, path string, now time.Time) (*openFile, error) {
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	if a.limits.size > 0 && size > a.limits.size {
		return nil, errTaken
	}
	file := &openFile{f: f, path: path, rel: rel, gzip: a.gzip,
		state: state{name: a.base, opened: now, bytes: size}}
	if err := file.mendTail(size); err != nil {
		return nil, err
	}
	if a.gzip != nil {
		a.gzip.begin(f)
	}
	if err := a.fs.SyncDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("sync directory of %s: %w", path, err)
	}
	return file, nil
}

// finish makes the open file safe, closes it, and moves it to the output
// directory if it was written elsewhere.
func (a *Archive) finish() error {
	if a.file == nil {
		return nil
	}
	if err := a.file.sync(); err != nil {
		return err
	}
	f := a.file
	a.file = nil
	if err := f.close(); err != nil {
		return err
	}
	if !a.moves() {
		return nil
	}
	return a.publish(f)
}
