package main

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"strings"

	"github.com/millrace-mq/millrace/admin"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/lookupd"
	"github.com/millrace-mq/millrace/qd"
)

// settings are those of the three. watchIfFree says that nobody has chosen the admin's
// address: if somebody else has it, there is no admin.
type settings struct {
	queues      qd.Settings
	lookup      lookupd.Settings
	watch       admin.Settings
	watchIfFree bool
	token       string // the file of what qd shows lookupd, and the admin both
}

// What the settings of lookupd and the admin are called here, by what they are called
// there.
var (
	ofLookup = map[string]string{
		"tcp_address": "lookupd_tcp_address", "http_address": "lookupd_http_address", "log_level": "log_level",
		"access_file": "access_file", "audit_file": "audit_file",
	}
	ofWatch = map[string]string{
		"http_address": "admin_http_address", "log_level": "log_level", "access_file": "access_file", "audit_file": "audit_file",
		"http_client_token_file": "token_file",
	}
)

// declare declares the flags of all three, and returns what they say once they are read.
func declare(fs *flag.FlagSet) func() *settings {
	s := &settings{queues: qd.Defaults(), lookup: lookupd.DefaultSettings(), watch: admin.DefaultSettings()}
	s.queues.DataPath, s.queues.LogLevel = "data", "warn"
	fs.StringVar(&s.queues.TCPAddress, "tcp-address", s.queues.TCPAddress, "`host:port` for TCP clients of qd")
	fs.StringVar(&s.queues.HTTPAddress, "http-address", s.queues.HTTPAddress, "`host:port` for HTTP clients of qd")
	fs.StringVar(&s.lookup.TCPAddress, "lookupd-tcp-address", s.lookup.TCPAddress, "`host:port` that daemons register at")
	fs.StringVar(&s.lookup.HTTPAddress, "lookupd-http-address", s.lookup.HTTPAddress, "`host:port` that consumers ask at")
	fs.StringVar(&s.watch.HTTPAddress, "admin-http-address", s.watch.HTTPAddress, "`host:port` for browsers; empty is no admin")
	s.queues.StorageFlags(fs)
	s.queues.DrainFlag(fs)
	fs.StringVar(&s.queues.AccessFile, "access-file", "", "`file` that says who may do what, at all three; read again when it changes (default everybody may)")
	fs.StringVar(&s.token, "token-file", "", "`file` with the token that qd shows lookupd, and the admin both, if there is an access file: it must have the rights register, stats, look and manage")
	fs.StringVar(&s.queues.AuditFile, "audit-file", "", "`file` that gets a line of JSON for everything that changes something at any of them")
	fs.Lookup("data-path").Usage = "`directory` for what is kept on disk; created when missing"
	fs.StringVar(&s.queues.LogLevel, "log-level", s.queues.LogLevel, "`level`: debug, info, warn, error or fatal")
	program.LogFormatFlag(fs, &s.queues.LogFormat)
	program.ConfigFile(fs)
	origins := program.OriginsOf(fs)
	return func() *settings {
		s.queues.Origins = origins()
		s.lookup.Origins, s.watch.Origins = s.queues.Origins.Renamed(ofLookup), s.queues.Origins.Renamed(ofWatch)
		s.lookup.LogLevel, s.watch.LogLevel = s.queues.LogLevel, s.queues.LogLevel
		s.lookup.AccessFile, s.watch.AccessFile = s.queues.AccessFile, s.queues.AccessFile
		s.lookup.AuditFile, s.watch.AuditFile = s.queues.AuditFile, s.queues.AuditFile
		s.queues.LookupdTokenFile, s.watch.TokenFile = s.token, s.token
		s.watchIfFree = true
		fs.Visit(func(f *flag.Flag) { s.watchIfFree = s.watchIfFree && f.Name != "admin-http-address" })
		return s
	}
}

// validate says what is wrong with the settings of all three. Where lookupd is nobody
// sets, so it does not matter yet.
func (s *settings) validate() error {
	watch := s.watch
	watch.Lookupds = []string{"127.0.0.1:4161"}
	errs := []error{s.queues.Validate(), under("lookupd-", s.lookup.Validate())}
	if watch.HTTPAddress != "" {
		errs = append(errs, under("admin-", watch.Validate()))
	}
	return errors.Join(errs...)
}

// under is err with the flags' names as they are here.
func under(prefix string, err error) error {
	if err == nil {
		return nil
	}
	var errs []error
	for line := range strings.Lines(err.Error()) {
		if strings.HasPrefix(line, "tcp-address") || strings.HasPrefix(line, "http-address") {
			line = prefix + line
		}
		if rest, ok := strings.CutPrefix(line, "lookupd-token-file"); ok {
			line = "token-file" + rest
		}
		errs = append(errs, errors.New(strings.TrimSuffix(line, "\n")))
	}
	return errors.Join(errs...)
}

// checkFiles says what is wrong with what the settings name: all three have the same
// files. The data path is made if it is missing.
func (s *settings) checkFiles() error {
	queues := s.queues
	if _, err := os.Stat(queues.DataPath); errors.Is(err, fs.ErrNotExist) {
		queues.DataPath = ""
	}
	return under("", queues.CheckFiles())
}

// reload reads the settings again and changes what can be changed in all daemons, or
// nothing in any. lookupd, which is always there, is prepared first, and the settings
// are read under its turn: of two reloads one reads when the other has ended.
func (h *house) reload(reread func() (*settings, error)) (found program.Reloaded, err error) {
	defer func() { program.TellReload(h.log, found, err) }()
	var s *settings
	parts := []struct {
		prepare func() (*program.Pending, error)
		names   map[string]string
	}{
		{func() (*program.Pending, error) {
			return h.lookup.Prepare(func() (*lookupd.Settings, error) {
				if s, err = reread(); err != nil {
					return nil, err
				}
				h.introduce(s)
				return &s.lookup, nil
			})
		}, ofLookup},
		{func() (*program.Pending, error) {
			if h.watch == nil {
				return nil, nil
			}
			return h.watch.Prepare(func() (*admin.Settings, error) { return &s.watch, nil })
		}, ofWatch},
		{func() (*program.Pending, error) {
			return h.queues.Prepare(func() (*qd.Settings, error) { return &s.queues, nil })
		}, nil},
	}
	ready := make([]*program.Pending, len(parts))
	for i, part := range parts {
		if ready[i], err = part.prepare(); err != nil {
			for _, p := range ready[:i] {
				p.Drop()
			}
			return found, err
		}
	}
	for i, part := range parts {
		found.Add(ready[i].Commit(), part.names)
	}
	return found, nil
}
