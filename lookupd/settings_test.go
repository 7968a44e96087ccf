package lookupd_test

import (
	"flag"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/secure"
	"github.com/millrace-mq/millrace/lookupd"
)

func TestFlagsSetSettings(t *testing.T) {
	s := lookupd.DefaultSettings()
	fs := flag.NewFlagSet("lookupd", flag.ContinueOnError)
	s.Flags(fs)
	err := fs.Parse([]string{
		"--tcp-address=10.0.0.1:1", "--tcp-address=/run/l.sock", "-http-address", "10.0.0.1:2", "--broadcast-address=b",
		"--unix-socket-mode=0600", "--log-prefix=[l] ",
		"--inactive-producer-timeout=1s", "--tombstone-lifetime=2s", "--peer-timeout=1m", "--log-level=debug",
		"--https-address=10.0.0.1:3", "--tls-cert=c", "--tls-key=k", "--tls-root-ca-file=r", "--tls-client-auth-policy=require",
		"--tls-required=tcp-https", "--tls-min-version=tls1.3",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := lookupd.Settings{
		TCPAddress: "10.0.0.1:1,/run/l.sock", UnixSocketMode: 0o600, LogPrefix: "[l] ", HTTPAddress: "10.0.0.1:2", BroadcastAddress: "b",
		InactiveProducerTimeout: time.Second, TombstoneLifetime: 2 * time.Second, PeerTimeout: time.Minute, LogLevel: "debug",
		Settings: secure.Settings{
			HTTPSAddress: "10.0.0.1:3", TLSCert: "c", TLSKey: "k", TLSRootCAFile: "r", TLSClientAuthPolicy: "require",
			TLSRequired: "tcp-https", TLSMinVersion: "tls1.3",
		},
	}
	if s != want {
		t.Errorf("got %+v", s)
	}
}

func TestValidateTellsEverything(t *testing.T) {
	if err := lookupd.DefaultSettings().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	s := lookupd.Settings{TCPAddress: "4160", HTTPAddress: "h:99999", TombstoneLifetime: -1, LogLevel: "loud"}
	s.BroadcastAddress = "[::]"
	s.HTTPSAddress, s.TLSKey, s.TLSRequired, s.TLSMinVersion, s.TLSClientAuthPolicy = "4162", "k", "true", "ssl3", "ask"
	err := s.Validate()
	if err == nil {
		t.Fatal("nothing is wrong with", s)
	}
	for _, complaint := range []string{
		`tcp-address "4160": must be host:port`,
		`http-address "h:99999": the port must be`,
		`broadcast-address "[::]": stands for every address, so nobody can connect to it`,
		"inactive-producer-timeout 0s: must be positive",
		"tombstone-lifetime -1ns: must not be negative",
		"peer-timeout 0s: must be 30s at least",
		`https-address "4162": must be host:port`,
		`tls-cert "": must be given together with --tls-key`,
		"tls-required true: must be given together with --tls-cert",
		"tls-min-version ssl3: must be tls1.0",
		"tls-client-auth-policy ask: must be require or require-verify",
		`log-level "loud": must be debug`,
	} {
		if !strings.Contains(err.Error(), complaint) {
			t.Errorf("%q is not in %q", complaint, err)
		}
	}
	if _, listened := lookupd.Listen(s, slog.New(slog.DiscardHandler)); listened == nil || listened.Error() != err.Error() {
		t.Errorf("Listen says %v", listened)
	}
}
