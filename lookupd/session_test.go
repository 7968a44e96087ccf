package lookupd_test

import (
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/lookupd"
	"github.com/millrace-mq/millrace/protocol"
)

// sized is a body size as IDENTIFY has it.
func sized(n int32) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

func TestErrorsEndTheConversation(t *testing.T) {
	d := start(t)
	const long = "01234567890123456789012345678901234567890123456789012345678901234"
	for name, c := range map[string]struct {
		joined      bool
		magic, send string // the magic is V1's unless given
		want        string // "" for a connection closed without a word
		half        bool   // the peer stops sending after send
	}{
		"V2's magic":      {magic: protocol.MagicV2, want: "E_BAD_PROTOCOL"},
		"HTTP":            {magic: "GET ", send: "/ HTTP/1.0\r\n\r\n", want: "E_BAD_PROTOCOL"},
		"unknown command": {send: "SING song\n", want: "E_INVALID invalid command SING"},
		"empty line":      {send: "\n", want: "E_INVALID invalid command "},
		"lower case":      {send: "ping\n", want: "E_INVALID invalid command ping"},
		"endless line":    {send: strings.Repeat("x", protocol.MaxLine)},

		"identified twice":     {joined: true, send: identify(identity("x")), want: "E_INVALID cannot IDENTIFY again"},
		"no body size":         {send: "IDENTIFY\n\x00\x00", half: true, want: "E_BAD_BODY IDENTIFY failed to read body size"},
		"short body":           {send: "IDENTIFY\n" + sized(10) + "{}", half: true, want: "E_BAD_BODY IDENTIFY failed to read body"},
		"negative body size":   {send: "IDENTIFY\n" + sized(-1), want: "E_BAD_BODY IDENTIFY invalid body size -1"},
		"huge body size":       {send: "IDENTIFY\n" + sized(1<<31-1), want: "E_BAD_BODY IDENTIFY body too big 2147483647 > 65536"},
		"body just too big":    {send: "IDENTIFY\n" + sized(64<<10+1), want: "E_BAD_BODY IDENTIFY body too big 65537 > 65536"},
		"empty body":           {send: identify(""), want: "E_BAD_BODY IDENTIFY failed to decode JSON body"},
		"not JSON":             {send: identify("hello"), want: "E_BAD_BODY IDENTIFY failed to decode JSON body"},
		"wrong types":          {send: identify(`{"tcp_port":"x"}`), want: "E_BAD_BODY IDENTIFY failed to decode JSON body"},
		"null":                 {send: identify("null"), want: "E_BAD_BODY IDENTIFY missing fields"},
		"no broadcast address": {send: identify(`{"tcp_port":1,"http_port":2,"version":"1"}`), want: "E_BAD_BODY IDENTIFY missing fields"},
		"no TCP port":          {send: identify(`{"broadcast_address":"a","http_port":2,"version":"1"}`), want: "E_BAD_BODY IDENTIFY missing fields"},
		"impossible port":      {send: identify(`{"broadcast_address":"a","tcp_port":70000,"http_port":2,"version":"1"}`), want: "E_BAD_BODY IDENTIFY missing fields"},
		"no HTTP port":         {send: identify(`{"broadcast_address":"a","tcp_port":1,"version":"1"}`), want: "E_BAD_BODY IDENTIFY missing fields"},
		"no version":           {send: identify(`{"broadcast_address":"a","tcp_port":1,"http_port":2}`), want: "E_BAD_BODY IDENTIFY missing fields"},

		"register first":              {send: "REGISTER t\n", want: "E_INVALID client must IDENTIFY"},
		"unregister first":            {send: "UNREGISTER\n", want: "E_INVALID client must IDENTIFY"},
		"register nothing":            {joined: true, send: "REGISTER\n", want: "E_INVALID REGISTER insufficient number of params"},
		"unregister nothing":          {joined: true, send: "UNREGISTER \n", want: "E_INVALID UNREGISTER insufficient number of params"},
		"register a bad topic":        {joined: true, send: "REGISTER a*b c\n", want: "E_BAD_TOPIC REGISTER topic name 'a*b' is not valid"},
		"register an empty topic":     {joined: true, send: "REGISTER  c\n", want: "E_BAD_TOPIC REGISTER topic name '' is not valid"},
		"register a long topic":       {joined: true, send: "REGISTER " + long + "\n", want: "E_BAD_TOPIC REGISTER topic name '" + long + "' is not valid"},
		"register a bad channel":      {joined: true, send: "REGISTER t a/b\n", want: "E_BAD_CHANNEL REGISTER channel name 'a/b' is not valid"},
		"unregister every topic":      {joined: true, send: "UNREGISTER *\n", want: "E_BAD_TOPIC UNREGISTER topic name '*' is not valid"},
		"unregister every channel":    {joined: true, send: "UNREGISTER t *\n", want: "E_BAD_CHANNEL UNREGISTER channel name '*' is not valid"},
		"unregister only the suffix":  {joined: true, send: "UNREGISTER #ephemeral\n", want: "E_BAD_TOPIC UNREGISTER topic name '#ephemeral' is not valid"},
		"told despite unread rubbish": {joined: true, send: "NO\n" + strings.Repeat("rubbish ", 1<<13), want: "E_INVALID invalid command NO"},
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, d)
			switch {
			case c.joined:
				p.identify("x")
			case c.magic == "":
				p.send(protocol.MagicV1)
			}
			p.send(c.magic + c.send)
			if c.half {
				p.Conn.(interface{ CloseWrite() error }).CloseWrite()
			}
			if c.want != "" {
				if got := p.reply(); got != c.want {
					t.Errorf("told %q, want %q", got, c.want)
				}
			}
			p.expectEOF()
		})
	}
	if got := get(t, d, "/topics"); got != `{"topics":[]}` {
		t.Errorf("the errors left %s", got)
	}
}

