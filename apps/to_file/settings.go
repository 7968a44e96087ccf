package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace-mq/millrace/apps/to_file/archive"
	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
)

// settings are the flags. Where nsq_to_file has a flag of the same name, it
// means the same.
type settings struct {
	topics         program.Strings
	channel        string
	daemons        program.Strings
	lookupds       program.Strings
	lookupInterval time.Duration
	maxInFlight    int

	outputDir, workDir string
	filenameFormat     string
	datetimeFormat     string
	hostIdentifier     string
	gzip               bool
	gzipLevel          int
	rotateSize         int64
	rotateInterval     time.Duration
	skipEmpty          bool
	syncInterval       time.Duration
	logLevel           string
}

func (s *settings) declare(fs *flag.FlagSet) {
	fs.Var(&s.topics, "topic", "`name` of a topic to consume (may be given several times)")
	fs.StringVar(&s.channel, "channel", "to_file", "`name` of the channel to consume from")
	fs.Var(&s.daemons, "qd-tcp-address", "`host:port` of a qd's TCP side (may be given several times)")
	program.Alias(fs, "nsqd-tcp-address", "qd-tcp-address")
	fs.Var(&s.lookupds, "lookupd-http-address", "`host:port` of a lookupd's HTTP side (may be given several times)")
	program.Alias(fs, "nsqlookupd-http-address", "lookupd-http-address")
	fs.DurationVar(&s.lookupInterval, "lookupd-poll-interval", 2*time.Second, "how often lookupds are asked who has the topics")
	fs.IntVar(&s.maxInFlight, "max-in-flight", 2500,
		"`messages` of a topic that may be delivered and not yet synced to disk; a sync is shared by up to half of them")

	fs.StringVar(&s.outputDir, "output-dir", "/tmp", "`directory` for finished files; created when missing")
	fs.StringVar(&s.workDir, "work-dir", "", "`directory` for files that are being written, on the same file system (default output-dir)")
	fs.StringVar(&s.filenameFormat, "filename-format", "<TOPIC>.<HOST><REV>.<DATETIME>.log",
		"file name `pattern` with the tokens <TOPIC> <HOST> <PID> <DATETIME> <REV>; may contain slashes."+
			" <REV> is needed with, and empty without, gzip, rotation or work-dir")
	fs.StringVar(&s.datetimeFormat, "datetime-format", "%Y-%m-%d_%H",
		"strftime `format` of <DATETIME>, in local time: %A %a %B %b %m %d %H %I %M %S %Y %y %p %Z %z %%")
	fs.StringVar(&s.hostIdentifier, "host-identifier", "", "`text` for <HOST>; may contain <SHORT_HOST> (the default) and <HOSTNAME>")
	fs.BoolVar(&s.gzip, "gzip", false, "compress files")
	fs.IntVar(&s.gzipLevel, "gzip-level", 6, "`level` of compression, 1 (fast) to 9 (small)")
	fs.Int64Var(&s.rotateSize, "rotate-size", 0, "`bytes` of lines, before compression, beyond which a file ends")
	fs.DurationVar(&s.rotateInterval, "rotate-interval", 0, "age beyond which a file ends")
	fs.BoolVar(&s.skipEmpty, "skip-empty-files", false, "begin no file while there are no messages")
	fs.DurationVar(&s.syncInterval, "sync-interval", 30*time.Second,
		"longest time between syncs; they come sooner when messages are many or none is waiting")
	fs.StringVar(&s.logLevel, "log-level", "info", "`level` of what is logged: debug, info, warn or error")
}

// streams makes one stream for each topic, or says everything that is wrong
// with the settings. It touches no disk and no network.
func (s *settings) streams(hostname string, pid int, log *slog.Logger) ([]*stream, error) {
	errs := s.check()
	if len(errs) > 0 {
		return nil, errors.Join(errs...) // what follows would complain of the same
	}
	topics := slices.Clone(s.topics)
	slices.Sort(topics)
	var streams []*stream
	for _, topic := range slices.Compact(topics) {
		st, err := s.stream(topic, hostname, pid, log)
		if err != nil {
			errs = append(errs, err)
			break // the next topic's would be the same
		}
		streams = append(streams, st)
	}
	return streams, errors.Join(errs...)
}

func (s *settings) check() (errs []error) {
	refuse := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(len(s.topics) == 0, "topic: at least one is needed")
	refuse(len(s.daemons)+len(s.lookupds) == 0, "lookupd-http-address or qd-tcp-address: at least one is needed")
	refuse(len(s.daemons) > 0 && len(s.lookupds) > 0, "lookupd-http-address and qd-tcp-address: give only one of them")
	refuse(len(s.topics) > 1 && !strings.Contains(s.filenameFormat, "<TOPIC>"),
		"filename-format %q: must contain <TOPIC> when there are several topics", s.filenameFormat)
	refuse(s.maxInFlight < 1, "max-in-flight %d: must be positive", s.maxInFlight)
	refuse(s.syncInterval <= 0, "sync-interval %s: must be positive", s.syncInterval)
	refuse(s.lookupInterval <= 0, "lookupd-poll-interval %s: must be positive", s.lookupInterval)
	return errs
}

// moves reports whether work-dir is another directory than output-dir.
func (s *settings) moves() bool {
	return s.workDir != "" && filepath.Clean(s.workDir) != filepath.Clean(s.outputDir)
}

func (s *settings) stream(topic, hostname string, pid int, log *slog.Logger) (*stream, error) {
	if !protocol.ValidName(topic) {
		return nil, fmt.Errorf("topic %q: not a valid name", topic)
	}
	pattern := archive.Pattern{
		Format: s.filenameFormat, Datetime: s.datetimeFormat,
		Topic: topic, Host: archive.Host(s.hostIdentifier, hostname), PID: pid,
		Revision: s.gzip || s.rotateSize > 0 || s.rotateInterval > 0 || s.moves(),
	}
	compression := archive.None
	if s.gzip {
		compression = archive.Gzip
	}
	pattern.Suffix = compression.Suffix()
	name, err := pattern.Name()
	if err != nil {
		return nil, err
	}
	files, err := archive.New(archive.Config{
		Name: name, OutputDir: s.outputDir, WorkDir: s.workDir,
		Compression: compression, Level: s.gzipLevel,
		RotateSize: s.rotateSize, RotateInterval: s.rotateInterval, Log: log.With("topic", topic),
	})
	if err != nil {
		return nil, err
	}
	gap := plainGap
	if s.gzip {
		gap = gzipGap
	}
	return newStream(files, millrace.ReaderConfig{
		Topic: topic, Channel: s.channel,
		Addresses: s.daemons, Lookupds: s.lookupds, LookupInterval: s.lookupInterval,
		MaxInFlight: s.maxInFlight, Connection: millrace.Connection{UserAgent: "to_file/" + program.Version, Log: log},
	}, &recorder{interval: s.syncInterval, gap: gap, skipEmpty: s.skipEmpty})
}
