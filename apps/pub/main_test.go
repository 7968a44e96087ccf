package main

import (
	"context"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/program"
)

func TestRefusedFlags(t *testing.T) {
	tests := map[string]struct{ args, want string }{
		"nothing":                {"", "topic: is needed, or topic-field\npub: qd-tcp-address: at least one is needed, or lookupd-http-address"},
		"topic":                  {"--topic=a/b --nsqd-tcp-address=a:1", `topic "a/b": not a valid name`},
		"address":                {"--topic=t --qd-tcp-address=nowhere", `"nowhere"`},
		"delimiter":              {`--topic=t --qd-tcp-address=a:1 --delimiter=\q`, `delimiter "\\q": \q: the escapes are`},
		"hex":                    {`--topic=t --qd-tcp-address=a:1 --delimiter=a\xa`, `\x must be followed by two`},
		"nothing between":        {`--topic=t --qd-tcp-address=a:1 --delimiter=`, `delimiter "": must not be empty`},
		"delimiter of JSON":      {`--topic=t --qd-tcp-address=a:1 --delimiter=, --format=json`, "delimiter: is for format raw"},
		"format":                 {`--topic=t --qd-tcp-address=a:1 --format=xml`, "must be raw, json or length-prefixed"},
		"mode":                   {`--topic=t --qd-tcp-address=a:1 --mode=one`, "must be all or spread"},
		"all that are not known": {`--topic=t --lookupd-http-address=a:1 --mode=all`, "mode all: needs to know every daemon"},
		"field of bytes":         {`--topic-field=t --qd-tcp-address=a:1 --format=length-prefixed`, "topic-field: needs records that are JSON"},
		"no file":                {`--topic=t --qd-tcp-address=a:1 --file=/nowhere/a`, "file: stat /nowhere/a: no such file"},
		"a folder":               {`--topic=t --qd-tcp-address=a:1 --file=/`, "file /: is a directory"},
		"failed":                 {`--topic=t --qd-tcp-address=a:1 --failed=/nowhere/a`, "failed: open /nowhere/a"},
		"packed":                 {`--topic=t --qd-tcp-address=a:1 --failed=/tmp/a.gz`, "is written plainly"},
		"defer":                  {`--topic=t --qd-tcp-address=a:1 --defer=-1s`, "defer -1s"},
		"rates":                  {`--topic=t --qd-tcp-address=a:1 --rate=NaN`, "rate NaN"},
		"option":                 {`--topic=t --qd-tcp-address=a:1 --producer-opt=nonsense`, "producer-opt \"nonsense\""},
		"standard input twice":   {`--topic=t --qd-tcp-address=a:1 --file=- --file=-`, "can be read once"},
		"rate":                   {"--topic=t --qd-tcp-address=a:1 --rate=-1", "rate -1"},
		"batch":                  {"--topic=t --qd-tcp-address=a:1 --batch=0", "batch 0"},
		"patience":               {"--topic=t --qd-tcp-address=a:1 --retry-for=-1s", "retry-for -1s"},
		"size":                   {"--topic=t --qd-tcp-address=a:1 --max-msg-size=0", "max-msg-size 0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			std := program.Stdio{In: strings.NewReader("a"), Out: &stdout, Err: &stderr}
			status := itself.Run(context.Background(), strings.Fields(tt.args), std)
			if status != 1 || !strings.Contains(stderr.String(), tt.want) || strings.Count(stderr.String(), "\n") != 1+strings.Count(tt.want, "\n") {
				t.Errorf("status %d, standard error %q, want a line for each complaint, with %q", status, stderr.String(), tt.want)
			}
		})
	}
}

func TestDelimiter(t *testing.T) {
	for text, want := range map[string]string{
		`\n`: "\n", `\r\n`: "\r\n", `\t\0`: "\t\x00", `\\`: `\`, `a\x7fb`: "a\x7fb", `\xFF\xff`: "\xff\xff", `--`: "--", `\`: `\`, // alone, as NSQ's tool has it
	} {
		if got, err := unescape(text); err != nil || string(got) != want {
			t.Errorf("%s is %q (%v), want %q", text, got, err, want)
		}
	}
	for _, text := range []string{`\x`, `\x1`, `\x 1`, `\x+1`, `\xg0`, `\n\`} {
		if got, err := unescape(text); err == nil {
			t.Errorf("%s is %q", text, got)
		}
	}
}
