package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/consume"
	"github.com/millrace-mq/millrace/apps/internal/record"
	"github.com/millrace-mq/millrace/apps/to_file/archive"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/program"
)

// settings are the flags. Where nsq_to_file has a flag of the same name, it
// means the same.
type settings struct {
	consume consume.Settings

	outputDir, workDir string
	filenameFormat     string
	datetimeFormat     string
	hostIdentifier     string

	format    format
	gzip      bool
	gzipLevel int
	zstd      bool
	zstdLevel int
	sidecar   bool

	rotateSize     int64
	rotateInterval time.Duration
	skipEmpty      bool
	syncInterval   time.Duration

	logs program.LogSettings
}

func (s *settings) declare(fs *flag.FlagSet) {
	s.consume.Channel, s.consume.MaxInFlight = "to_file", 2500
	s.consume.Declare(fs)
	fs.DurationVar(&s.consume.ConnectTimeout, "http-client-connect-timeout", 2*time.Second, "how long connecting to a lookupd that is asked for topics may take")
	fs.DurationVar(&s.consume.RequestTimeout, "http-client-request-timeout", 5*time.Second, "how long a lookupd may take to list its topics")

	fs.StringVar(&s.outputDir, "output-dir", "/tmp", "`directory` for finished files; created when missing")
	fs.StringVar(&s.workDir, "work-dir", "", "`directory` for files that are being written; may be on another file system (default output-dir)")
	fs.StringVar(&s.filenameFormat, "filename-format", "<TOPIC>.<HOST><REV>.<DATETIME>.log",
		"file name `pattern` with the tokens <TOPIC> <HOST> <PID> <DATETIME> <REV>; may contain slashes."+
			" <REV> is needed with, and empty without, compression, rotation, a sidecar, length-prefixed or a work-dir")
	fs.StringVar(&s.datetimeFormat, "datetime-format", "%Y-%m-%d_%H",
		"strftime `format` of <DATETIME>, in local time: %A %a %B %b %m %d %H %I %M %S %Y %y %p %Z %z %%")
	fs.StringVar(&s.hostIdentifier, "host-identifier", "", "`text` for <HOST>; may contain <SHORT_HOST> (the default) and <HOSTNAME>")

	fs.Var(&s.format, "format", "`format` of messages in a file: raw (the body and a newline), json (an object a line, with ID, time, attempts and topic)"+
		" or length-prefixed (four bytes, big endian, and the body); any body can be read back from the last two")
	fs.BoolVar(&s.gzip, "gzip", false, "compress files with gzip")
	fs.IntVar(&s.gzipLevel, "gzip-level", 6, "`level` of compression, 1 (fast) to 9 (small)")
	fs.BoolVar(&s.zstd, "zstd", false, "compress files with Zstandard")
	fs.IntVar(&s.zstdLevel, "zstd-level", 3, "`level` of compression, 1 (fast) to 22 (small)")
	fs.BoolVar(&s.sidecar, "sidecar", false, "beside each finished file, write a FILE.json that says what is in it: counts, sizes, the first and the last message, SHA-256")

	fs.Int64Var(&s.rotateSize, "rotate-size", 0, "`bytes` of messages, before compression, beyond which a file ends")
	fs.DurationVar(&s.rotateInterval, "rotate-interval", 0, "age beyond which a file ends")
	fs.BoolVar(&s.skipEmpty, "skip-empty-files", false, "begin no file while there are no messages")
	fs.DurationVar(&s.syncInterval, "sync-interval", 30*time.Second,
		"how often an end of the file is looked for that no message brings, and the longest time between syncs; they come sooner when messages are many or none is waiting")

	s.logs.Level = "info"
	s.logs.Flags(fs)
	fs.StringVar(&s.logs.Prefix, "log-prefix", "", "`text` before each line that is logged; in JSON the key prefix")
}

// opener makes streams, once the settings are known to be right.
type opener struct {
	reader  millrace.ReaderConfig // but for the topic
	archive archive.Config        // but for the name
	pattern archive.Pattern       // but for the topic
	gap     time.Duration
	*settings
	hangups *hangups
	turns   turns
	opened  int // topics
	log     *slog.Logger
}

