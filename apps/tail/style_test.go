package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/apps/internal/fields"
	"github.com/millrace-mq/millrace/apps/internal/record"
)

func TestStyle(t *testing.T) {
	at := time.Date(2026, 11, 20, 8, 0, 0, 123, time.UTC)
	tests := map[string]struct {
		style      style
		body, want string
	}{
		"as it is":          {style{}, "a\x1b[2J\xff\n", "a\x1b[2J\xff\n\n"},
		"with everything":   {style{topic: true, time: true, id: true}, "a", "2026-11-20T08:00:00.000000123Z 0123456789abcdef orders | a\n"},
		"topic alone":       {style{topic: true}, "a", "orders | a\n"},
		"JSON of it":        {style{format: record.JSON}, "a", `{"id":"0123456789abcdef","timestamp":1795161600000000123,"attempts":2,"topic":"orders","body":"a"}` + "\n"},
		"pretty":            {style{pretty: true}, `{"b":1.10,"a":[1e400,null]}`, "{\n  \"b\": 1.10,\n  \"a\": [\n    1e400,\n    null\n  ]\n}\n"},
		"pretty text":       {style{pretty: true}, `{"b":`, "{\"b\":\n"},
		"a number is text":  {style{pretty: true, color: true}, "12", "12\n"},
		"colour":            {style{color: true}, `{"k":"v\"","n":-1.5, "t" : true}`, "{\x1b[34m\"k\"\x1b[0m:\x1b[32m\"v\\\"\"\x1b[0m,\x1b[34m\"n\"\x1b[0m:\x1b[36m-1.5\x1b[0m, \x1b[34m\"t\"\x1b[0m : \x1b[36mtrue\x1b[0m}\n"},
		"terminal":          {style{visible: true}, "é\x1b]0;x\a\r\t\xff\u009b\u202e中", "é\\x1b]0;x\\x07\\x0d\t\\xff\\u{9b}\\u{202e}中\n"},
		"terminal and JSON": {style{visible: true, pretty: true, color: true}, "{\"a\":\"\u009b2J\x7f\"}", "{\n  \x1b[34m\"a\"\x1b[0m: \x1b[32m\"\\u{9b}2J\\x7f\"\x1b[0m\n}\n"},
		"empty":             {style{visible: true, pretty: true, color: true}, "", "\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := record.Record{ID: [16]byte([]byte("0123456789abcdef")), Timestamp: at, Attempts: 2, Topic: "orders", Body: []byte(tt.body)}
			if got := string(tt.style.append([]byte("before "), &m)); got != "before "+tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if string(m.Body) != tt.body {
				t.Errorf("the body was changed to %q", m.Body)
			}
		})
	}
}

// Whatever a message holds, a terminal sees no control character but ours.
func FuzzVisible(f *testing.F) {
	f.Add([]byte("{\"a\":\"\x1b[0m\u009b\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := style{visible: true, pretty: true}
		out := s.append(nil, &record.Record{Body: body})
		if i := bytes.IndexFunc(out, func(r rune) bool {
			return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == '\ufffd' && !bytes.Contains(body, []byte("\ufffd"))
		}); i >= 0 {
			t.Fatalf("%q shows %q", body, out)
		}
	})
}

func TestFilter(t *testing.T) {
	f := filter{texts: [][]byte{[]byte("fa"), []byte("id")}, fields: fields.Filter{{Field: "status", Value: "failed"}}}
	for body, want := range map[string]bool{
		`{"status":"failed","id":1}`: true,
		`{"status":"failed"}`:        false,
		`{"status":"fails","id":1}`:  false,
		`status failed id`:           false,
	} {
		if got := f.passes([]byte(body)); got != want {
			t.Errorf("%s passes: %t", body, got)
		}
	}
}
