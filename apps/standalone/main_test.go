package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/internal/program/programtest"
)

// /config of both daemons says what the one program was told, and by whom.
func TestConfigOfBoth(t *testing.T) {
	out, in := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	var errs strings.Builder
	go func() {
		ended <- itself.Draining(t.Context(), setup).Run(ctx, []string{
			"--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--lookupd-tcp-address=127.0.0.1:0", "--lookupd-http-address=127.0.0.1:0",
			"--data-path=" + t.TempDir(), "--log-level=error", "--mem-limit=1000000",
		}, program.Stdio{Out: in, Err: &errs})
		in.Close()
	}()
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, &errs)
	}
	go io.Copy(io.Discard, said)
	where := regexp.MustCompile(`HTTP on (\S+), lookupd on (\S+),`).FindStringSubmatch(line)
	if where == nil {
		t.Fatal(line)
	}
	queues, lookup := sources(t, where[1]), sources(t, where[2])
	for _, tt := range []struct {
		of        map[string]program.Setting
		key, text string
		source    program.Source
		byDefault string
	}{
		{queues, "mem_limit", "1000000", program.FromFlag, ""},
		{queues, "log_level", "error", program.FromFlag, "warn"},
		{queues, "drain_timeout", "5s", program.FromDefault, "5s"},
		{queues, "msg_timeout", "1m0s", program.FromDefault, "1m0s"},
		{queues, "tcp_address", "127.0.0.1:0", program.FromFlag, "127.0.0.1:4150"},
		{lookup, "tcp_address", "127.0.0.1:0", program.FromFlag, "127.0.0.1:4160"},
		{lookup, "http_address", "127.0.0.1:0", program.FromFlag, "127.0.0.1:4161"},
		{lookup, "log_level", "error", program.FromFlag, "warn"},
		{lookup, "tombstone_lifetime", "45s", program.FromDefault, "45s"},
	} {
		s := tt.of[tt.key]
		if s.Text != tt.text || s.Source != tt.source || tt.byDefault != "" && s.DefaultText != tt.byDefault {
			t.Errorf("%s: %+v, want %s from %s", tt.key, s, tt.text, tt.source)
		}
	}
	if s := queues["data_path"]; s.DefaultText != "data" || s.Source != program.FromFlag {
		t.Errorf("%+v", s)
	}
	stop()
	if status := <-ended; status != 0 {
		t.Errorf("status %d: %s", status, &errs)
	}
}

// sources are the settings of the daemon whose HTTP face is at an address.
func sources(t *testing.T, address string) map[string]program.Setting {
	t.Helper()
	r, err := http.Get("http://" + address + "/config")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	var list struct{ Settings []program.Setting }
	if err := errors.Join(json.NewDecoder(r.Body).Decode(&list), r.Body.Close()); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]program.Setting)
	for _, s := range list.Settings {
		all[s.Key] = s
	}
	return all
}

// What --print-config prints is a config file that means the same, whatever is in it.
func TestPrintedIsRead(t *testing.T) {
	programtest.RoundTrip(t, itself.Draining(t.Context(), setup),
		`--admin-http-address=`,
		`--access-file=a`,
		`--token-file=t`,
		`--audit-file=/dev/null`,
		`--durability=memory`,
		`--min-free-disk=0`,
	)
}
