package api_test

import (
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/qd/api"
	"github.com/millrace-mq/millrace/qd/broker"
	"github.com/millrace-mq/millrace/qd/peers"
)

func code(word string) string { return `{"message":"` + word + `"}` }

// lookupds stands for the links to lookupds.
type lookupds []string

func (l *lookupds) Addresses() []string { return *l }

// Links has the first linked, the second refused and the others new.
func (l *lookupds) Links() (all []peers.Link) {
	for i, a := range *l {
		link := peers.Link{Address: a}
		switch i {
		case 0:
			link.Linked, link.Version, link.Extended, link.Topics, link.Since = true, "1.3.0", true, 3, time.Unix(1, 0)
		case 1:
			link.LastError, link.Failures, link.Since = "refused", 2, time.Unix(1, 0)
		}
		all = append(all, link)
	}
	return all
}

func TestConfig(t *testing.T) {
	links, level := lookupds(nil), new(slog.LevelVar)
	d := start(t, func(_ *broker.Settings, c *api.Config) { c.Lookupds, c.Settings = &links, settingsOf(&links, level) })
	d.expect("GET", "/config/nsqlookupd_tcp_addresses", nil, 200, `[]`)
	d.expect("GET", "/config/log_level", nil, 200, `2`)
	d.expect("GET", "/config/none", nil, 400, code("INVALID_OPTION"))

	const addresses = `["127.0.0.1:4160","[::1]:4160","b.example:4160"]`
	d.expect("PUT", "/config/nsqlookupd_tcp_addresses", addresses, 200, addresses)
	d.expect("GET", "/config/nsqlookupd_tcp_addresses", nil, 200, addresses)
	d.expect("GET", "/lookupds", nil, 200, `{"lookupds":[`+
		`{"address":"127.0.0.1:4160","linked":true,"version":"1.3.0","extended":true,"topics":3,"tardy":false,"awaited_topics":0,`+
		`"last_error":"","failures":0,"since":1000000000},`+
		`{"address":"[::1]:4160","linked":false,"version":"","extended":false,"topics":0,"tardy":false,"awaited_topics":0,`+
		`"last_error":"refused","failures":2,"since":1000000000},`+
		`{"address":"b.example:4160","linked":false,"version":"","extended":false,"topics":0,"tardy":false,"awaited_topics":0,`+
		`"last_error":"","failures":0,"since":0}]}`)
	for _, bad := range []string{`x`, `"a:1"`, `[1]`} {
		d.expect("PUT", "/config/nsqlookupd_tcp_addresses", bad, 400, code("INVALID_VALUE"))
	}
	for bad, why := range map[string]string{
		`["a"]`:  `nsqlookupd-tcp-address \"a\": must be host:port, or the path of a socket file`,
		`["a:"]`: `nsqlookupd-tcp-address \"a:\": the port must be a number from 0 to 65535`,
	} {
		d.expect("PUT", "/config/nsqlookupd_tcp_addresses", bad, 400, code("INVALID_VALUE: "+why))
	}
	if want := []string{"127.0.0.1:4160", "[::1]:4160", "b.example:4160"}; !slices.Equal(links, want) {
		t.Errorf("addresses are %q, want %q", links, want)
	}
	d.expect("PUT", "/config/nsqlookupd_tcp_addresses", `[]`, 200, `[]`)

	for word, number := range map[string]string{"debug": "1", "INFO": "2", "warn": "3", "error": "4", "fatal": "5"} {
		d.expect("PUT", "/config/log_level", word, 200, number)
		d.expect("GET", "/config/log_level", nil, 200, number)
	}
	d.expect("PUT", "/config/log_level", "warn", 200, "3")
	d.expect("PUT", "/config/log_level", "loud", 400, code("INVALID_VALUE"))
	if level.Level() != slog.LevelWarn {
		t.Errorf("level is %s", level.Level())
	}

	d.expect("PUT", "/config/none", "", 413, code("INVALID_VALUE"))
	d.expect("PUT", "/config/none", strings.Repeat("x", maxMsgSize+1), 413, code("INVALID_VALUE"))
	d.expect("PUT", "/config/none", "x", 400, code("INVALID_OPTION"))
	d.expect("PUT", "/config/fixed", "2", 400, code("INVALID_OPTION: fixed needs a restart: set it in the config file"))
}

// few are settings that can be changed.
type few struct {
	lookupds program.Strings
	level    string
	origins  *program.Origins
	reread   func() (*few, error)
}

func (f *few) flags(fs *flag.FlagSet) {
	fs.Var(&f.lookupds, "nsqlookupd-tcp-address", "")
	program.Key(fs, "nsqlookupd_tcp_addresses", "nsqlookupd-tcp-address")
	fs.StringVar(&f.level, "log-level", f.level, "")
	fs.Int("fixed", 1, "")
}

func (f *few) validate() error {
	for _, a := range f.lookupds {
		if err := listen.CheckRemote(a); err != nil {
			return fmt.Errorf("nsqlookupd-tcp-address %w", err)
		}
	}
	_, err := program.ParseLevel(f.level)
	return err
}

// runs is the settings of a daemon that runs.
type runs struct {
	*program.Running[*lookupds, few]
}

func (r runs) List() []program.Setting { return r.Running.List(nil) }

func settingsOf(links *lookupds, level *slog.LevelVar) runs {
	kind := program.Kind[few]{
		Flags: (*few).flags, Validate: (*few).validate,
		Origins:  func(f *few) **program.Origins { return &f.origins },
		Reread:   func(f *few) func() (*few, error) { return f.reread },
		Together: func(*few) func() (program.Reloaded, error) { return nil },
	}
	return runs{program.NewRunning(links, few{level: "info"}, kind, []program.Row[*lookupds, few]{
		{Keys: []string{"nsqlookupd_tcp_addresses"}, Prepare: func(l *lookupds, to *few) (func(), error) {
			return func() { *l = lookupds(to.lookupds) }, nil
		}},
		{Keys: []string{"log_level"}, Prepare: func(_ *lookupds, to *few) (func(), error) {
			l, err := program.ParseLevel(to.level)
			return func() { level.Set(l) }, err
		}},
	})}
}

func TestNoOptionsWithoutTheirOwners(t *testing.T) {
	d := start(t, nil)
	for _, path := range []string{"/config/nsqlookupd_tcp_addresses", "/config/log_level"} {
		d.expect("GET", path, nil, 400, code("INVALID_OPTION"))
		d.expect("PUT", path, "info", 400, code("INVALID_OPTION"))
	}
}
