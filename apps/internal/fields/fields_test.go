package fields_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/apps/internal/fields"
)

func TestMatch(t *testing.T) {
	const body = `{"name":"ada","age":42,"big":12345678901234567890,"x":{"y":{"z":"deep"},"n":1.50},"a.b":"dotted","a":{"c":true},
		"list":[{"z":1}],"nothing":null,"caf\u00e9":"\u0068\ud83d\ude00","":"empty","dup":1,"dup":2,"o":{}}`
	tests := []struct {
		conditions string // comma-separated
		want       bool
	}{
		{"name", true}, {"nam", false}, {"name=ada", true}, {"name=Ada", false}, {"name=", false}, {"name.x", false},
		{"age=42", true}, {"age=42.0", true}, {"age=4.2e1", true}, {"age=+42", true}, {"age=420E-1", true}, {"age=43", false}, {"age=4 2", false},
		{"big=12345678901234567890", true}, {"big=12345678901234567891", false},
		{"x.y.z=deep", true}, {"x.n=1.5", true}, {"x.y", true}, {"x.y=deep", false}, {"x", true}, {"x.z", false}, {"y", false},
		{"a.b=dotted", true}, {"a.c=true", true}, {"a.c=false", false}, {"list", true}, {"list.z", false}, {`list=[{"z":1}]`, false},
		{"nothing", true}, {"nothing=null", true}, {"nothing=", false}, {"café=h😀", true}, {"dup=2", true}, {"dup=1", false}, {"o", true}, {"o.", false},
		{"name=ada,age=42", true}, {"name=ada,age=41", false}, {"x.y.z=deep,x.n=1.5,x", true}, {"x.y.z=deep,x.n=1.5,x.q", false}, {"name,name=ada", true},
	}
	for _, test := range tests {
		var f fields.Filter
		for text := range strings.SplitSeq(test.conditions, ",") {
			c, err := fields.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			f = append(f, c)
		}
		if got, err := f.Match([]byte(body)); got != test.want || err != nil {
			t.Errorf("%s: %v, %v; want %v", test.conditions, got, err, test.want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, text := range []string{"", "=x"} {
		if c, err := fields.Parse(text); err == nil {
			t.Errorf("%q is %+v, want an error", text, c)
		}
	}
	for text, want := range map[string]fields.Condition{
		"a": {Field: "a", Any: true}, "a=": {Field: "a"}, "a=b=c": {Field: "a", Value: "b=c"}, "a.b= ": {Field: "a.b", Value: " "},
	} {
		if got, err := fields.Parse(text); got != want || err != nil {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// TestNoObject: what is no JSON object to its end is an error, for a filter without conditions too.
func TestNoObject(t *testing.T) {
	for _, body := range []string{"", " ", "{", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,}`, `{"a":1}}`, `{"a":1} {"a":1}`, `{"a":1}x`, `{'a':1}`, `{"a":01}`, `{"a":nul}`,
		`{"a":"` + "\n" + `"}`, "nonsense", `{"b":{"c":[}}`, "[1", `{"a" 1}`} {
		for _, f := range []fields.Filter{nil, {{Field: "a", Any: true}}, {{Field: "b.c"}}} {
			if ok, err := f.Match([]byte(body)); ok || err == nil || errors.Is(err, fields.ErrNotObject) {
				t.Errorf("%q: %v, %v", body, ok, err)
			}
		}
		if out, err := fields.Append([]byte("before"), []byte(body), []string{"a", "b.c"}); string(out) != "before" || err == nil {
			t.Errorf("%q: %q, %v", body, out, err)
		}
	}
	for _, body := range []string{"1", "null", `"a"`, `[{"a":1}]`, " true "} {
		if ok, err := (fields.Filter{}).Match([]byte(body)); ok || !errors.Is(err, fields.ErrNotObject) {
			t.Errorf("%q: %v, %v", body, ok, err)
		}
	}
	if ok, err := (fields.Filter{}).Match([]byte(" {} \n")); !ok || err != nil {
		t.Errorf("an empty object: %v, %v", ok, err)
	}
}

func TestAppend(t *testing.T) {
	const body = ` { "b" : 1e400, "a":{"x": [1, 2] ,"y":{"q":-0.0},"z":"\u00e9\/"},"c.d":1,"c":{"d":2,"e":3},"\u0065":12345678901234567890, "b":2 } `
	tests := []struct{ names, want string }{
		{"b", `{"b":1e400,"b":2}`},
		{"none", `{}`},
		{"e,a", `{"a":{"x": [1, 2] ,"y":{"q":-0.0},"z":"\u00e9\/"},"\u0065":12345678901234567890}`},
		{"a.z,a.x", `{"a":{"x":[1, 2],"z":"\u00e9\/"}}`},
		{"a.y.q,c.d", `{"a":{"y":{"q":-0.0}},"c.d":1,"c":{"d":2}}`},
		{"a.none,c.e,b.none", `{"c":{"e":3}}`},
		{"a.y.none,a.none", `{}`},
		{"a,a.x", `{"a":{"x": [1, 2] ,"y":{"q":-0.0},"z":"\u00e9\/"}}`},
	}
	for _, test := range tests {
		got, err := fields.Append([]byte("{"), []byte(body), strings.Split(test.names, ","))
		if string(got) != "{"+test.want || err != nil {
			t.Errorf("%s:\n%s, %v\nwant\n{%s", test.names, got, err, test.want)
		}
	}
}

// TestDeep: an object that is deeper than a reader of JSON goes is an error, and costs no stack.
func TestDeep(t *testing.T) {
	body := bytes.Repeat([]byte(`{"a":`), 1_000_000)
	path := strings.TrimSuffix(strings.Repeat("a.", 1000), ".")
	if _, err := (fields.Filter{{Field: path, Any: true}}).Match(body); err == nil {
		t.Error("no error")
	}
	if _, err := fields.Append(nil, body, []string{path}); err == nil {
		t.Error("no error")
	}
}

// FuzzFields compares with encoding/json: what it takes for an object is one here, a field at
// the top is found if it finds it, and what is kept has its value.
func FuzzFields(f *testing.F) {
	for _, body := range []string{`{"a":1}`, `{"a":{"b":[1,{"a":2}]},"c":"\u0041"}`, ` {"a":"x","a":null} `, `{"a":1e5,"A":2}`, `[]`, `{"a":"` + "\xff" + `"}`, `{"a.b":1,"a":{"b":2}}`} {
		f.Add([]byte(body), "a", "1")
		f.Add([]byte(body), "a.b", "2")
	}
	f.Fuzz(func(t *testing.T, body []byte, name, value string) {
		given := bytes.Clone(body)
		ok, err := fields.Filter{{Field: name, Any: true}}.Match(body)
		_, wrong := fields.Filter{{Field: name, Value: value}}.Match(body)
		out, failed := fields.Append(nil, body, []string{name})
		if !bytes.Equal(body, given) {
			t.Fatal("the body has changed")
		}
		if (err == nil) != (wrong == nil) || (err == nil) != (failed == nil) {
			t.Fatalf("%v, %v, %v", err, wrong, failed)
		}
		var all map[string]json.RawMessage
		if refused := json.Unmarshal(body, &all); (err == nil) != (refused == nil && all != nil) {
			t.Fatalf("%q: %v, encoding/json: %v", body, err, refused)
		}
		if err != nil {
			return
		}
		var kept map[string]json.RawMessage
		if err := json.Unmarshal(out, &kept); err != nil {
			t.Fatalf("%q leaves %q: %v", body, out, err)
		}
		if ok != (len(kept) > 0) {
			t.Fatalf("%q: found is %v, kept is %q", body, ok, out)
		}
		if _, there := all[name]; there && (!ok || !same(all[name], kept[name])) {
			t.Fatalf("%q leaves %q", body, out)
		}
		again, err := fields.Append(nil, out, []string{name})
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%q, again %q, %v", out, again, err)
		}
	})
}

func same(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y) || bytes.Equal(a, b)
}

func BenchmarkMatch(b *testing.B) {
	body := []byte(`{"id":42,"user":{"name":"ada","tags":["x","y"]},"text":"some words that nobody looks for"}`)
	f := fields.Filter{{Field: "user.name", Value: "ada"}}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := f.Match(body); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
