package admin

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/internal/secure"
)

// Settings is what an operator can choose. The zero value is not usable: start
// from DefaultSettings.
type Settings struct {
	// HTTPAddress is where people and scripts come: host:port, or the path of a socket
	// file, or several with commas. Port 0 takes a free one.
	HTTPAddress string
	// BasePath is what stands before all paths, for those who come through a proxy that
	// has other things beside: /, or /x/y.
	BasePath string
	// TLS of the admin itself.
	secure.Settings

	// Lookupds are asked for the daemons that there are; or Daemons names them. Both are
	// host:port of HTTP APIs. One of the two must be given.
	Lookupds, Daemons program.Strings
	// ConnectTimeout and RequestTimeout bound a request to a daemon; positive.
	ConnectTimeout, RequestTimeout time.Duration
	// Client is what daemons are shown and must show, if they use TLS.
	Client secure.ClientFiles
	// TokenFile has the token that daemons are shown, in its first line; empty is none. If
	// Client names who signs daemons' certificates, it is shown over TLS only; else also in
	// clear, to whoever is at an address that a lookupd lists.
	TokenFile string

	// SampleInterval is the time from one look at all daemons to the next, if a look is
	// cheap; more if it is not. 500 ms at least.
	SampleInterval time.Duration
	// HistoryMemory bounds what the past takes, in bytes; 8 MiB at least.
	HistoryMemory int64
	// HistoryFile keeps the past across restarts; empty is nowhere.
	HistoryFile string

	// UsersFile names users, their roles, and an OpenID provider (TOML); it is read again when
	// it changes. ProxyHeader has the user's name if a request comes from TrustedProxies
	// (addresses or networks). Admins and Operators are those of them who may more than look.
	UsersFile         string
	ProxyHeader       string
	TrustedProxies    program.Strings
	Admins, Operators program.Strings
	// SessionKeyFile keeps sessions valid across restarts; made if it is missing. Empty is a
	// new key with each start.
	SessionKeyFile string
	// ReadOnly refuses whatever changes something, to everybody.
	ReadOnly bool
	// Bodies is the least role that sees messages' bodies: viewer, operator or admin.
	Bodies string
	// ConfigFrom is the network from which /config may be asked; empty is any.
	ConfigFrom string

	// AccessFile is the daemons' file of who may do what (TOML): whoever it names, by a token
	// or a certificate, may sign in, with the role that his rights on all topics amount to.
	// It is read again when it changes.
	AccessFile string

	// AuditFile gets a line of JSON for each change; Webhook is posted it; AuditKeep is how
	// many are shown.
	AuditFile, Webhook string
	AuditKeep          int

	// ClusterName and Environment stand on each page, so that nobody mistakes one for
	// another. The environment called production is red.
	ClusterName, Environment string

	// Origins say who has decided on the settings, for the settings page; nil: nobody has.
	Origins *program.Origins
	// Reread reads the settings again, for Reload: whoever has read them gives it. nil:
	// nothing can be reloaded. Together, if not nil, is what Reload does instead, where a
	// process has several daemons, which are reloaded all or not at all.
	Reread   func() (*Settings, error)
	Together func() (program.Reloaded, error)
	// LogLevel is the least that is logged: debug, info, warn, error or fatal. LogFormat
	// is auto, text or json. LogPrefix stands before each line. They are for whoever makes
	// the logger that Listen is given.
	LogLevel, LogFormat, LogPrefix string
}

// The least that some settings may be.
const (
	minSampleInterval = 500 * time.Millisecond
	minHistoryMemory  = 8 << 20
)

// DefaultSettings returns NSQ's defaults, but for listening on loopback only.
func DefaultSettings() Settings {
	return Settings{
		HTTPAddress:    "127.0.0.1:4171",
		BasePath:       "/",
		Settings:       secure.Defaults("127.0.0.1:4172"),
		ConnectTimeout: 2 * time.Second,
		RequestTimeout: 5 * time.Second,
		Client:         secure.ClientFiles{Prefix: "http-client-"},
		SampleInterval: 2 * time.Second,
		HistoryMemory:  128 << 20,
		ProxyHeader:    "X-Forwarded-User",
		Bodies:         signin.Operator.String(),
		ConfigFrom:     "127.0.0.1/8",
		AuditKeep:      10_000,
		LogLevel:       "info",
	}
}

