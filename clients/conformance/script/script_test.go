package script

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/protocol"
)

func TestLines(t *testing.T) {
	ok := &Result{Kind: "ok"}
	id := protocol.FormatID(1).String()
	say := func(data []byte, answers int) Say { return Say{Daemon: "A", Data: data, Answers: answers} }
	frame := func(t protocol.FrameType, data string) []byte { return protocol.AppendFrame(nil, t, data) }
	message := protocol.AppendMessage(nil, sentAt, 3, 1, []byte("a"))
	tests := []struct {
		line string
		want Act
	}{
		{`writer w addresses=A,B linger=1ms`, Open{Client: "w", Settings: []Setting{{"addresses", "A,B"}, {"linger", "1ms"}}}},
		{`reader r topic="two words" -> error "topic"`, Open{
			Reader: true, Client: "r", Settings: []Setting{{"topic", "two words"}}, Result: &Result{"error", "topic"},
		}},
		{`w publishes orders "a"`, Publish{Client: "w", Form: One, Topic: "orders", Bodies: []string{"a"}}},
		{`w publishes "no name" "a" timeout=2s -> refused`, Publish{
			Client: "w", Form: One, Topic: "no name", Timeout: 2 * time.Second, Bodies: []string{"a"}, Result: &Result{Kind: "refused"},
		}},
		{`w publishes async each orders 1..3 "x"*4`, Publish{
			Client: "w", Form: Each, Async: true, Topic: "orders", Bodies: []string{"1", "2", "3", "xxxx"},
		}},
		{`w publishes blocking deferred 1s orders "\x00\""`, Publish{
			Client: "w", Form: Deferred, Async: true, Blocking: true, Delay: time.Second, Topic: "orders", Bodies: []string{"\x00\""},
		}},
		{`w publishes many orders`, Publish{Client: "w", Form: Many, Topic: "orders"}},
		{`w "a" "b" -> uncertain "EOF"`, Told{Client: "w", Bodies: []string{"a", "b"}, Result: Result{"uncertain", "EOF"}}},
		{`w flushes timeout=1s`, Call{Client: "w", Method: "flush", Timeout: time.Second}},
		{`r seeks earliest -> ok`, Call{Client: "r", Method: "seek", Place: "earliest", Result: ok}},
		{`r close -> ok`, Told{Client: "r", Method: "close", Result: *ok}},
		{`w accepts "a" "b"`, Accepts{"w", []string{"a", "b"}}},
		{`w lets go`, LetGo{"w"}},
		{`r receives "a" attempts=2`, Receives{Client: "r", Body: "a", Attempts: 2}},
		{`r gives up "a"`, Receives{Client: "r", GivenUp: true, Body: "a"}},
		{`r requeues "a" 2s`, Answer{Client: "r", How: "requeue", Body: "a", Delay: 2 * time.Second}},
		{`r panics "a"`, Answer{Client: "r", How: "panic", Body: "a"}},
		{`wraps "a" traceparent="p" -> "b"`, Trace{Given: "a", Traceparent: "p", Result: "b"}},
		{`unwraps "b" -> "a" traceparent="p" tracestate="s"`, Trace{
			Unwrap: true, Given: "b", Result: "a", GotTraceparent: "p", GotTracestate: "s",
		}},
		{`wait 10ms`, Wait{10 * time.Millisecond}},

		{`A accepts msg_timeout=1000 SUB orders c`, Accept{
			Daemon: "A", Changes: []Setting{{"msg_timeout", "1000"}}, Sub: []string{"orders", "c"},
		}},
		{`A accepts silently`, Accept{Daemon: "A", Silently: true}},
		{`A accepts deafly`, Accept{Daemon: "A", Deafly: true}},
		{`A welcomes millrace={"seek":true}`, Accept{Daemon: "A", Always: true, Changes: []Setting{{"millrace", `{"seek":true}`}}}},
		{`A welcomes but refuses AUTH E_AUTH_FAILED AUTH failed`, Accept{
			Daemon: "A", Always: true, Refuses: "AUTH", Refusal: "E_AUTH_FAILED AUTH failed",
		}},
		{`A welcomes but says "HTTP"`, Accept{Daemon: "A", Always: true, Says: "HTTP"}},
		{`A serves limit=10`, Accept{Daemon: "A", Always: true, Serves: true, Limit: 10}},
		{`A has "a" "b"`, ExpectStored{[]string{"A"}, []string{"a", "b"}}},
		{`A or B has 1..2`, ExpectStored{[]string{"A", "B"}, []string{"1", "2"}}},
		{`A <- end`, ExpectEnd{"A"}},
		{`A <- nothing for 50ms`, ExpectNothing{Daemon: "A", For: 50 * time.Millisecond}},
		{`A <- nobody for 50ms`, ExpectNothing{Daemon: "A", Nobody: true, For: 50 * time.Millisecond}},
		{`A <- IDENTIFY tls_v1=none`, Expect{[]string{"A"}, Command{Name: "IDENTIFY", Fields: []Setting{{"tls_v1", "none"}}}}},
		{`A or B <- PUB orders "a"`, Expect{[]string{"A", "B"}, Command{Name: "PUB", Args: []string{"orders"}, Bodies: []string{"a"}}}},
		{`it <- DPUB orders 1..9 "a"`, Expect{[]string{"it"}, Command{Name: "DPUB", Args: []string{"orders", "1..9"}, Bodies: []string{"a"}}}},
		{`A <- messages orders 1..2 in at most 2 commands`, Expect{[]string{"A"}, Command{
			Name: "messages", Args: []string{"orders"}, Bodies: []string{"1", "2"}, Gather: true, Commands: 2,
		}}},
		{`A <- RDY >=1`, Expect{[]string{"A"}, Command{Name: "RDY", Ready: Compare{">=", 1}}}},
		{`A <- REQ 1 5000`, Expect{[]string{"A"}, Command{Name: "REQ", Args: []string{id, "5000"}}}},
		{`A closes`, Break{"A", false}},
		{`A resets`, Break{"A", true}},
		{`A stops`, Power{"A", false}},

		{`A -> OK`, say(frame(protocol.FrameResponse, "OK"), 1)},
		{`A -> OK to all`, Say{Daemon: "A", ToAll: true}},
		{`A -> E_PUB_FAILED PUB failed disk full`, say(frame(protocol.FrameError, "E_PUB_FAILED PUB failed disk full"), 1)},
		{`A -> E_X a b | heartbeat`, say(append(frame(protocol.FrameError, "E_X a b"), frame(protocol.FrameResponse, "_heartbeat_")...), 1)},
		{`A -> json {"a":"b"}`, say(frame(protocol.FrameResponse, `{"a":"b"}`), 0)},
		{`A -> message 1 "a" attempts=3`, say(message, 0)},
		{`A -> bytewise message 1 "a" attempts=3`, Say{Daemon: "A", Data: message, Bytewise: true}},
		{`A -> 5 bytes of message 1 "a" attempts=3`, say(message[:5], 0)},
		{`A -> raw 00 ff 7`, nil},
		{`A -> below raw 00 ff`, Say{Daemon: "A", Data: []byte{0, 255}, Below: true}},
		{`A -> text "HTTP\r\n"`, say([]byte("HTTP\r\n"), 0)},
		{`A -> frame 7 "a | b"`, say(frame(7, "a | b"), 0)},

		{`L lists A,B@z@r`, Lookup{Lookupd: "L", Daemons: []Producer{{Daemon: "A"}, {"B", "z", "r"}}}},
		{`L2 knows nothing`, Lookup{Lookupd: "L2", How: LookupUnknown}},
		{`L answers 500 "no"`, Lookup{Lookupd: "L", How: LookupRaw, Status: 500, Body: "no"}},
		{`L hangs`, Lookup{Lookupd: "L", How: LookupHangs}},
		{`L is stock`, Lookup{Lookupd: "L", How: LookupStock}},
		{`L asked for /nodes`, Asked{"L", "/nodes"}},
		{`L starts`, Power{"L", true}},

		// What is not understood is no step, and not half a one.
		{`w publishes orders`, nil},
		{`w publishes orders "a" "b"`, nil},
		{`w publishes orders "a" -> well`, nil},
		{`w publishes orders "a`, nil},
		{`w "a" stored`, nil},
		{`w sings`, nil},
		{`r requeues "a"`, nil},
		{`A <- PUB orders`, nil},
		{`A <- RDY 1`, nil},
		{`A <- FIN one`, nil},
		{`A -> 99 bytes of OK`, nil},
		{`A -> OK OK`, nil},
		{`A accepts but refuses SUB E_X`, nil},
		{`A <- nothing`, nil},
		{`L lists x`, nil},
		{`someBody publishes`, nil},
	}
	for _, tt := range tests {
		got, err := parseLine(tt.line)
		switch {
		case tt.want == nil && err == nil:
			t.Errorf("%s\nis understood as %#v", tt.line, got)
		case tt.want != nil && (err != nil || !reflect.DeepEqual(got, tt.want)):
			t.Errorf("%s\nis  %#v, error %v\nnot %#v", tt.line, got, err, tt.want)
		}
	}
}

