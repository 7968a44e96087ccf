package main

import (
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	type to struct{ body, topic string }
	plain := decoder{field: "t", limit: 100}
	otherwise := decoder{field: "t", topic: "other", limit: 100}
	wrapped := decoder{wrapped: true, topic: "other", limit: 10}
	back := decoder{wrapped: true, field: "topic", limit: 10}
	tests := map[string]struct {
		d      *decoder
		record string
		want   to
		err    string
	}{
		"a field":                    {&plain, `{"a":{"t":"no"},"t":"yes"}`, to{`{"a":{"t":"no"},"t":"yes"}`, "yes"}, ""},
		"escaped":                    {&plain, `{"\u0074":"\u0079es"}`, to{`{"\u0074":"\u0079es"}`, "yes"}, ""},
		"no field":                   {&plain, `{"a":1}`, to{}, `the field "t" is not in it`},
		"no field, a topic":          {&otherwise, `{"a":1}`, to{`{"a":1}`, "other"}, ""},
		"a number":                   {&plain, `{"t":1}`, to{}, `the field "t" is not a string`},
		"a number, a topic":          {&otherwise, `{"t":1}`, to{`{"t":1}`, "other"}, ""},
		"an empty name":              {&plain, `{"t":""}`, to{}, `the field "t" is not in it`},
		"a bad name":                 {&plain, `{"t":"a b"}`, to{}, `the field "t" is "a b": not a valid name`},
		"a bad name, a topic":        {&otherwise, `{"t":"a b"}`, to{`{"t":"a b"}`, "other"}, ""},
		"a very long name":           {&plain, `{"t":"` + strings.Repeat("x", 65) + `"}`, to{}, "not a valid name"},
		"no JSON":                    {&plain, "hello", to{}, "not a JSON object"},
		"no JSON, a topic":           {&otherwise, "hello", to{"hello", "other"}, ""},
		"half":                       {&plain, `{"t":"yes"`, to{}, "not a JSON object"},
		"half, a topic":              {&otherwise, `{"t":"yes"`, to{`{"t":"yes"`, "other"}, ""},
		"more":                       {&plain, `{"t":"yes"} {}`, to{}, "not a JSON object: something is behind it"},
		"a list":                     {&plain, `["t","yes"]`, to{}, "not a JSON object: it is of another kind"},
		"twice":                      {&plain, `{"t":"yes","t":"no"}`, to{}, "duplicate"},
		"deep":                       {&plain, strings.Repeat(`{"a":`, 20000), to{}, "not a JSON object"},
		"text":                       {&wrapped, `{"id":"x","attempts":1,"topic":"t","body":"a\u0000\n\"ä"}`, to{"a\x00\n\"ä", "other"}, ""},
		"bytes":                      {&wrapped, `{"body_base64":"AP8K"}`, to{"\x00\xff\n", "other"}, ""},
		"where it was":               {&back, `{"topic":"t","body":"a"}`, to{"a", "t"}, ""},
		"where it was not":           {&back, `{"body":"a"}`, to{}, `the field "topic" is not in it`},
		"no body":                    {&wrapped, `{"topic":"t"}`, to{}, "neither body nor body_base64 is in it"},
		"an empty body":              {&wrapped, `{"body":""}`, to{"", "other"}, ""},
		"a body of another kind":     {&wrapped, `{"body":{}}`, to{}, "body: is not a string"},
		"no base64":                  {&wrapped, `{"body_base64":"?"}`, to{}, "body_base64: illegal"},
		"bytes that are no text":     {&wrapped, "{\"body\":\"\xff\"}", to{}, "invalid UTF-8"},
		"half a character":           {&wrapped, `{"body":"\ud800"}`, to{}, "surrogate"},
		"a body that is too long":    {&wrapped, `{"body":"12345678901"}`, to{}, "11 bytes are more than the 10"},
		"a body that is long enough": {&wrapped, `{"body":"\u0061234567890"}`, to{"a234567890", "other"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := tt.d.decode([]byte(tt.record))
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			if got := (to{string(m.body), m.topic}); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
