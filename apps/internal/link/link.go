// Package link is how a program that speaks to daemons is told how to: the flags of
// its connections, and NSQ's options for them, as settings of package millrace.
package link

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/internal/secure"
)

// Settings are the flags of the connections to some daemons.
type Settings struct {
	// Prefix is what the names of the flags begin with, for a program that has
	// connections of two kinds: "destination-", or nothing.
	Prefix string

	tls         bool
	files       secure.ClientFiles
	secret      string
	compression program.Choice
	option      string // the flag with NSQ's options
	options     program.Each
}

// Declare declares the flags. The one called option, "consumer-opt" or "producer-opt",
// takes NSQ's options; Prefix does not apply to it.
func (s *Settings) Declare(fs *flag.FlagSet, option string) {
	s.files.Prefix, s.option = s.Prefix, option
	fs.BoolVar(&s.tls, s.Prefix+"tls", false, "use TLS, and no daemon that does not; any of the tls flags says so, too")
	fs.StringVar(&s.files.RootCA, s.Prefix+"tls-root-ca-file", "", "`file` with the certificates that sign daemons', PEM (default the system's)")
	fs.StringVar(&s.files.Cert, s.Prefix+"tls-cert", "", "`file` with the certificate that daemons are shown, PEM")
	fs.StringVar(&s.files.Key, s.Prefix+"tls-key", "", "`file` with its key, PEM")
	fs.BoolVar(&s.files.SkipVerify, s.Prefix+"tls-insecure-skip-verify", false, "believe any daemon over TLS")
	fs.StringVar(&s.secret, s.Prefix+"auth-secret", "", "`secret` for daemons that ask for one; others see it when it is on the command line: the environment or a config file keeps it")
	s.compression = program.Choice{Value: "none", Words: []string{"none", "snappy", "deflate"}}
	fs.Var(&s.compression, s.Prefix+"compression", "`method` by which connections are compressed, where a daemon offers it: none, snappy or deflate")
	fs.Var(&s.options, option, "an option of NSQ's clients as `name,value`, such as tls_v1 or msg_timeout,2m (may be given several times)")
}

// Section is where --help lists the flags.
func (s *Settings) Section() program.Section {
	names := []string{"tls", "tls-root-ca-file", "tls-cert", "tls-key", "tls-insecure-skip-verify", "auth-secret", "compression"}
	for i := range names {
		names[i] = s.Prefix + names[i]
	}
	title := "Connections"
	if s.Prefix != "" {
		title += " (" + strings.TrimSuffix(s.Prefix, "-") + ")"
	}
	return program.Section{Title: title, Flags: names}
}

// Reader completes cfg, whose other fields are set, by what the flags say; NSQ's
// options win over what is there. The error tells all that is wrong.
func (s *Settings) Reader(cfg *millrace.ReaderConfig, log *slog.Logger) error {
	o := &target{connection: &cfg.Connection, reader: cfg}
	return s.complete(o, log)
}

// Writer is Reader for a Writer.
func (s *Settings) Writer(cfg *millrace.WriterConfig, log *slog.Logger) error {
	o := &target{connection: &cfg.Connection, writer: cfg}
	return s.complete(o, log)
}

func (s *Settings) complete(t *target, log *slog.Logger) error {
	t.connection.Log = log
	t.files, t.tls = s.files, s.tls
	t.connection.AuthSecret = s.secret
	t.connection.Compression = compressions[s.compression.Value]
	var errs []error
	for _, text := range s.options {
		if err := t.set(text); err != nil {
			errs = append(errs, fmt.Errorf("%s %q: %w", s.option, text, err))
		}
	}
	for _, name := range t.idle {
		log.Warn("an option has no effect here", "flag", s.option, "option", name)
	}
	config, err := t.secure(log)
	if err != nil {
		errs = append(errs, err)
	}
	t.connection.TLS = config
	if config != nil {
		t.connection.LookupTLS = config
	}
	return errors.Join(errs...)
}

// secure returns how connections use TLS; nil if they do not.
func (t *target) secure(log *slog.Logger) (*tls.Config, error) {
	f := t.files
	if !t.tls && f.RootCA == "" && f.Cert == "" && f.Key == "" && !f.SkipVerify {
		return nil, nil
	}
	if (f.Cert == "") != (f.Key == "") {
		return nil, fmt.Errorf("%stls-cert and %stls-key: give both or neither", f.Prefix, f.Prefix)
	}
	config, err := secure.Client(f, log)
	if err != nil {
		return nil, err
	}
	c := config("")
	c.MinVersion = max(c.MinVersion, t.minVersion)
	return c, nil
}

// Bearer is what of a secret is shown over HTTP, as a token: all of it, or nothing if no
// header can carry it.
func Bearer(secret string) string {
	if strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return secret
}

// compressions are the words of --compression.
var compressions = map[string]millrace.Compression{"none": millrace.None, "snappy": millrace.Snappy, "deflate": millrace.Deflate}
