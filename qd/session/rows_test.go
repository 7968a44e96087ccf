package session_test

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/internal/secure/securetest"
	"github.com/millrace-mq/millrace/protocol"
)

// row is a row of the reference's table of errors, or one of the texts in it.
// A connection says it, and behind it, with the same write, a PUB: that is
// answered if the error ends nothing, and not even read if it ends the connection.
type row struct {
	said string
	want string // the error's whole text
	sub  bool   // the connection has subscribed to s/ch before
	half bool   // the connection says no more, and no PUB either
}

const (
	someID = "0123456789abcdef"
	behind = "PUB behind\n\x00\x00\x00\x01x"
)

// plainRows are for a daemon with max-msg-size 10, max-body-size 40 and
// max-rdy-count 5.
var plainRows = slices.Concat(invalidRows, nameRows, messageRows, bodyRows, answerRows)

var invalidRows = []row{
	{said: "HELLO\n", want: "E_INVALID invalid command HELLO"},
	{said: "\n", want: "E_INVALID invalid command "},
	{said: "RDY 1\n", want: "E_INVALID cannot RDY in current state"},
	{said: "FIN " + someID + "\n", want: "E_INVALID cannot FIN in current state"},
	{said: "REQ " + someID + " 0\n", want: "E_INVALID cannot REQ in current state"},
	{said: "TOUCH " + someID + "\n", want: "E_INVALID cannot TOUCH in current state"},
	{said: "CLS\n", want: "E_INVALID cannot CLS in current state"},
	{sub: true, said: "SUB s ch\n", want: "E_INVALID cannot SUB in current state"},
	{sub: true, said: "IDENTIFY\n\x00\x00\x00\x02{}", want: "E_INVALID cannot IDENTIFY in current state"},
	{sub: true, said: "AUTH\n\x00\x00\x00\x02xx", want: "E_INVALID cannot AUTH in current state"},
	{said: "SUB t\n", want: "E_INVALID SUB insufficient number of parameters"},
	{said: "PUB\n", want: "E_INVALID PUB insufficient number of parameters"},
	{said: "MPUB\n", want: "E_INVALID MPUB insufficient number of parameters"},
	{said: "DPUB t\n", want: "E_INVALID DPUB insufficient number of parameters"},
	{sub: true, said: "FIN\n", want: "E_INVALID FIN insufficient number of params"},
	{sub: true, said: "REQ " + someID + "\n", want: "E_INVALID REQ insufficient number of params"},
	{sub: true, said: "TOUCH\n", want: "E_INVALID TOUCH insufficient number of params"},
	{said: "AUTH x\n\x00\x00\x00\x01x", want: "E_INVALID AUTH invalid number of parameters"},
	{sub: true, said: "FIN 1\n", want: "E_INVALID invalid message ID"},
	{sub: true, said: "REQ 1 0\n", want: "E_INVALID invalid message ID"},
	{sub: true, said: "TOUCH " + someID + "0\n", want: "E_INVALID invalid message ID"},
	{sub: true, said: "RDY x\n", want: "E_INVALID RDY could not parse count x"},
	{sub: true, said: "RDY 6\n", want: "E_INVALID RDY count 6 out of range 0-5"},
	{sub: true, said: "REQ " + someID + " x\n", want: "E_INVALID REQ could not parse timeout x"},
	{said: "DPUB t x\n", want: "E_INVALID DPUB could not parse timeout x"},
	{said: "DPUB t 3600001\n", want: "E_INVALID DPUB timeout 3600001 out of range 0-3600000"},
}

var nameRows = []row{
	{said: "SUB ! ch\n", want: `E_BAD_TOPIC SUB topic name "!" is not valid`},
	{said: "PUB !\n", want: `E_BAD_TOPIC PUB topic name "!" is not valid`},
	{said: "MPUB !\n", want: `E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "!" is not valid`},
	{said: "DPUB ! 0\n", want: `E_BAD_TOPIC DPUB topic name "!" is not valid`},
	{said: "SUB t !\n", want: `E_BAD_CHANNEL SUB channel name "!" is not valid`},
}

