package lookupd_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/lookupd"
	"github.com/millrace-mq/millrace/protocol"
)

// extendedIdentity is that of a qd at host:4150 whose data path is instance.
func extendedIdentity(host, instance string) string {
	return fmt.Sprintf(`{"broadcast_address":%q,"hostname":"h","tcp_port":4150,"http_port":4151,"version":"1.3.0","extended":true,"instance":%q}`, host, instance)
}

func (p *peer) identifyExtended(host, instance string) {
	p.t.Helper()
	p.send(protocol.MagicV1 + identify(extendedIdentity(host, instance)))
	if got := p.reply(); !strings.Contains(got, `"extended":true`) {
		p.t.Fatalf("told %s", got)
	}
}

// extended connects to d as a qd that speaks the extension.
func extended(t *testing.T, d *lookupd.Daemon, host, instance string) *peer {
	t.Helper()
	p := dial(t, d)
	p.identifyExtended(host, instance)
	return p
}

// hangUp ends the conversation, and returns when the daemon has seen it.
func (p *peer) hangUp() {
	p.t.Helper()
	p.Conn.(interface{ CloseWrite() error }).CloseWrite()
	p.expectEOF()
}

func TestErrorsOfTheExtension(t *testing.T) {
	const numbers = " is not a number from 1 to 18446744073709551615"
	d := start(t)
	for line, want := range map[string]string{
		"REGISTER t  0":                            `E_INVALID REGISTER generation "0"` + numbers,
		"REGISTER t c 0":                           `E_INVALID REGISTER generation "0"` + numbers,
		"REGISTER t c -1":                          `E_INVALID REGISTER generation "-1"` + numbers,
		"REGISTER t c +1":                          `E_INVALID REGISTER generation "+1"` + numbers,
		"REGISTER t c 0x1":                         `E_INVALID REGISTER generation "0x1"` + numbers,
		"REGISTER t c 1_0":                         `E_INVALID REGISTER generation "1_0"` + numbers,
		"REGISTER t c paused":                      `E_INVALID REGISTER generation "paused"` + numbers,
		"REGISTER t c  paused":                     `E_INVALID REGISTER generation ""` + numbers,
		"REGISTER t c 18446744073709551616":        `E_INVALID REGISTER generation "18446744073709551616"` + numbers,
		"UNREGISTER t c 0":                         `E_INVALID UNREGISTER generation "0"` + numbers,
		"REGISTER t c 1 Paused":                    `E_INVALID REGISTER "Paused" cannot follow a generation`,
		"REGISTER t c 1 paused 2":                  `E_INVALID REGISTER "paused 2" cannot follow a generation`,
		"REGISTER t c 1 paused 2 3 4":              `E_INVALID REGISTER "paused 2 3 4" cannot follow a generation`,
		"UNREGISTER t c 1 paused":                  `E_INVALID UNREGISTER "paused" cannot follow a generation`,
		"REGISTER t c " + strings.Repeat("1", 400): `E_INVALID REGISTER generation "` + strings.Repeat("1", 300) + `\u2026"` + numbers,
		"REGISTER * c 1":                           "E_BAD_TOPIC REGISTER topic name '*' is not valid",
		"UNREGISTER t * 1":                         "E_BAD_CHANNEL UNREGISTER channel name '*' is not valid",
		"STATE":                                    `E_INVALID STATE "" is none of ready, draining and failing`,
		"STATE Ready":                              `E_INVALID STATE "Ready" is none of ready, draining and failing`,
		"STATE ready now":                          `E_INVALID STATE "ready now" is none of ready, draining and failing`,
		"RESYNC":                                   "E_INVALID invalid command RESYNC",
	} {
		p := extended(t, d, "a", "i")
		p.ask(line+"\n", want)
		p.expectEOF()
	}
	// To a peer without it there is none of it.
	for _, line := range []string{"STATE ready", "SYNCED"} {
		name, _, _ := strings.Cut(line, " ")
		join(t, d, "a").ask(line+"\n", "E_INVALID invalid command "+name)
		early := dial(t, d)
		early.send(protocol.MagicV1)
		early.ask(line+"\n", "E_INVALID invalid command "+name)
	}
	plain := join(t, d, "a")
	plain.say("REGISTER t c 0 Paused or so")
	plain.say("UNREGISTER t c -1")
	plain.say("PING")
}