// Flags declares a flag for every setting on fs, with nsqadmin's names where they mean
// the same. What s holds is the default.
func (s *Settings) Flags(fs *flag.FlagSet) {
	s.placeFlags(fs)
	s.daemonFlags(fs)
	s.peopleFlags(fs)
	fs.DurationVar(&s.SampleInterval, "sample-interval", s.SampleInterval, "`time` from one look at all daemons to the next; longer where a look takes long")
	fs.Int64Var(&s.HistoryMemory, "history-memory", s.HistoryMemory, "`bytes` that the past may take in memory: an hour fine, seven days coarse")
	fs.StringVar(&s.HistoryFile, "history-file", s.HistoryFile, "`file` that keeps the past across restarts; empty is none")
	fs.StringVar(&s.LogLevel, "log-level", s.LogLevel, "`level` from which on to log: debug, info, warn, error or fatal")
	program.LogFormatFlag(fs, &s.LogFormat)
	fs.StringVar(&s.LogPrefix, "log-prefix", s.LogPrefix, "`text` before each line that is logged; in JSON the key prefix")
	old(fs)
}

// placeFlags are about where the admin is, and what it calls itself.
func (s *Settings) placeFlags(fs *flag.FlagSet) {
	fs.Var(listen.Flag(&s.HTTPAddress), "http-address", "`address` for browsers and scripts, host:port or the path of a socket file; may be repeated")
	fs.StringVar(&s.BasePath, "base-path", s.BasePath, "`path` before all others, as a proxy has it")
	s.TLSFlags(fs, "browsers'")
	fs.StringVar(&s.ClusterName, "cluster-name", s.ClusterName, "`name` that stands on each page")
	fs.StringVar(&s.Environment, "environment", s.Environment, "`name` of the environment, on each page; production is red")
}

// daemonFlags are about those who are asked.
func (s *Settings) daemonFlags(fs *flag.FlagSet) {
	fs.Var(&s.Lookupds, "lookupd-http-address", "`host:port` of a lookupd's HTTP API; may be repeated")
	fs.Var(&s.Daemons, "qd-http-address", "`host:port` of a daemon's HTTP API, where there is no lookupd; may be repeated")
	program.Alias(fs, "nsqd-http-address", "qd-http-address")
	program.Key(fs, "nsqlookupd_http_addresses", "lookupd-http-address")
	program.Key(fs, "nsqd_http_addresses", "qd-http-address")
	fs.DurationVar(&s.ConnectTimeout, "http-client-connect-timeout", s.ConnectTimeout, "`time` to connect to a daemon")
	fs.DurationVar(&s.RequestTimeout, "http-client-request-timeout", s.RequestTimeout, "`time` for a daemon's answer")
	fs.BoolVar(&s.Client.SkipVerify, "http-client-tls-insecure-skip-verify", s.Client.SkipVerify, "believe any daemon over TLS")
	fs.StringVar(&s.Client.RootCA, "http-client-tls-root-ca-file", s.Client.RootCA, "`file` with the certificates that sign daemons'")
	fs.StringVar(&s.Client.Cert, "http-client-tls-cert", s.Client.Cert, "`file` with the certificate that daemons are shown, PEM")
	fs.StringVar(&s.Client.Key, "http-client-tls-key", s.Client.Key, "`file` with its key, PEM")
	fs.StringVar(&s.TokenFile, "http-client-token-file", s.TokenFile, "`file` with the token that daemons are shown: over TLS alone if --http-client-tls-root-ca-file is given, else in clear to whomever a lookupd lists")
}

// peopleFlags are about those who come.
func (s *Settings) peopleFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.UsersFile, "users-file", s.UsersFile, "`file` with users, roles and an OpenID provider, TOML; read again when it changes")
	fs.StringVar(&s.AccessFile, "access-file", s.AccessFile, "`file` of who may do what, as daemons take it: a token signs in with the role that its rights on all topics amount to; read again when it changes")
	fs.StringVar(&s.ProxyHeader, "acl-http-header", s.ProxyHeader, "`header` in which a trusted proxy names the user")
	fs.Var(&s.TrustedProxies, "trusted-proxy", "`address` or network of a proxy whose header is believed; may be repeated")
	fs.Var(&s.Admins, "admin-user", "`name` of a user, known by the proxy, who may do everything; may be repeated")
	program.Key(fs, "admin_users", "admin-user")
	fs.Var(&s.Operators, "operator-user", "`name` of a user, known by the proxy, who may do what can be undone; may be repeated")
	fs.StringVar(&s.SessionKeyFile, "session-key-file", s.SessionKeyFile, "`file` that keeps people signed in across restarts; made if it is missing")
	fs.BoolVar(&s.ReadOnly, "read-only", s.ReadOnly, "change nothing, whoever asks")
	fs.StringVar(&s.Bodies, "bodies-for", s.Bodies, "the least `role` that sees messages' bodies: viewer, operator or admin")
	fs.StringVar(&s.ConfigFrom, "allow-config-from-cidr", s.ConfigFrom, "`network` from which /config may be asked; empty is any")
	fs.StringVar(&s.AuditFile, "audit-file", s.AuditFile, "`file` that gets a line of JSON for each change")
	fs.StringVar(&s.Webhook, "notification-http-endpoint", s.Webhook, "`URL` that is posted each change as JSON")
	fs.IntVar(&s.AuditKeep, "audit-keep", s.AuditKeep, "`number` of changes that the audit page shows")
}