var messageRows = []row{
	{half: true, said: "PUB t\n\x00", want: "E_BAD_MESSAGE PUB failed to read message body size"},
	{half: true, said: "DPUB t 0\n", want: "E_BAD_MESSAGE DPUB failed to read message body size"},
	{said: "PUB t\n\x00\x00\x00\x00", want: "E_BAD_MESSAGE PUB invalid message body size 0"},
	{said: "DPUB t 0\n\xff\xff\xff\xff", want: "E_BAD_MESSAGE DPUB invalid message body size -1"},
	{said: "PUB t\n\x00\x00\x00\x0b", want: "E_BAD_MESSAGE PUB message too big 11 > 10"},
	{said: "DPUB t 0\n\x7f\xff\xff\xff", want: "E_BAD_MESSAGE DPUB message too big 2147483647 > 10"},
	{said: "MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x0bx", want: "E_BAD_MESSAGE MPUB message too big 11 > 10"},
	{half: true, said: "PUB t\n\x00\x00\x00\x02x", want: "E_BAD_MESSAGE PUB failed to read message body"},
	{half: true, said: "DPUB t 0\n\x00\x00\x00\x02x", want: "E_BAD_MESSAGE DPUB failed to read message body"},
	{half: true, said: "MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x01", want: "E_BAD_MESSAGE MPUB failed to read message body"},
	{half: true, said: "MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x01\x00", want: "E_BAD_MESSAGE MPUB failed to read message(0) body size"},
	{said: "MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x02\x00\x00\x00\x01x", want: "E_BAD_MESSAGE MPUB failed to read message(1) body size"},
	{said: "MPUB t\n\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00", want: "E_BAD_MESSAGE MPUB invalid message(0) body size 0"},
}

var bodyRows = []row{
	{half: true, said: "IDENTIFY\n\x00\x00\x00", want: "E_BAD_BODY IDENTIFY failed to read body size"},
	{half: true, said: "AUTH\n", want: "E_BAD_BODY AUTH failed to read body size"},
	{half: true, said: "MPUB t\n\x00", want: "E_BAD_BODY MPUB failed to read body size"},
	{said: "IDENTIFY\n\x00\x00\x00\x29", want: "E_BAD_BODY IDENTIFY body too big 41 > 40"},
	{said: "AUTH\n\x00\x00\x00\x29", want: "E_BAD_BODY AUTH body too big 41 > 40"},
	{said: "MPUB t\n\x00\x00\x00\x29", want: "E_BAD_BODY MPUB body too big 41 > 40"},
	{said: "IDENTIFY\n\x00\x00\x00\x00", want: "E_BAD_BODY IDENTIFY invalid body size 0"},
	{said: "AUTH\n\xff\xff\xff\xff", want: "E_BAD_BODY AUTH invalid body size -1"},
	{said: "MPUB t\n\xff\xff\xff\xff", want: "E_BAD_BODY MPUB invalid body size -1"},
	{half: true, said: "IDENTIFY\n\x00\x00\x00\x02{", want: "E_BAD_BODY IDENTIFY failed to read body"},
	{half: true, said: "AUTH\n\x00\x00\x00\x02x", want: "E_BAD_BODY AUTH failed to read body"},
	{said: identifying(`{`), want: "E_BAD_BODY IDENTIFY failed to decode JSON body"},
	{said: identifying(`{"heartbeat_interval":999}`), want: "E_BAD_BODY IDENTIFY heartbeat interval (999) is invalid"},
	{said: identifying(`{"output_buffer_timeout":24}`), want: "E_BAD_BODY IDENTIFY output buffer timeout (24) is invalid"},
	{said: identifying(`{"output_buffer_size":63}`), want: "E_BAD_BODY IDENTIFY output buffer size (63) is invalid"},
	{said: identifying(`{"sample_rate":100}`), want: "E_BAD_BODY IDENTIFY sample rate (100) is invalid"},
	{said: identifying(`{"msg_timeout":999}`), want: "E_BAD_BODY IDENTIFY msg timeout (999) is invalid"},
	{half: true, said: "MPUB t\n\x00\x00\x00\x09\x00", want: "E_BAD_BODY MPUB failed to read message count"},
	{said: "MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x01x", want: "E_BAD_BODY MPUB invalid message count 0"},
	{said: "MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x08\x00\x00\x00\x01x", want: "E_BAD_BODY MPUB invalid message count 8"},
	{said: "AUTH\n\x00\x00\x00\x01x", want: "E_AUTH_DISABLED AUTH disabled"},
}

