// Package archive keeps the messages of one topic in files, a line each. It
// names the files, ends them when a rotation is due, never writes over a file
// that it did not begin, and says when messages are safe: once Sync or Close has
// returned nil, everything appended before is on the device, and so are the
// directory entries that lead to it. What a crash leaves half done, the next
// start makes whole (Recover).
//
// The package has no clock and no goroutine: the caller says what time it is
// and calls from one goroutine at a time. Its disk is the FS interface.
package archive

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/record"
)

// Config says what an Archive's files are called, when they end and how they
// are written.
type Config struct {
	Name      Name   // of the files, below the directories
	OutputDir string // where finished files are; created when missing
	WorkDir   string // where files are written until they are finished; "" is OutputDir

	Format      record.Format
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
	return c.Compression != None || c.Format == record.Length || c.RotateInterval > 0 || c.Sidecar
}

// moves reports whether finished files go from one directory to another.
func (c Config) moves() bool {
	return c.WorkDir != "" && filepath.Clean(c.WorkDir) != filepath.Clean(c.OutputDir)
}

// Archive writes the messages of one topic. After any of its methods has failed
// with an error of the disk other than ErrNoSpace and ErrRemoved, all of them return that error
// and write nothing more: what the disk holds is then unknown beyond the last
// Sync.
type Archive struct {
	fs          FS
	log         *slog.Logger
	name        Name
	output      string
	work        string
	limits      rotation
	exclusive   bool
	format      record.Format
	compression Compression
	level       int
	sidecar     bool

	err   error // the first failure that is final
	file  *openFile
	ended *ended    // was written, and has not come to its place yet
	now   time.Time // what the caller said last
	rev   int       // revision of the latest file
	base  string    // its name, revision left open

	rooted map[string]bool // directories whose entries in their parents are on the device

	nameAt int64 // the Unix second that nameIs was computed for
	nameIs string
}

