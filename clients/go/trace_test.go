package millrace_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	millrace "github.com/millrace-mq/millrace/clients/go"
)

const (
	traceID    = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentID   = "00f067aa0ba902b7"
	known      = "00-" + traceID + "-" + parentID + "-01"
	knownState = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
)

// A publisher wraps what it publishes, and whoever consumes it goes on with the trace.
func ExampleWrapTrace() {
	parent, err := millrace.ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if err != nil {
		fmt.Println(err)
		return
	}
	published := millrace.WrapTrace([]byte("an order"), parent.String(), "vendor=1")

	body, traceparent, tracestate := millrace.UnwrapTrace(published)
	fmt.Printf("%s\n%s\n%s\n", body, traceparent, tracestate)

	received, err := millrace.ParseTraceparent(traceparent)
	child := received.Child() // of which the handler's span is made
	fmt.Println(err, child.TraceID == parent.TraceID, child.ParentID == parent.ParentID, child.Sampled)
	// Output:
	// an order
	// 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
	// vendor=1
	// <nil> true false true
}

func TestParseTraceparent(t *testing.T) {
	for in, want := range map[string]string{
		known:                                    known,
		"00-" + traceID + "-" + parentID + "-00": "00-" + traceID + "-" + parentID + "-00",
		"00-" + traceID + "-" + parentID + "-ff": known, // of the flags, one is known
		"00-" + traceID + "-" + parentID + "-02": "00-" + traceID + "-" + parentID + "-00",
		"01-" + traceID + "-" + parentID + "-01": known, // a version to come
		"cc-" + traceID + "-" + parentID + "-01-what the future will be like": known,
		"cc-" + traceID + "-" + parentID + "-01-":                             known,

		"":                         "",
		known[:54]:                 "",
		known + "-":                "", // of version 00, nothing follows
		known + "x":                "",
		"cc" + known[2:] + ".what": "", // nor, of a later one, without a dash
		"ff" + known[2:]:           "",
		"0" + known[1:54]:          "",
		"0x" + known[2:]:           "",
		strings.ToUpper(known):     "",
		"00-" + strings.ToUpper(traceID) + known[35:]: "",
		"00-" + strings.Repeat("0", 32) + known[35:]:  "",
		known[:36] + strings.Repeat("0", 16) + "-01":  "",
		strings.Replace(known, "-", "_", 1):           "",
		known[:35] + "_" + known[36:]:                 "",
		known[:52] + "_" + known[53:]:                 "",
		known[:53] + "0g":                             "",
		" " + known:                                   "",
	} {
		got, err := millrace.ParseTraceparent(in)
		if err != nil && (want != "" || !got.IsZero()) || err == nil && got.String() != want {
			t.Errorf("%q: %v, %v, want %q", in, got, err, want)
		}
	}
}

func TestNewTraceparent(t *testing.T) {
	a, b := millrace.NewTraceparent(true), millrace.NewTraceparent(false)
	if a.TraceID == b.TraceID || a.ParentID == b.ParentID || !a.Sampled || b.Sampled {
		t.Errorf("%v, %v", a, b)
	}
	for _, p := range []millrace.Traceparent{a, b, a.Child()} {
		if got, err := millrace.ParseTraceparent(p.String()); err != nil || got != p {
			t.Errorf("%v: %v, %v", p, got, err)
		}
	}
}

func TestWrapTrace(t *testing.T) {
	future := "cc-" + traceID + "-" + parentID + "-01-more"
	for _, c := range []struct{ parent, state, want string }{
		{known, "", "traceparent: " + known + "\n\nbody"},
		{known, knownState, "traceparent: " + known + "\ntracestate: " + knownState + "\n\nbody"},
		{future, "", "traceparent: " + future + "\n\nbody"},
		{known, "a\nb", "traceparent: " + known + "\n\nbody"},
		{known, strings.Repeat("x", 8193), "traceparent: " + known + "\n\nbody"},
		{"", knownState, "body"},
		{"no trace", knownState, "body"},
		{future + "\nx", "", "body"},
	} {
		got := millrace.WrapTrace([]byte("body"), c.parent, c.state)
		if string(got) != c.want {
			t.Errorf("%q, %q: %q, want %q", c.parent, c.state, got, c.want)
		}
	}
}

func TestUnwrapTrace(t *testing.T) {
	for in, want := range map[string][3]string{
		"traceparent: " + known + "\n\nbody":                                   {"body", known, ""},
		"traceparent: " + known + "\n\n":                                       {"", known, ""},
		"traceparent: " + known + "\n\n\nbody":                                 {"\nbody", known, ""},
		"traceparent: " + known + "\ntracestate: " + knownState + "\n\nbody":   {"body", known, knownState},
		"traceparent: " + known + "\n\ntracestate: " + knownState + "\n\nbody": {"tracestate: " + knownState + "\n\nbody", known, ""},
	} {
		body, parent, state := millrace.UnwrapTrace([]byte(in))
		if got := [3]string{string(body), parent, state}; got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, plain := range []string{
		"", "body", "traceparent: ", "traceparent: \n\nbody", "traceparent: " + known, "traceparent: " + known + "\n",
		"traceparent: " + known + "\nbody", "traceparent: " + known + "\r\n\r\nbody", "traceparent:" + known + "\n\nbody",
		"Traceparent: " + known + "\n\nbody", "traceparent: " + known + "\nother: x\n\nbody",
		"traceparent: " + known + "\ntracestate: a\x00\n\nbody", "traceparent: " + known + "\ntracestate: \n\nbody",
		"tracestate: x\n\nbody", "traceparent: 00" + known[2:54] + "\n\nbody",
	} {
		if body, parent, state := millrace.UnwrapTrace([]byte(plain)); string(body) != plain || parent != "" || state != "" {
			t.Errorf("%q: %q, %q, %q", plain, body, parent, state)
		}
	}
}

func FuzzTrace(f *testing.F) {
	f.Add([]byte("body"), known, knownState)
	f.Add([]byte("traceparent: "+known+"\n\nbody"), "cc"+known[2:]+"-x", "")
	f.Fuzz(func(t *testing.T, body []byte, parent, state string) {
		wrapped := millrace.WrapTrace(body, parent, state)
		got, gotParent, gotState := millrace.UnwrapTrace(wrapped)
		if bytes.Equal(wrapped, body) {
			return // there was no trace; what the body begins with is its own
		}
		if !bytes.Equal(got, body) || gotParent != parent || gotState != state && gotState != "" {
			t.Fatalf("%q with %q and %q came back as %q, %q, %q", body, parent, state, got, gotParent, gotState)
		}
		if p, err := millrace.ParseTraceparent(parent); err != nil || p.IsZero() {
			t.Fatalf("%q was wrapped: %v", parent, err)
		}
		// Whatever the bytes are, they come back whole or with a header taken off.
		rest, parent, _ := millrace.UnwrapTrace(body)
		if !bytes.HasSuffix(body, rest) || (parent == "") != (len(rest) == len(body)) {
			t.Fatalf("%q was unwrapped to %q", body, rest)
		}
	})
}
