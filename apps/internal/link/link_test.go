package link

import (
	"crypto/tls"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	millrace "github.com/millrace-mq/millrace/clients/go"
	"github.com/millrace-mq/millrace/internal/secure/securetest"
)

func parse(t *testing.T, option string, args ...string) *Settings {
	t.Helper()
	s := new(Settings)
	fs := flag.NewFlagSet("p", flag.ContinueOnError)
	s.Declare(fs, option)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNSQsOptions(t *testing.T) {
	s := parse(t, "consumer-opt",
		"--consumer-opt=tls_v1", "--consumer-opt=tls-insecure-skip-verify,true", "--consumer-opt=tls_min_version,tls1.3",
		"--consumer-opt=msg_timeout,2m", "--consumer-opt=dial_timeout,1500", "--consumer-opt=max_attempts,7",
		"--consumer-opt=deflate", "--consumer-opt=deflate_level,9", "--consumer-opt=snappy,false", "--consumer-opt=low_rdy_timeout,5s")
	var log strings.Builder
	cfg := millrace.ReaderConfig{MaxAttempts: 1}
	if err := s.Reader(&cfg, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if cfg.TLS == nil || !cfg.TLS.InsecureSkipVerify || cfg.TLS.MinVersion != tls.VersionTLS13 {
		t.Errorf("TLS is %+v", cfg.TLS)
	}
	if cfg.MsgTimeout != 2*time.Minute || cfg.DialTimeout != 1500*time.Millisecond || cfg.MaxAttempts != 7 {
		t.Errorf("time-outs %v and %v, attempts %d", cfg.MsgTimeout, cfg.DialTimeout, cfg.MaxAttempts)
	}
	if cfg.Compression != millrace.Deflate || cfg.DeflateLevel != 9 {
		t.Errorf("compression %v, level %d", cfg.Compression, cfg.DeflateLevel)
	}
	if !strings.Contains(log.String(), "low_rdy_timeout") {
		t.Errorf("nothing was said of an option without effect: %q", &log)
	}
}

// A Writer takes the options that go-nsq knows, those of consumers too: they are one
// set there.
func TestOptionsOfAWriter(t *testing.T) {
	s := parse(t, "producer-opt", "--producer-opt=max_in_flight,5", "--producer-opt=client_id,me", "--producer-opt=lookupd_poll_interval,3s")
	var cfg millrace.WriterConfig
	if err := s.Writer(&cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if cfg.ClientID != "me" || cfg.LookupInterval != 3*time.Second || cfg.TLS != nil {
		t.Errorf("got %+v", cfg)
	}
}

func TestFlags(t *testing.T) {
	a, err := securetest.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, a.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	s := parse(t, "consumer-opt", "--tls-root-ca-file="+roots, "--auth-secret=s", "--compression=snappy")
	var cfg millrace.ReaderConfig
	if err := s.Reader(&cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if cfg.TLS == nil || cfg.TLS.RootCAs == nil || cfg.LookupTLS == nil || cfg.AuthSecret != "s" || cfg.Compression != millrace.Snappy {
		t.Errorf("got %+v", cfg.Connection)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct{ args, want string }{
		"unknown":         {"--consumer-opt=tls_v2", "no such option"},
		"boolean":         {"--consumer-opt=snappy,perhaps", "true or false"},
		"number":          {"--consumer-opt=max_attempts,many", "a whole number from 0 to 65535"},
		"duration":        {"--consumer-opt=msg_timeout,-1s", "a duration"},
		"version":         {"--consumer-opt=tls_min_version,ssl3", "tls1.2"},
		"key alone":       {"--tls-key=/k", "tls-cert and tls-key: give both"},
		"file":            {"--tls-root-ca-file=/nowhere/ca.pem", "/nowhere/ca.pem"},
		"all of them":     {"--consumer-opt=a --consumer-opt=b", "\"b\""},
		"secret in error": {"--auth-secret=hidden --consumer-opt=a", "no such option"},
	} {
		t.Run(name, func(t *testing.T) {
			err := parse(t, "consumer-opt", strings.Fields(c.args)...).Reader(new(millrace.ReaderConfig), slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