func TestParse(t *testing.T) {
	list, err := Parse(`# about it all
== one
not for python: it cannot
wait 1s

# about this line
wait 2s
== two
`)
	want := []Scenario{
		{Title: "one", Line: 2, Not: map[string]string{"python": "it cannot"}, Steps: []Step{
			{4, "wait 1s", Wait{time.Second}}, {7, "wait 2s", Wait{2 * time.Second}},
		}},
		{Title: "two", Line: 8, Not: map[string]string{}},
	}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("got %#v, error %v", list, err)
	}
}

func TestParseNamesEveryWrongLine(t *testing.T) {
	_, err := Parse("wait 1s\n== one\nwait\nA sings\nnot for go\n")
	if err == nil {
		t.Fatal("it is understood")
	}
	for _, want := range []string{"line 1:", "line 3: wait:", "line 4: A sings:", "line 5:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error has no %q: %v", want, err)
		}
	}
}

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		c    Compare
		n    int
		want bool
	}{
		{Compare{"=", 2}, 2, true}, {Compare{"=", 2}, 3, false},
		{Compare{">=", 2}, 3, true}, {Compare{">=", 2}, 1, false},
		{Compare{"<=", 2}, 1, true}, {Compare{"<=", 2}, 3, false},
	} {
		if tt.c.Holds(tt.n) != tt.want {
			t.Errorf("%d %s %d is not %t", tt.n, tt.c.Op, tt.c.N, tt.want)
		}
	}
}