// opener checks the settings, and says everything that is wrong with them. It touches
// no disk and no network.
func (s *settings) opener(hostname string, pid int, log *slog.Logger) (*opener, error) {
	errs := append(s.consume.Check(), s.check()...)
	reader, err := s.consume.Reader("", "to_file/"+program.Version, log)
	o := &opener{reader: reader, settings: s, hangups: new(hangups), turns: make(turns, atOnce), log: log, gap: plainGap}
	o.archive = archive.Config{
		OutputDir: s.outputDir, WorkDir: s.workDir, Format: s.format.Format, Sidecar: s.sidecar,
		RotateSize: s.rotateSize, RotateInterval: s.rotateInterval,
	}
	switch {
	case s.gzip:
		o.archive.Compression, o.archive.Level, o.gap = archive.Gzip, s.gzipLevel, packedGap
	case s.zstd:
		o.archive.Compression, o.archive.Level, o.gap = archive.Zstd, s.zstdLevel, packedGap
	}
	o.pattern = archive.Pattern{
		Format: s.filenameFormat, Datetime: s.datetimeFormat, Host: archive.Host(s.hostIdentifier, hostname), PID: pid,
		Suffix: o.archive.Compression.Suffix(), Revision: o.archive.NeedsRevision(),
	}
	_, failed := o.files("topic") // the same is wrong for each
	return o, errors.Join(append(errs, err, failed)...)
}

func (s *settings) check() (errs []error) {
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(len(s.consume.Named()) != 1 && !strings.Contains(s.filenameFormat, "<TOPIC>"),
		"filename-format %q: must contain <TOPIC> when there may be several topics", s.filenameFormat)
	refuse(s.syncInterval <= 0, "sync-interval %s: must be positive", s.syncInterval)
	refuse(s.gzip && s.zstd, "gzip and zstd: give only one of them")
	refuse(s.consume.ConnectTimeout <= 0, "http-client-connect-timeout %s: must be positive", s.consume.ConnectTimeout)
	refuse(s.consume.RequestTimeout <= 0, "http-client-request-timeout %s: must be positive", s.consume.RequestTimeout)
	return errs
}

// files are the files of a topic.
func (o *opener) files(topic string) (*archive.Archive, error) {
	pattern, config := o.pattern, o.archive
	pattern.Topic = topic
	var err error
	if config.Name, err = pattern.Name(); err != nil {
		return nil, err
	}
	config.Log = o.log.With("topic", topic)
	return archive.New(config)
}

// open makes the stream of a topic.
func (o *opener) open(topic string) (consume.Stream, error) {
	files, err := o.files(topic)
	if err != nil {
		return nil, err
	}
	config := o.reader
	o.opened++
	config.Topic, config.LookupInterval = topic, max(config.LookupInterval, o.consume.LookupInterval(o.opened))
	dirs := []string{o.outputDir}
	if o.workDir != "" && o.workDir != o.outputDir {
		dirs = append(dirs, o.workDir)
	}
	r := &recorder{
		topic: topic, lines: files, interval: o.syncInterval, skipEmpty: o.skipEmpty, turns: o.turns, log: o.log,
		room: room{archive.OS{}, dirs, ".to_file-room." + topic}.has,
	}
	return newStream(config, o.gap, r, o.hangups)
}

// format is the value of --format.
type format struct{ record.Format }

// Set implements flag.Value.
func (f *format) Set(text string) error {
	parsed, err := record.ParseFormat(text)
	if err != nil {
		return errors.New("must be " + f.Expects())
	}
	f.Format = parsed
	return nil
}

// Get implements flag.Getter.
func (f *format) Get() any { return f.String() }

// Choices are the values that there are.
func (f *format) Choices() []string {
	return []string{record.Raw.String(), record.JSON.String(), record.Length.String()}
}

// Expects implements program.Expecting.
func (f *format) Expects() string { return "raw, json or length-prefixed" }