func TestBadIdentitiesOfTheExtension(t *testing.T) {
	const name = " is not 1 to 64 characters of a topic's alphabet"
	d := start(t)
	whole := extendedIdentity("a", "i")
	for body, want := range map[string]string{
		strings.Replace(whole, `"i"`, `""`, 1):                                  `E_BAD_BODY IDENTIFY instance ""` + name,
		strings.Replace(whole, `"i"`, `"a b"`, 1):                               `E_BAD_BODY IDENTIFY instance "a b"` + name,
		strings.Replace(whole, `"i"`, `"a#ephemeral"`, 1):                       `E_BAD_BODY IDENTIFY instance "a#ephemeral"` + name,
		strings.Replace(whole, `"i"`, `"`+strings.Repeat("i", 65)+`"`, 1):       `E_BAD_BODY IDENTIFY instance "` + strings.Repeat("i", 65) + `"` + name,
		strings.Replace(whole, `"i"`, `"i","state":"well"`, 1):                  `E_BAD_BODY IDENTIFY state "well" is none of ready, draining and failing`,
		strings.Replace(whole, `"tcp_port":4150`, `"tcp_port":0`, 1):            "E_BAD_BODY IDENTIFY missing fields",
		strings.Replace(whole, `"http_port":4151`, `"http_port":-1`, 1):         "E_BAD_BODY IDENTIFY missing fields",
		strings.Replace(whole, `"http_port":4151`, `"http_port":0`, 1):          "{",
		strings.Replace(whole, `"i"`, `"`+strings.Repeat("i", 64)+`"`, 1):       "{",
		strings.Replace(whole, `"i"`, `"i","state":"draining","more":[1,2]`, 1): "{",
		// What the extension adds is nothing to a peer that does not speak it.
		strings.Replace(identity("a"), "{", `{"instance":"a b","state":"well",`, 1): "{",
	} {
		p := dial(t, d)
		p.send(protocol.MagicV1 + identify(body))
		if got := p.reply(); got != want && (want != "{" || !strings.HasPrefix(got, want)) {
			t.Errorf("%s is told %s, want %s", body, got, want)
		}
	}
}

// TestDeletedIsForgotten has what a daemon deletes vanish, which what it merely
// has no more does not.
func TestDeletedIsForgotten(t *testing.T) {
	d := start(t)
	p, other := extended(t, d, "a", "i"), extended(t, d, "b", "j")
	p.say("REGISTER t c 5")
	p.say("REGISTER t d 5 paused")
	p.say("REGISTER u  6 paused")
	p.say("REGISTER v e 7")
	other.say("REGISTER v e 1")
	p.say("UNREGISTER t d 5")
	if got := get(t, d, "/channels?topic=t"); got != `{"channels":["c"]}` {
		t.Errorf("channels %s", got)
	}
	p.say("UNREGISTER t  4") // of a topic before this one
	if got := hosts(t, get(t, d, "/lookup?topic=t")); got != "a" {
		t.Errorf("an old deletion leaves %s", got)
	}
	for _, line := range []string{"UNREGISTER t  5", "UNREGISTER u", "UNREGISTER v  7"} {
		p.say(line)
	}
	if got := get(t, d, "/topics"); got != `{"topics":["u","v"]}` {
		t.Errorf("topics %s", got)
	}
	if got := hosts(t, get(t, d, "/lookup?topic=v")); got != "b" {
		t.Errorf("v is at %s", got)
	}
}

// TestWhatIsNotNamedAgainWasDeleted has a daemon come back.
func TestWhatIsNotNamedAgainWasDeleted(t *testing.T) {
	d := start(t)
	p := extended(t, d, "a", "i")
	p.say("REGISTER stays c 1")
	p.say("REGISTER goes c 2")
	p.say("SYNCED")
	p.hangUp()
	again := extended(t, d, "a", "i")
	again.say("REGISTER stays c 1")
	if got := get(t, d, "/topics"); got != `{"topics":["goes","stays"]}` {
		t.Errorf("topics %s", got)
	}
	again.say("SYNCED")
	if got := get(t, d, "/topics"); got != `{"topics":["stays"]}` {
		t.Errorf("topics %s", got)
	}
}

// TestAnOldConnectionIsHidden has a daemon back whose old connection nobody knows
// to be dead; and then hears from it after all.
func TestAnOldConnectionIsHidden(t *testing.T) {
	d := start(t)
	old := extended(t, d, "a", "i")
	old.say("REGISTER t c 1")
	again := extended(t, d, "a", "i")
	if got := hosts(t, get(t, d, "/nodes")); got != "a" {
		t.Errorf("nodes %s", got)
	}
	if got := hosts(t, get(t, d, "/lookup?topic=t")); got != "" {
		t.Errorf("before it has said what it has: %s", got)
	}
	again.say("REGISTER t c 1")
	if got := hosts(t, get(t, d, "/lookup?topic=t")); got != "a" {
		t.Errorf("afterwards: %s", got)
	}
	old.say("PING")
	if got := hosts(t, get(t, d, "/nodes")); got != "a a" {
		t.Errorf("two that share an address: %s", got)
	}
}

