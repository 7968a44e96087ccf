package secure

import (
	"crypto/tls"
	"errors"
	"flag"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/internal/listen"
)

// Settings are what an operator chooses of a daemon's TLS. They are embedded in
// the daemon's own.
//
// There is no TLS without TLSCert and TLSKey, files in PEM form; HTTPSAddress is
// not listened on then, nor if it is empty.
type Settings struct {
	HTTPSAddress        string
	TLSCert, TLSKey     string
	TLSRootCAFile       string // signs others' certificates
	TLSClientAuthPolicy string // require, require-verify, verify-if-given, or empty: none is asked for
	TLSRequired         string // true, false, or tcp-https: for all but plain HTTP
	TLSMinVersion       string // tls1.0 to tls1.3; NSQ's default is tls1.0
}

// Defaults are those of a daemon that is told nothing, which would listen for
// HTTPS at address.
func Defaults(address string) Settings {
	return Settings{HTTPSAddress: address, TLSRequired: "false", TLSMinVersion: "tls1.2"}
}

// TLSFlags declares a flag for each setting, with nsqd's names. signed says whose
// certificates the root's are.
func (s *Settings) TLSFlags(fs *flag.FlagSet, signed string) {
	fs.Var(listen.Flag(&s.HTTPSAddress), "https-address", "`address` for HTTPS clients, if there is a certificate; empty is none")
	fs.StringVar(&s.TLSCert, "tls-cert", s.TLSCert, "`file` with the certificate, PEM; read again when it changes")
	fs.StringVar(&s.TLSKey, "tls-key", s.TLSKey, "`file` with the certificate's key, PEM")
	fs.StringVar(&s.TLSRootCAFile, "tls-root-ca-file", s.TLSRootCAFile, "`file` with the certificates that sign "+signed)
	fs.StringVar(&s.TLSClientAuthPolicy, "tls-client-auth-policy", s.TLSClientAuthPolicy, "`policy` for clients' certificates: require or require-verify, which turn --tls-required on, or verify-if-given")
	fs.Var((*required)(&s.TLSRequired), "tls-required", "refuse clients without TLS: true, false, or tcp-https (plain HTTP is allowed)")
	fs.Var((*version)(&s.TLSMinVersion), "tls-min-version", "the oldest `version` of TLS: tls1.0, tls1.1, tls1.2 or tls1.3")
}

// CheckTLS calls complain for each rule, with whether the flag's value obeys it.
func (s *Settings) CheckTLS(complain func(ok bool, flag string, value any, rule string)) {
	complain((s.TLSCert == "") == (s.TLSKey == ""), "tls-cert", strconv.Quote(s.TLSCert), "given together with --tls-key, or not at all")
	complain(s.TLSCert != "" || s.TLSRequired == "false", "tls-required", s.TLSRequired, "given together with --tls-cert and --tls-key")
	complain(s.TLSCert != "" || s.TLSClientAuthPolicy == "",
		"tls-client-auth-policy", s.TLSClientAuthPolicy, "given together with --tls-cert and --tls-key")
	policy, known := policies[s.TLSClientAuthPolicy]
	complain(known, "tls-client-auth-policy", s.TLSClientAuthPolicy, policyWords)
	complain(policy < tls.VerifyClientCertIfGiven || s.TLSRootCAFile != "",
		"tls-client-auth-policy", s.TLSClientAuthPolicy, "given together with --tls-root-ca-file")
	complain(slices.Contains([]string{"true", "false", "tcp-https"}, s.TLSRequired), "tls-required", s.TLSRequired, "true, false or tcp-https")
	_, known = Version(s.TLSMinVersion)
	complain(known, "tls-min-version", s.TLSMinVersion, "tls1.0, tls1.1, tls1.2 or tls1.3")
}

// RequiresTLS is who must use TLS: true is everybody, tcp-https all but plain
// HTTP, false nobody. As in nsqd, who asks for clients' certificates means
// everybody; but not who takes them as one way among several.
func (s *Settings) RequiresTLS() string {
	if s.TLSRequired == "false" && s.TLSClientAuthPolicy != "" && s.TLSClientAuthPolicy != IfGiven {
		return "true"
	}
	return s.TLSRequired
}

// TLSConfig returns what Server makes of the files; nil without a certificate.
func (s *Settings) TLSConfig(log *slog.Logger) (*tls.Config, error) {
	if s.TLSCert == "" {
		return nil, nil
	}
	return Server(Files{
		Cert: s.TLSCert, Key: s.TLSKey, RootCA: s.TLSRootCAFile,
		ClientAuth: s.TLSClientAuthPolicy, MinVersion: s.TLSMinVersion,
	}, log)
}

// required is the flag tls-required. As a flag it may be given without a value,
// as NSQ's.
type required string

func (r *required) String() string { return string(*r) }

// Get returns NSQ's number for it.
func (r *required) Get() any {
	return max(slices.Index([]string{"false", "tcp-https", "true"}, string(*r)), 0)
}

func (r *required) IsBoolFlag() bool { return true }

func (r *required) Set(v string) error {
	v = strings.ToLower(v)
	if v != "tcp-https" {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return errors.New("must be " + r.Expects())
		}
		v = strconv.FormatBool(b)
	}
	*r = required(v)
	return nil
}

// Expects says what is taken.
func (r *required) Expects() string { return "true, false or tcp-https" }

// version is the flag tls-min-version. Empty leaves it as it is, as in NSQ,
// whose example of a config file has it so.
type version string

func (v *version) String() string { return string(*v) }

// Get returns the number that TLS has for it.
func (v *version) Get() any {
	number, _ := Version(string(*v))
	return number
}

func (v *version) Set(text string) error {
	if text = strings.ToLower(text); text == "" {
		return nil
	}
	if _, known := Version(text); !known {
		return errors.New("must be " + v.Expects())
	}
	*v = version(text)
	return nil
}

// Expects says what is taken.
func (v *version) Expects() string { return "tls1.0, tls1.1, tls1.2 or tls1.3" }
