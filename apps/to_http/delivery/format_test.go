package delivery

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/apps/to_http/pool"
)

func TestFormats(t *testing.T) {
	tests := []struct {
		f        Format
		bodies   string // with bars between
		verdicts string
		came     string
	}{
		{Raw, "a\nb", "+", "a\nb"},
		{Newline, "a", "+", "a\n"},
		{Newline, "a||b\r|\x00", "++++", "a\n\nb\r\n\x00\n"},
		{Newline, "a|b\nc|d\n|e", "+--+", "a\ne\n"},
		{Newline, "\n", "-", ""},
		{JSONArray, `{"a": 1}|2|"x"|[]|null`, "+++++", `[{"a": 1},2,"x",[],null]`},
		{JSONArray, `1|x||{}}|1,2|3`, "+----+", `[1,3]`},
		{JSONArray, "{\n}", "+", "[{\n}]"},
	}
	for _, tt := range tests {
		g := newRig(pool.HostPool, tt.f, takes)
		g.check(t, tt.verdicts, false, strings.Split(tt.bodies, "|"), tt.came)
	}
}

func TestFormatJSON(t *testing.T) {
	g := newRig(pool.HostPool, JSON, takes)
	g.send("héllo <\"\n", "\xff\x00", "")
	came := g.servers[0].take()
	var objects []map[string]any
	if err := json.Unmarshal([]byte(came), &objects); err != nil {
		t.Fatalf("%v: %s", err, came)
	}
	wanted := []map[string]any{{"body": "héllo <\"\n"}, {"body_base64": "/wA="}, {"body": ""}}
	for i, o := range objects {
		if o["topic"] != "t" || o["attempts"] != 3.0 || o["timestamp"] != 1e9+7 || o["id"] == "" {
			t.Errorf("object %d: %v", i, o)
		}
		for _, name := range []string{"body", "body_base64"} {
			if o[name] != wanted[i][name] {
				t.Errorf("object %d: %s is %v, want %v", i, name, o[name], wanted[i][name])
			}
		}
	}
	if len(objects) != 3 || !strings.Contains(came, `<`) {
		t.Errorf("came %s", came)
	}
}

func TestHeaders(t *testing.T) {
	g := newRig(pool.HostPool, Newline, takes)
	g.send("a")
	g.send("b", "c")
	g.Headers = false
	g.send("d")
	wanted := []map[string]string{
		{
			"X-Millrace-Topic": "t", "X-Millrace-Channel": "c", "X-Millrace-Messages": "1", "X-Millrace-Attempts": "3",
			"X-Millrace-Timestamp": "1000000007", "X-Millrace-Message-Id": "a...............",
		},
		{"X-Millrace-Topic": "t", "X-Millrace-Channel": "c", "X-Millrace-Messages": "2"},
		{},
	}
	for i, h := range g.servers[0].headers {
		if len(h) != len(wanted[i]) {
			t.Errorf("request %d: %v", i, h)
		}
		for name, value := range wanted[i] {
			if got := http.Header(h).Get(name); got != value {
				t.Errorf("request %d: %s is %q, want %q", i, name, got, value)
			}
		}
	}
}

func TestParseFormat(t *testing.T) {
	for i, name := range Formats {
		if f, err := ParseFormat(name); err != nil || f != Format(i+1) {
			t.Errorf("%s: %d, %v", name, f, err)
		}
	}
	if _, err := ParseFormat("raw"); err == nil {
		t.Error("an unknown format was taken")
	}
}