// old declares what nsqadmin has and we do not need.
func old(fs *flag.FlagSet) {
	const charts = "the charts need no Graphite"
	for name, reason := range map[string]string{
		"dev-static-dir": "everything is in the program", "statsd-counter-format": charts, "statsd-gauge-format": charts,
		"graphite-url": charts, "statsd-prefix": charts, "statsd-interval": charts,
	} {
		fs.String(name, "", "")
		program.Obsolete(fs, name, reason)
	}
	for name, reason := range map[string]string{"proxy-graphite": charts, "verbose": "say --log-level=debug"} {
		fs.Bool(name, false, "")
		program.Obsolete(fs, name, reason)
	}
}

// LogSettings say how to make the logger that Listen is given.
func (s *Settings) LogSettings() program.LogSettings {
	return program.LogSettings{Level: s.LogLevel, Format: s.LogFormat, Prefix: s.LogPrefix}
}

// Validate reports every setting that cannot be, joined into one error.
func (s Settings) Validate() error {
	var errs []error
	check := func(ok bool, flag string, value any, rule string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s %v: must be %s", flag, value, rule))
		}
	}
	for _, a := range []struct{ flag, list string }{{"http-address", s.HTTPAddress}, {"https-address", s.HTTPSAddress}} {
		if err := listen.Check(a.list); err != nil {
			errs = append(errs, fmt.Errorf("%s %w", a.flag, err))
		}
	}
	check(len(listen.Split(s.HTTPAddress)) > 0, "http-address", `""`, "host:port, or the path of a socket file")
	s.CheckTLS(check)
	if _, err := s.base(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, s.checkDaemons(), s.checkPeople())
	check(s.ConnectTimeout > 0, "http-client-connect-timeout", s.ConnectTimeout, "positive")
	check(s.RequestTimeout > 0, "http-client-request-timeout", s.RequestTimeout, "positive")
	check(s.SampleInterval >= minSampleInterval, "sample-interval", s.SampleInterval, minSampleInterval.String()+" at least")
	check(s.HistoryMemory >= minHistoryMemory, "history-memory", s.HistoryMemory, fmt.Sprint(minHistoryMemory, " at least"))
	check(s.AuditKeep > 0, "audit-keep", s.AuditKeep, "positive")
	return errors.Join(append(errs, s.LogSettings().Check())...)
}

// checkDaemons is Validate for those who are asked.
func (s Settings) checkDaemons() error {
	var errs []error
	if (len(s.Lookupds) == 0) == (len(s.Daemons) == 0) {
		errs = append(errs, errors.New("lookupd-http-address: give it, or qd-http-address where there is no lookupd, and not both"))
	}
	for _, d := range []struct {
		flag string
		list []string
	}{{"lookupd-http-address", s.Lookupds}, {"qd-http-address", s.Daemons}} {
		for _, a := range d.list {
			if err := cluster.CheckAddress(a); err != nil {
				errs = append(errs, fmt.Errorf("%s %q: %w", d.flag, a, err))
			}
		}
	}
	if (s.Client.Cert == "") != (s.Client.Key == "") {
		errs = append(errs, errors.New("http-client-tls-cert: give it together with http-client-tls-key, or not at all"))
	}
	return errors.Join(errs...)
}

// checkPeople is Validate for those who come.
func (s Settings) checkPeople() error {
	var errs []error
	if !slices.Contains([]string{"viewer", "operator", "admin"}, s.Bodies) {
		errs = append(errs, fmt.Errorf("bodies-for %q: must be viewer, operator or admin", s.Bodies))
	}
	for _, n := range []struct {
		flag string
		list []string
	}{{"trusted-proxy", s.TrustedProxies}, {"allow-config-from-cidr", []string{s.ConfigFrom}}} {
		for _, text := range n.list {
			if _, err := network(text); err != nil && (text != "" || n.flag == "trusted-proxy") {
				errs = append(errs, fmt.Errorf("%s %q: must be an address such as 10.0.0.1, or a network such as 10.0.0.0/8", n.flag, text))
			}
		}
	}
	if len(s.Admins)+len(s.Operators) > 0 && len(s.TrustedProxies) == 0 {
		errs = append(errs, errors.New("admin-user: name with --trusted-proxy who is believed when he says who a user is"))
	}
	if u, err := url.Parse(s.Webhook); s.Webhook != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		// without the text: it may have a token
		errs = append(errs, errors.New("notification-http-endpoint: must be a URL such as https://example.com/hook"))
	}
	return errors.Join(errs...)
}

// network reads an address or a network. As in nsqadmin, bits beyond the mask may be set.
func network(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}