// TestTwinsAreTold wants a warning of two daemons that say they are the same one, but
// none of one daemon's connections, whatever is left of those that were cut off, and in
// whatever order they are read.
func TestTwinsAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		earlier, later func(p *peer, round int)
		want           int
	}{
		"two daemons":     {func(p *peer, _ int) { p.say("PING") }, func(p *peer, _ int) { p.say("PING") }, 1},
		"late bytes":      {lastWords, func(p *peer, _ int) { p.say("PING") }, 0},
		"read in reverse": {func(p *peer, _ int) { p.say("PING") }, lastWords, 0},
		"cut unseen":      {func(p *peer, _ int) { p.say("PING") }, func(*peer, int) {}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			inBubbleLogging(t, lookupd.DefaultSettings(), slog.New(slog.NewTextHandler(&log, nil)), func(b *bubble) {
				earlier, later := newPeer(b.t, b.tcp.dial()), newPeer(b.t, b.tcp.dial())
				earlier.identifyExtended("a", "i")
				later.identifyExtended("a", "i")
				for round := range 6 {
					c.earlier(earlier, round)
					c.later(later, round)
					time.Sleep(15 * time.Second)
				}
				if got := log.count("give each a data path of its own"); got != c.want {
					b.t.Errorf("%d warnings, want %d\n%s", got, c.want, log.String())
				}
			})
		})
	}
}

// lastWords is what a connection that was cut off still had in it.
func lastWords(p *peer, round int) {
	if round == 0 {
		p.say("PING")
		_ = p.Close()
	}
}

// TestAStateIsLoggedOnce has a daemon say how it is more often than it changes.
func TestAStateIsLoggedOnce(t *testing.T) {
	var log journal
	inBubbleLogging(t, lookupd.DefaultSettings(), slog.New(slog.NewTextHandler(&log, nil)), func(b *bubble) {
		p := newPeer(b.t, b.tcp.dial())
		p.identifyExtended("a", "i")
		for _, line := range []string{"STATE ready", "STATE failing", "STATE failing", "PING", "STATE failing", "STATE ready"} {
			p.say(line)
		}
		if n := log.count("daemon says how it is"); n != 3 {
			b.t.Errorf("%d lines, want 3\n%s", n, log.String())
		}
	})
}

// TestATombstoneOutlivesAConnection hides a generation, of which the daemon says
// again that it has it; but not the next.
func TestATombstoneOutlivesAConnection(t *testing.T) {
	d := start(t)
	p := extended(t, d, "a", "i")
	p.say("REGISTER t  1")
	post(t, d, "/topic/tombstone?topic=t&node=a:4151")
	p.hangUp()
	again := extended(t, d, "a", "i")
	again.say("REGISTER t  1")
	if got := hosts(t, get(t, d, "/lookup?topic=t")); got != "" {
		t.Errorf("the same: %s", got)
	}
	again.say("REGISTER t  2")
	if got := hosts(t, get(t, d, "/lookup?topic=t")); got != "a" {
		t.Errorf("the next: %s", got)
	}
}

// TestResync deletes what daemons have behind their backs.
func TestResync(t *testing.T) {
	d := start(t)
	p, plain, other := extended(t, d, "a", "i"), join(t, d, "n"), extended(t, d, "b", "j")
	p.say("REGISTER t c 1")
	plain.say("REGISTER t c")
	other.say("REGISTER u c 1")
	post(t, d, "/topic/delete?topic=t")
	plain.say("PING")
	other.say("PING")
	p.say("REGISTER u  1") // RESYNC answers PINGs alone
	p.ask("PING\n", "RESYNC")
	p.say("REGISTER t c 1")
	p.say("PING")
	post(t, d, "/channel/delete?topic=t&channel=c")
	p.ask("PING\n", "RESYNC")
}

// TestEveryCommandIsASignOfLife has a daemon that has no reason to PING.
func TestEveryCommandIsASignOfLife(t *testing.T) {
	s := lookupd.DefaultSettings()
	s.InactiveProducerTimeout = 20 * time.Second
	inBubble(t, s, func(b *bubble) {
		p := newPeer(b.t, b.tcp.dial())
		p.identifyExtended("a", "i")
		for _, line := range []string{"REGISTER t c", "UNREGISTER t c", "STATE failing", "SYNCED", "PING"} {
			time.Sleep(s.InactiveProducerTimeout + 1)
			b.expectHosts("/nodes", "")
			p.say(line)
			b.expectHosts("/nodes", "a")
		}
	})
}

// TestManyTopicsComeAndGo registers many more than are taken apart in one step,
// by daemons of both kinds.
func TestManyTopicsComeAndGo(t *testing.T) {
	const topics = 3000
	d := start(t)
	var lines strings.Builder
	for i := range topics {
		fmt.Fprintf(&lines, "REGISTER t%d  %d\n", i, i+1)
	}
	register := func(p *peer) {
		p.send(lines.String())
		for range topics {
			if got := p.reply(); got != "OK" {
				t.Fatal(got)
			}
		}
	}
	plain, first := join(t, d, "n"), extended(t, d, "a", "i")
	register(plain)
	register(first)
	plain.hangUp()
	first.hangUp()
	if got := hosts(t, get(t, d, "/lookup?topic=t7")); got != "" {
		t.Errorf("t7 is at %s", got)
	}
	if got := strings.Count(get(t, d, "/topics"), `"t`); got < topics {
		t.Errorf("%d topics", got)
	}
	second := extended(t, d, "a", "i")
	second.say("REGISTER t7  8")
	second.say("SYNCED")
	if got := get(t, d, "/topics"); got != `{"topics":["t7"]}` {
		t.Errorf("topics %.100s", got)
	}
}