// TestTheLogSaysHowItBegan has those come who have taken the port for another.
func TestTheLogSaysHowItBegan(t *testing.T) {
	for began, want := range map[string]string{
		protocol.MagicV2:     `it began with \"  V2\"`,
		"GET / HTTP/1.1\r\n": `it began with \"GET \"`,
		"\x16\x03\x01\x02":   "it began with TLS, and there is no --tls-cert",
	} {
		var log journal
		inBubbleLogging(t, lookupd.DefaultSettings(), slog.New(slog.NewTextHandler(&log, nil)), func(b *bubble) {
			p := newPeer(b.t, b.tcp.dial())
			p.ask(began[:4], "E_BAD_PROTOCOL")
			p.expectEOF()
			if log.count(want) != 1 {
				b.t.Errorf("of %q the log says\n%s", began, log.String())
			}
		})
	}
}

func TestIdentifyTellsWhoWeAre(t *testing.T) {
	d := start(t)
	p := dial(t, d)
	p.send(protocol.MagicV1 + identify(identity("a")))
	var got map[string]any
	if err := json.Unmarshal([]byte(p.reply()), &got); err != nil {
		t.Fatal(err)
	}
	_, tcp, _ := strings.Cut(d.TCPAddr().String(), ":")
	_, web, _ := strings.Cut(d.HTTPAddr().String(), ":")
	want := map[string]string{"tcp_port": tcp, "http_port": web, "version": "1.3.0", "broadcast_address": "127.0.0.1"}
	for key, value := range want {
		b, _ := json.Marshal(got[key])
		if strings.Trim(string(b), `"`) != value {
			t.Errorf("%s is %s, want %s", key, b, value)
		}
	}
	if len(got) != 5 || got["hostname"] == "" {
		t.Errorf("told %v", got)
	}
}

func TestAConversation(t *testing.T) {
	d := start(t)
	p := dial(t, d)
	p.send(protocol.MagicV1)
	p.say("PING") // legal before IDENTIFY
	p.send(identify(identity("a")))
	p.reply()
	p.say("REGISTER t")
	p.say("REGISTER t c\r") // as a telnet user sends it
	p.say("REGISTER u d surplus arguments are ignored")
	p.say("PING and its arguments")
	if got := get(t, d, "/topics"); got != `{"topics":["t","u"]}` {
		t.Errorf("topics: %s", got)
	}
	p.say("UNREGISTER t c")
	if got := hosts(t, get(t, d, "/lookup?topic=t")); got != "a" {
		t.Errorf("without its channel: %s", got)
	}
	p.say("UNREGISTER t")
	p.say("UNREGISTER never")
	if got := get(t, d, "/lookup?topic=t"); got != `{"channels":["c"],"producers":[]}` {
		t.Errorf("taken back: %s", got)
	}
	if got := hosts(t, get(t, d, "/lookup?topic=u")); got != "a" {
		t.Errorf("another topic: %s", got)
	}
}

func TestRepliesComeInOrderToWhatIsSentAhead(t *testing.T) {
	d := start(t)
	p := join(t, d, "a")
	const n = 5000
	p.send(strings.Repeat("REGISTER t c\nPING\n", n/2) + "NO\n")
	for i := range n {
		if got := p.reply(); got != "OK" {
			t.Fatalf("reply %d is %q", i, got)
		}
	}
	if got := p.reply(); got != "E_INVALID invalid command NO" {
		t.Errorf("last reply %q", got)
	}
	p.expectEOF()
}

func TestALostConnectionRemovesThePeer(t *testing.T) {
	d := start(t)
	stays, goes := join(t, d, "stays"), join(t, d, "goes")
	for _, p := range []*peer{stays, goes} {
		p.say("REGISTER t c")
	}
	if got := hosts(t, get(t, d, "/lookup?topic=t")); got != "stays goes" {
		t.Fatalf("both: %s", got)
	}
	// The daemon closes its end after it has forgotten the peer.
	goes.Conn.(interface{ CloseWrite() error }).CloseWrite()
	goes.expectEOF()
	for _, path := range []string{"/lookup?topic=t", "/nodes"} {
		if got := hosts(t, get(t, d, path)); got != "stays" {
			t.Errorf("%s lists %s", path, got)
		}
	}
	if got := get(t, d, "/channels?topic=t"); got != `{"channels":["c"]}` {
		t.Errorf("channels: %s", got)
	}
}
