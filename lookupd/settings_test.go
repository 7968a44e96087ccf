package lookupd_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/program"
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
		InactiveProducerTimeout: time.Second, TombstoneLifetime: 2 * time.Second, PeerTimeout: time.Minute, LogLevel: "debug", LogFormat: "auto",
		Settings: secure.Settings{
			HTTPSAddress: "10.0.0.1:3", TLSCert: "c", TLSKey: "k", TLSRootCAFile: "r", TLSClientAuthPolicy: "require",
			TLSRequired: "tcp-https", TLSMinVersion: "tls1.3",
		},
	}
	if !reflect.DeepEqual(s, want) {
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
		"tls-client-auth-policy ask: must be require, require-verify or verify-if-given",
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

// GET /config lists all settings, and who has decided on each.
func TestConfigIsListed(t *testing.T) {
	s := lookupd.DefaultSettings()
	s.TCPAddress, s.HTTPAddress = "127.0.0.1:0", "127.0.0.1:0"
	fs := flag.NewFlagSet("lookupd", flag.ContinueOnError)
	s.Flags(fs)
	origins := program.OriginsOf(fs)
	if err := fs.Parse([]string{"--tombstone-lifetime=1m"}); err != nil {
		t.Fatal(err)
	}
	s.Origins = origins()
	d, err := lookupd.Listen(s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	r, err := http.Get("http://" + d.HTTPAddr().String() + "/config")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Settings []program.Setting }
	err = errors.Join(json.NewDecoder(r.Body).Decode(&list), r.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v", r.StatusCode, err)
	}
	if len(list.Settings) != len(program.Options(fs)) {
		t.Errorf("%d settings are listed, want %d", len(list.Settings), len(program.Options(fs)))
	}
	want := map[string]string{
		"tombstone_lifetime": "{tombstone_lifetime 6e+10 4.5e+10 flag 1m0s 45s true}",
		"log_level":          "{log_level 2 2 default info info true}",
		"broadcast_address":  "{broadcast_address 127.0.0.1  default 127.0.0.1  false}", // as it was found out
	}
	for _, s := range list.Settings {
		if w, ok := want[s.Key]; ok && fmt.Sprint(s) != w {
			t.Errorf("%v, want %s", s, w)
		}
		delete(want, s.Key)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