// New returns an Archive that has touched nothing yet. A Config that cannot
// work is refused with every reason.
func New(cfg Config) (*Archive, error) {
	if cfg.FS == nil {
		cfg.FS = OS{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	a := &Archive{
		fs: cfg.FS, log: cfg.Log, name: cfg.Name,
		output: filepath.Clean(cfg.OutputDir), work: filepath.Clean(cfg.OutputDir),
		limits:    rotation{size: cfg.RotateSize, interval: cfg.RotateInterval},
		exclusive: cfg.exclusive(), format: cfg.Format, compression: cfg.Compression, level: cfg.Level, sidecar: cfg.Sidecar,
		nameAt: -1 << 62,
	}
	if cfg.moves() {
		a.work = filepath.Clean(cfg.WorkDir)
	}
	return a, errors.Join(cfg.check()...)
}

func (c Config) check() (errs []error) {
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(c.OutputDir == "", "output-dir: must not be empty")
	refuse(c.RotateSize < 0 || c.RotateInterval < 0, "rotate-size and rotate-interval must not be negative")
	refuse(!c.Name.hasRevision && c.NeedsRevision(), "filename-format %q: must contain <REV> with compression,"+
		" length-prefixed messages, rotation, sidecars or a work-dir, since several files may then want one name", c.Name.format)
	refuse(!c.Format.Valid(), "%s: no such format", c.Format)
	if c.Compression < 0 || int(c.Compression) >= len(compressionNames) {
		return append(errs, fmt.Errorf("%s: no such compression", c.Compression))
	}
	if err := c.Compression.checkLevel(c.Level); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// moves reports whether finished files go from one directory to another.
func (a *Archive) moves() bool { return a.work != a.output }

// Append adds a message to the file that is current at now, which it opens or
// changes first where that is due. It is not safe yet. The body is not kept.
//
// On ErrNoSpace neither this message nor any other that was appended since the
// last Sync is in the file.
func (a *Archive) Append(now time.Time, m record.Record) error {
	if a.err != nil {
		return a.err
	}
	a.now = now
	if a.due(now) {
		if err := a.rotate(now); err != nil {
			return a.failed(err)
		}
	}
	if err := a.file.append(&m); err != nil {
		return a.undone(err)
	}
	return nil
}

// Sync puts every message appended so far on the device. Compressed files end
// a member with it. Without new messages it does nothing.
func (a *Archive) Sync() error {
	if a.err != nil || a.file == nil {
		return a.err
	}
	return a.failed(a.sync())
}

// sync is Sync; when there is no space, the file is as it was at the last one,
// and when it was removed, there is none any more.
func (a *Archive) sync() error {
	err := a.file.sync()
	if errors.Is(err, ErrRemoved) {
		a.leave()
	}
	if err != nil {
		return a.undone(err)
	}
	return nil
}

// undone returns err, once the messages that it has caught are out of the file
// if there was no space for them.
func (a *Archive) undone(err error) error {
	if isNoSpace(err) {
		if cutErr := a.file.undo(); cutErr != nil && !isNoSpace(cutErr) {
			err = fmt.Errorf("%w, after: %s", cutErr, err)
		}
	}
	return a.failed(err)
}

// Rotate ends the current file if that is due at now and, unless skipEmpty is
// set, begins the next one even though there is nothing to write to it.
func (a *Archive) Rotate(now time.Time, skipEmpty bool) error {
	if a.err != nil {
		return a.err
	}
	a.now = now
	switch {
	case !a.due(now):
		return nil
	case skipEmpty:
		return a.failed(a.finish())
	}
	return a.failed(a.rotate(now))
}

// Close syncs and ends the current file, if there is one; the next Append
// begins or continues another. After ErrNoSpace it may be called again. After
// another failure it only gives the file back to the system and returns that
// failure.
func (a *Archive) Close() error {
	err := a.err
	if err == nil {
		err = a.failed(a.finish())
	}
	if a.err != nil {
		a.Abandon()
	}
	if err == nil {
		a.tidy()
	}
	return err
}

// Abandon gives every file and lock back to the system without finishing
// anything: what is unfinished is the next start's. It is for a program that
// ends although Close has failed.
func (a *Archive) Abandon() {
	// What the disk holds is reported already, or is for the next start to see.
	if a.file != nil {
		a.leave()
	}
	if a.ended != nil {
		a.ended.marker.leave()
		a.ended = nil
	}
}

// leave closes the open file as it is. A start that finds no file to a marker drops it.
func (a *Archive) leave() {
	f := a.file
	f.empty()
	f.dropMember()
	_ = f.f.Close()
	if f.marker != nil {
		f.marker.leave()
	}
	a.file = nil
}

// due reports whether a line of now belongs into another file than the open one.
func (a *Archive) due(now time.Time) bool {
	if a.file == nil {
		return true
	}
	why := a.limits.due(a.file.state, a.nameFor(now), now)
	if why != "" {
		a.log.Info("ending a file", "file", a.file.path, "reason", why)
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
	base, rev := a.nameFor(now), 0
	if base == a.base {
		rev = a.rev + 1
	}
	for ; ; rev++ {
		f, err := a.begin(base, rev, now)
		if errors.Is(err, errTaken) {
			a.log.Debug("file exists already, taking the next revision", "file", Revision(base, rev))
			continue
		}
		if err != nil {
			return err
		}
		a.file, a.base, a.rev = f, base, rev
		a.log.Info("opened a file", "file", f.path)
		return nil
	}
}

// finish makes the open file safe, closes it, and brings it to its place.
func (a *Archive) finish() error {
	if f := a.file; f != nil {
		if err := a.sync(); err != nil {
			return err
		}
		if err := f.fill(); err != nil {
			return a.undone(err)
		}
		a.file = nil
		if f.marker != nil {
			a.ended = f.ended(a.now)
		}
		// What it held is safe: that the disk is full does not matter any more.
		if err := f.f.Close(); err != nil && !isNoSpace(err) {
			return fmt.Errorf("end a file: %w", err)
		}
	}
	if a.ended == nil {
		return nil
	}
	if err := a.settle(a.ended); err != nil {
		return err
	}
	a.ended = nil
	return nil
}