// answerRows end nothing. HELD is a message that another consumer holds.
var answerRows = []row{
	{sub: true, said: "FIN " + someID + "\n", want: "E_FIN_FAILED FIN " + someID + " failed ID not in flight"},
	{sub: true, said: "REQ " + someID + " 0\n", want: "E_REQ_FAILED REQ " + someID + " failed ID not in flight"},
	{sub: true, said: "TOUCH " + someID + "\n", want: "E_TOUCH_FAILED TOUCH " + someID + " failed ID not in flight"},
	{sub: true, said: "FIN HELD\n", want: "E_FIN_FAILED FIN HELD failed client does not own message"},
	{sub: true, said: "REQ HELD 0\n", want: "E_REQ_FAILED REQ HELD failed client does not own message"},
	{sub: true, said: "TOUCH HELD\n", want: "E_TOUCH_FAILED TOUCH HELD failed client does not own message"},
}

func identifying(json string) string { return string(protocol.AppendIdentify(nil, []byte(json))) }

// anything stands for an answer that another test looks at.
const anything = "…"

// play says each row on a connection of its own, after what each is to say and
// to hear before. It returns the codes that came.
func (d *daemon) play(addr string, rows []row, before ...string) (codes []string) {
	d.t.Helper()
	survivors := d.depth("behind")
	for _, r := range rows {
		p := connect(d.t, addr)
		for i := 0; i+1 < len(before); i += 2 {
			p.say(before[i])
			if got := p.read(); got != before[i+1] && before[i+1] != anything {
				d.t.Fatalf("%.40q came, want %q", got, before[i+1])
			}
		}
		if r.sub {
			p.say("SUB s ch\n")
			p.wants("OK")
		}
		refused := protocol.ParseError([]byte(r.want))
		codes = append(codes, refused.Code)
		after := "closed"
		if r.half {
			p.say(r.said)
			_ = p.CloseWrite()
		} else {
			p.say(r.said + behind)
			if !refused.Fatal() {
				survivors++
				after = "OK"
			}
		}
		kind, text, err := p.next()
		if text != r.want || kind != protocol.FrameError || err != nil {
			d.t.Errorf("%.40q: %s %q, %v came, want %q", r.said, kind, text, err, r.want)
		} else if got := p.read(); got != after {
			d.t.Errorf("%.40q: %q came behind %q, want %q", r.said, got, text, after)
		}
		_ = p.Close()
	}
	if n := d.depth("behind"); n != survivors {
		d.t.Errorf("%d commands behind errors were carried out, want %d", n, survivors)
	}
	return codes
}

