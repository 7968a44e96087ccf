package program

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// listed declares what knobs does and more, and has the program list its settings.
func listed(fs *flag.FlagSet, std Stdio) func(context.Context) error {
	knobs(fs, std)
	Alias(fs, "size", "queue-size")
	fs.String("tls-key", "", "`file`")
	fs.String("token", "", "not a secret by its name")
	fs.String("auth-token", "", "one")
	fs.String("webhook", "", "`URL`")
	fs.String("notify-endpoint", "", "`URL`")
	fs.String("log-level", "info", "`level`")
	origins := OriginsOf(fs)
	return func(context.Context) error {
		for _, s := range origins().List(fs) {
			if s.Source != FromDefault || s.Text != s.DefaultText {
				text, err := json.Marshal(s)
				if err != nil {
					return err
				}
				fmt.Fprintf(std.Out, "%s\n", text)
			}
		}
		return nil
	}
}

func TestOrigins(t *testing.T) {
	for name, c := range map[string]struct{ environment, file, args, want string }{
		"nothing is said": {},
		"flags": {args: "--queue-size=9 -on --peer-address=a --peer-address=b", want: `
{"key":"on","value":true,"default":false,"source":"flag","text":"true","default_text":"false"}
{"key":"peer_addresses","value":["a","b"],"default":[],"source":"flag","text":"a,b","default_text":""}
{"key":"queue_size","value":9,"default":7,"source":"flag","text":"9","default_text":"7"}`},
		"another spelling": {args: "--size=9 --peer_addresses=a", want: `
{"key":"peer_addresses","value":["a"],"default":[],"source":"flag","text":"a","default_text":""}
{"key":"queue_size","value":9,"default":7,"source":"flag","text":"9","default_text":"7"}`},
		"the default, said": {args: "--queue-size=7", want: `
{"key":"queue_size","value":7,"default":7,"source":"flag","text":"7","default_text":"7"}`},
		"file": {file: "wait_time = 90000\npeer_addresses = ['a']\nid = 7", want: `
{"key":"peer_addresses","value":["a"],"default":[],"source":"file","text":"a","default_text":""}
{"key":"wait_time","value":90000000000,"default":1000000000,"source":"file","text":"1m30s","default_text":"1s"}`},
		"a flag wins over the file": {file: "queue_size = 8\nshare = 0.5", args: "--size=9", want: `
{"key":"queue_size","value":9,"default":7,"source":"flag","text":"9","default_text":"7"}
{"key":"share","value":0.5,"default":0.5,"source":"file","text":"0.5","default_text":"0.5"}`},
		"the environment": {environment: "P_QUEUE_SIZE=9", file: "queue_size = 8\npeer_addresses = []", want: `
{"key":"peer_addresses","value":[],"default":[],"source":"file","text":"","default_text":""}
{"key":"queue_size","value":9,"default":7,"source":"environment","text":"9","default_text":"7"}`},
		"levels are NSQ's numbers": {args: "--log-level=WARN", want: `
{"key":"log_level","value":3,"default":2,"source":"flag","text":"WARN","default_text":"info"}`},
		"secrets": {args: "--tls-key=/run/key --auth-token=t0k3n --token=x", want: `
{"key":"auth_token","value":"***","default":"","source":"flag","text":"***","default_text":""}
{"key":"tls_key","value":"***","default":"","source":"flag","text":"***","default_text":""}
{"key":"token","value":"x","default":"","source":"flag","text":"x","default_text":""}`},
		"secrets in URLs": {args: "--webhook=https://u:p,w@h.example:1/a?key=k --peer-address=h:1,http://u@h/?a,http://h/b", want: `
{"key":"peer_addresses","value":["h:1","http://***@h/?***","http://h/b"],"default":[],"source":"flag","text":"h:1,http://***@h/?***,http://h/b","default_text":""}
{"key":"webhook","value":"https://***@h.example:1/a?***","default":"","source":"flag","text":"https://***@h.example:1/a?***","default_text":""}`},
		"a webhook's path is its secret": {args: "--notify-endpoint=https://u:p@hooks.example/services/T0/B0?key=k", want: `
{"key":"notify_endpoint","value":"https://***@hooks.example/***","default":"","source":"flag","text":"https://***@hooks.example/***","default_text":""}`},
		"no URL though it looks like one": {args: "--webhook=http://u:p", want: `
{"key":"webhook","value":"***","default":"","source":"flag","text":"***","default_text":""}`},
	} {
		t.Run(name, func(t *testing.T) {
			args := strings.Fields(c.args)
			if name, value, set := strings.Cut(c.environment, "="); set {
				t.Setenv(name, value)
			}
			if c.file != "" {
				path := filepath.Join(t.TempDir(), "p.cfg")
				if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--config="+path)
			}
			var out, errs strings.Builder
			status := Program{Name: "p", Synopsis: "tests", Setup: listed}.Run(t.Context(), args, Stdio{Out: &out, Err: &errs})
			if got := "\n" + strings.TrimSpace(out.String()); status != 0 || strings.TrimSpace(got) != strings.TrimSpace(c.want) {
				t.Errorf("status %d, said %q, lists%s\nwant%s", status, errs.String(), got, c.want)
			}
		})
	}
}

// A part of a program knows some of its settings by other keys, and of others that
// nobody could choose them.
func TestOriginsOfAPart(t *testing.T) {
	whole := flag.NewFlagSet("p", flag.ContinueOnError)
	whole.Duration("part-time", time.Minute, "")
	origins := OriginsOf(whole)
	if err := parse(whole, []string{"--part-time=2m"}); err != nil {
		t.Fatal(err)
	}
	part := flag.NewFlagSet("", flag.ContinueOnError)
	part.Duration("time", 2*time.Minute, "")
	part.Int("size", 5, "")
	named := origins().Renamed(map[string]string{"time": "part_time", "size": "part_size"})
	for who, all := range map[string][]Setting{"the part": named.List(part), "nobody": (*Origins)(nil).List(part)} {
		got := fmt.Sprint(all)
		want := "[{size 5 5 default 5 5 false} {time 2m0s 1m0s flag 2m0s 1m0s false}]"
		if who == "nobody" {
			want = "[{size 5 5 default 5 5 false} {time 2m0s 2m0s default 2m0s 2m0s false}]"
		}
		if got != want {
			t.Errorf("by what %s knows it is %s, want %s", who, got, want)
		}
	}
}