// TestErrorTable provokes every error of the reference's table over a real
// connection, but for E_BAD_PROTOCOL, which has TestWrongMagic. Not to be provoked
// are E_AUTH_ERROR, the reason "exiting" of a FIN, and a SUB to what is being
// deleted: here these do not fail.
func TestErrorTable(t *testing.T) {
	var codes []string
	small := limits()
	small.MaxMsgSize, small.MaxBodySize, small.MaxRdyCount = 10, 40, 5
	d, addr := loopback(t, small)
	holder := connect(t, addr)
	holder.say(pub("s", "held") + "SUB s ch\nRDY 1\n")
	holder.wants("OK", "OK")
	_, text, _ := holder.next()
	held, err := protocol.ParseMessage([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	rows := slices.Clone(plainRows)
	for i, r := range rows {
		rows[i].said = strings.ReplaceAll(r.said, "HELD", held.ID.String())
		rows[i].want = strings.ReplaceAll(r.want, "HELD", held.ID.String())
	}
	codes = append(codes, d.play(addr, rows)...)
	codes = append(codes, d.play(addr, []row{{
		said: "SUB s ch\n", want: "E_INVALID cannot SUB with heartbeats disabled",
	}}, identifying(`{"heartbeat_interval":-1}`), "OK")...)

	few := limits()
	few.MaxChannelConsumers = 1
	d, addr = loopback(t, few)
	holder = connect(t, addr)
	holder.say("SUB s ch\n")
	holder.wants("OK")
	codes = append(codes, d.play(addr, []row{{
		said: "SUB s ch\n", want: "E_SUB_FAILED SUB failed consumers for s:ch exceeds limit of 1",
	}})...)
	d.broker.Refuse()
	codes = append(codes, d.play(addr, []row{
		{said: "PUB t\n\x00\x00\x00\x01x", want: "E_PUB_FAILED PUB failed exiting"},
		{said: "MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x01x", want: "E_MPUB_FAILED MPUB failed exiting"},
		{said: "DPUB t 0\n\x00\x00\x00\x01x", want: "E_DPUB_FAILED DPUB failed exiting"},
		{said: "SUB t ch\n", want: "E_SUB_FAILED SUB failed exiting"},
	})...)

	codes = append(codes, playRights(t)...)
	codes = append(codes, playLayers(t)...)
	for _, code := range []string{
		protocol.EInvalid, protocol.EBadTopic, protocol.EBadChannel, protocol.EBadMessage, protocol.EBadBody,
		protocol.EIdentifyFailed, protocol.EPubFailed, protocol.EMPubFailed, protocol.EDPubFailed, protocol.ESubFailed,
		protocol.EFinFailed, protocol.EReqFailed, protocol.ETouchFailed,
		protocol.EAuthFirst, protocol.EAuthFailed, protocol.EAuthDisabled, protocol.EUnauthorized,
	} {
		if !slices.Contains(codes, code) {
			t.Errorf("%s was not provoked", code)
		}
	}
}

// playRights is for a daemon with an auth server.
func playRights(t *testing.T) []string {
	a := newAuthority()
	t.Cleanup(a.stop)
	l := limits()
	var err error
	if l.Auth, err = a.client("post"); err != nil {
		t.Fatal(err)
	}
	a.answers["t"] = `{"ttl":60,"authorizations":[{"topic":"^t$","channels":["^c$"],"permissions":["subscribe","publish"]}]}`
	a.answers["none"] = `{"ttl":60,"authorizations":[]}`
	a.answers["wrong"] = `{"ttl":60,"authorizations":[{"topic":"t","permissions":["read"]}]}`
	d, addr := loopback(t, l)
	codes := d.play(addr, []row{
		{said: "AUTH\n\x00\x00\x00\x05wrong", want: "E_AUTH_FAILED AUTH failed"},
		{said: "AUTH\n\x00\x00\x00\x04none", want: "E_UNAUTHORIZED AUTH no authorizations found"},
		{said: "SUB t c\n", want: "E_AUTH_FIRST AUTH required before SUB"},
		{said: "PUB t\n\x00\x00\x00\x01x", want: "E_AUTH_FIRST AUTH required before PUB"},
		{said: "MPUB t\n", want: "E_AUTH_FIRST AUTH required before MPUB"},
		{said: "DPUB t 0\n\x00\x00\x00\x01x", want: "E_AUTH_FIRST AUTH required before DPUB"},
	})
	return append(codes, d.play(addr, []row{
		{said: "AUTH\n\x00\x00\x00\x01t", want: "E_INVALID AUTH already set"},
		{said: "SUB t d\n", want: `E_UNAUTHORIZED AUTH failed for SUB on "t" "d"`},
		{said: "SUB u c\n", want: `E_UNAUTHORIZED AUTH failed for SUB on "u" "c"`},
		{said: "PUB u\n\x00\x00\x00\x01x", want: `E_UNAUTHORIZED AUTH failed for PUB on "u" ""`},
		{said: "MPUB u\n", want: `E_UNAUTHORIZED AUTH failed for MPUB on "u" ""`},
		{said: "DPUB u 0\n\x00\x00\x00\x01x", want: `E_UNAUTHORIZED AUTH failed for DPUB on "u" ""`},
	}, "AUTH\n\x00\x00\x00\x01t", `{"identity":"","identity_url":"","permission_count":1}`)...)
}

// playLayers is for a daemon that wants TLS, and has both compressions.
func playLayers(t *testing.T) []string {
	ca, err := securetest.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Pair("qd")
	if err != nil {
		t.Fatal(err)
	}
	l := limits()
	l.TLS, l.TLSRequired, l.Snappy, l.Deflate = &tls.Config{Certificates: []tls.Certificate{pair}}, true, true, true
	d, addr := loopback(t, l)
	var rows []row
	for _, c := range protocol.Commands() {
		if c.Verb != protocol.Identify {
			rows = append(rows, row{said: c.Name + " t c\n", want: "E_INVALID cannot " + c.Name + " in current state (TLS required)"})
		}
	}
	codes := d.play(addr, []row{{
		said: "NOP\n", want: "E_IDENTIFY_FAILED IDENTIFY failed tls: first record does not look like a TLS handshake",
	}}, identifying(`{"feature_negotiation":true,"tls_v1":true}`), anything)
	codes = append(codes, d.play(addr, rows)...)
	return append(codes, d.play(addr, []row{{
		said: identifying(`{"feature_negotiation":true,"snappy":true,"deflate":true}`),
		want: "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression",
	}})...)
}
