package actions_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/admin/signin"
)

// example is a request for each action that is right.
var example = map[string]string{
	"create-topic": "create-topic t", "create-channel": "create-channel topic-00000/new", "pause-topic": "pause-topic topic-00000",
	"unpause-topic": "unpause-topic topic-00000", "pause-channel": "pause-channel topic-00000/channel-0", "unpause-channel": "unpause-channel topic-00000/channel-0",
	"pause-node": "pause-node @qd-0", "unpause-node": "unpause-node @qd-0", "empty-topic": "empty-topic topic-00000", "empty-channel": "empty-channel topic-00000/channel-0",
	"delete-topic": "delete-topic topic-00000", "delete-channel": "delete-channel topic-00000/channel-0", "tombstone": "tombstone topic-00000@qd-0",
	"drain-node": "drain-node @qd-0", "publish": "publish topic-00000 body=x", "revive": "revive topic-00000/channel-0 all=true",
	"delete-dead": "delete-dead topic-00000/channel-0 all=true", "copy": "copy topic-00000/channel-0 all=true state=dead to=t",
	"move": "move topic-00000/channel-0 all=true to=t", "seek": "seek topic-00000/channel-0 to=latest", "topic-policy": "topic-policy topic-00000 max_bytes=1",
	"channel-policy": "channel-policy topic-00000/channel-0 max_attempts=1", "disconnect": "disconnect @qd-0!1", "forget": "forget old",
}

// Each action is for its role and those above it, for nobody below, and for none at all
// if the admin only shows. Whoever is refused is in the log, and no daemon hears of it.
func TestRoles(t *testing.T) {
	forOperators := map[string]bool{
		"create-topic": true, "create-channel": true, "pause-topic": true, "unpause-topic": true, "pause-channel": true, "unpause-channel": true,
		"pause-node": true, "unpause-node": true, "publish": true, "revive": true, "copy": true, "move": true, "disconnect": true,
	}
	for _, a := range actions.Table() {
		t.Run(a.Name, func(t *testing.T) {
			line := example[a.Name]
			if line == "" {
				t.Fatal("there is no example of it")
			}
			for _, readOnly := range []bool{false, true} {
				for role := signin.Nobody; role <= signin.Admin; role++ {
					if readOnly && (role == signin.Viewer || role == signin.Operator) {
						continue // what an admin may not, nobody may
					}
					b := start(t, actions.Settings{ReadOnly: readOnly}, clustertest.Topics(1))
					b.Lookupds[0].Create("old")
					who := signin.Who{Name: "x", Role: role}
					want := ""
					switch {
					case role == signin.Nobody:
						want = "UNAUTHORIZED"
					case readOnly:
						want = "READ_ONLY"
					case role == signin.Viewer, role == signin.Operator && !forOperators[a.Name]:
						want = "FORBIDDEN"
					}
					e, err := b.Do(t.Context(), who, "page", request(line))
					refused, _ := errors.AsType[*actions.Refused](err)
					may, _ := errors.AsType[*actions.Refused](b.May(who, a.Name))
					if want == "" {
						if err != nil || may != nil || len(e.Results) == 0 {
							t.Fatalf("%s: refused to %s: %v, %v", line, role, err, may)
						}
						continue
					}
					if refused == nil || refused.Code != want || may == nil || may.Code != want {
						t.Fatalf("%s by %s: %v, %v; want %s", line, role, err, may, want)
					}
					if n := len(b.Nodes[0].Changes()) + len(b.Lookupds[0].Changes()); n != 0 {
						t.Errorf("%s by %s was refused, and %d requests were sent", line, role, n)
					}
					logged := b.log.List(audit.Filter{})
					if len(logged) != 1 || !strings.HasPrefix(logged[0].Refused, want) || !logged[0].Done {
						t.Errorf("it is logged as %+v", logged)
					}
				}
			}
		})
	}
}

// What is wrong with a request is said all at once, and nothing is done.
func TestRefused(t *testing.T) {
	const name = "is no name of a topic: 1 to 64 of the characters . a-z A-Z 0-9 _ -, and #ephemeral behind them"
	b := start(t, actions.Settings{MaxBody: 10}, clustertest.Topics(1))
	for _, c := range []struct{ line, want string }{
		{"launch topic-00000", `INVALID_ACTION: there is no action "launch"`},
		{"pause-topic", "INVALID_TARGET: nothing is named that it should be done to"},
		{"pause-topic a+b", "INVALID_TARGET: \"a+b\" " + name},
		{"pause-topic a$b", "INVALID_TARGET: \"a$b\" " + name},
		{"pause-topic t/c", "INVALID_TARGET: pause-topic is not about a channel: name a topic, and perhaps a node"},
		{"pause-channel t", "INVALID_TARGET: pause-channel needs a channel"},
		{"pause-channel a$ t $b", "INVALID_TARGET: \"a$\" " + name + "\npause-channel needs a channel\n\"$b\" " + name},
		{"pause-node topic-00000", "INVALID_TARGET: pause-node needs a node"},
		{"tombstone topic-00000", "INVALID_TARGET: tombstone needs a node"},
		{"pause-topic topic-00000@127.0.0.1:22", `NODE_NOT_FOUND: there is no node "127.0.0.1:22"`},
		{"drain-node @qd-0:80/?x", `NODE_NOT_FOUND: there is no node "qd-0:80/?x"`},
		{"disconnect @qd-0", "INVALID_TARGET: disconnect needs the number of a connection as id"},
		{"disconnect @qd-0!x", "INVALID_TARGET: disconnect needs the number of a connection as id"},
		{"revive t/c", "INVALID_TARGET: revive needs the ID of a message or all=true, not both"},
		{"revive t/c!00000000000000aa all=true", "INVALID_TARGET: revive needs the ID of a message or all=true, not both"},
		{"revive t/c!AA", `INVALID_TARGET: "AA" is no ID of a message: 16 hexadecimal digits in lower case`},
		{"pause-topic t reasom=x", `INVALID_ARGUMENT: pause-topic has no argument "reasom"`},
		{"pause-topic t reason=x reason=y", "INVALID_ARGUMENT: reason is given 2 times"},
		{"pause-topic t reason=" + strings.Repeat("é", 251), "INVALID_ARGUMENT: reason must be a line of text of at most 500 bytes, without control characters"},
		{"pause-topic t reason=\xff", "INVALID_ARGUMENT: reason must be a line of text of at most 500 bytes, without control characters"},
		{"pause-topic t reason=a\u202eb", "INVALID_ARGUMENT: reason must be a line of text of at most 500 bytes, without control characters"},
		{"pause-topic t for=soon until=tomorrow", "INVALID_ARGUMENT: for must be a duration such as 90s, 5m or 24h\n" +
			"until must be a time with its zone, such as 2026-01-02T15:04:05Z, or milliseconds or nanoseconds since 1970"},
		{"pause-topic t for=-5m", "INVALID_ARGUMENT: for must be a duration such as 90s, 5m or 24h"},
		{"pause-topic t for=5m until=2999-01-01T00:00:00Z", "INVALID_ARGUMENT: until and for cannot be given together"},
		{"pause-topic t until=2001-01-01T00:00:00Z", "INVALID_ARGUMENT: until is a time that has gone by: 2001-01-01T00:00:00Z"},
		{"pause-topic t until=1000", "INVALID_ARGUMENT: until is a time that has gone by: 1970-01-01T00:00:01Z"},
		{"topic-policy t", "INVALID_ARGUMENT: topic-policy needs a setting to change"},
		{"topic-policy t max_bytes=-1 overflow=explode", "INVALID_ARGUMENT: max_bytes must be a whole number, 0 for none\noverflow must be one of reject, drop-oldest"},
		{"channel-policy t/c", "INVALID_ARGUMENT: channel-policy needs max_attempts"},
		{"channel-policy t/c max_attempts=65536", "INVALID_ARGUMENT: max_attempts must be a whole number from 0 to 65535"},
		{"seek t/c", "INVALID_ARGUMENT: seek needs to"},
		{"seek t/c to=yesterday", "INVALID_ARGUMENT: to must be earliest, latest, a message ID of 16 hexadecimal digits, or a time (RFC 3339, or milliseconds or nanoseconds since 1970)"},
		{"move t/c all=true", "INVALID_ARGUMENT: move needs to"},
		{"move t/c all=true to=t", "INVALID_ARGUMENT: to must be another topic than t, where the messages are"},
		{"move t/c all=yes to=u", "INVALID_ARGUMENT: all must be true, or left out"},
		{"copy t/c all=true to=u", "INVALID_ARGUMENT: to copy all, state must say which: dead, deferred or ready"},
		{"copy t/c!00000000000000aa to=u state=dead", "INVALID_ARGUMENT: state goes with all=true; a single message is copied whatever its state"},
		{"copy t/c!00000000000000aa to=a/b", "INVALID_ARGUMENT: to must be the name of a topic: 1 to 64 of the characters . a-z A-Z 0-9 _ -"},
		{"publish t", "INVALID_ARGUMENT: publish needs body"},
		{"publish t body=", "INVALID_ARGUMENT: body must be at least one byte"},
		{"publish t body=12345678901", "INVALID_ARGUMENT: the body has 11 bytes; 10 are the most that can be published from here"},
		{"publish t body=xyz encoding=hex", "INVALID_ARGUMENT: the body is not hexadecimal: encoding/hex: invalid byte: U+0078 'x'"},
		{"publish t body=x delay=9223372036854775807", "INVALID_ARGUMENT: delay must be a duration such as 90s, 5m or 24h"},
	} {
		if got := b.do(c.line); got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", c.line, got, c.want)
		}
	}
	if _, err := b.Begin(t.Context(), admin, "page", actions.Request{Action: "pause-topic", Targets: many(20_001)}); err == nil {
		t.Error("20,001 targets were taken")
	}
	if n := len(b.Nodes[0].Changes()) + len(b.Lookupds[0].Changes()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	if n := len(b.log.List(audit.Filter{})); n != 0 {
		t.Errorf("%d entries in the log", n)
	}
}

// Whatever an entry says is from the request and who has sent it.
func TestEntry(t *testing.T) {
	b := start(t, noSettings, clustertest.Topics(1))
	r := request("pause-channel topic-00000/channel-0 reason=new_schema for=90m")
	r.URL = "http://admin/api/actions"
	e, err := b.Do(t.Context(), admin, "api", r)
	if err != nil {
		t.Fatal(err)
	}
	if time.Since(e.At) > time.Hour || e.Number != 1 {
		t.Errorf("entry %d is of %s", e.Number, e.At)
	}
	e.At, e.Results = time.Time{}, nil
	want := audit.Entry{
		Number: 1, Who: "anna", Role: "admin", How: "password", From: "192.0.2.7", UserAgent: "curl", Via: "api", Action: "pause-channel",
		Topic: topic0, Channel: "channel-0", Detail: `reason="new schema", for=90m`, URL: "http://admin/api/actions", Done: true,
	}
	if a, b := e, want; !equal(a, b) {
		t.Errorf("%+v\nwant\n%+v", a, b)
	}
	b.told(b.Nodes[0], "/channel/pause by=anna&channel=channel-0&for=90m&reason=new schema&topic=topic-00000")
}

// A name that came from elsewhere keeps nothing from being paused.
func TestOddName(t *testing.T) {
	b := start(t, noSettings, clustertest.Topics(1))
	who := signin.Who{Name: "a\nb\u202e" + strings.Repeat("é", 200) + "\xff", Role: signin.Admin}
	if _, err := b.Do(t.Context(), who, "page", request("pause-topic topic-00000")); err != nil {
		t.Fatal(err)
	}
	if by := b.Nodes[0].Changes()[0].Query.Get("by"); by != "ab"+strings.Repeat("é", 99) {
		t.Errorf("it is paused by %q", by)
	}
}

func equal(a, b audit.Entry) bool {
	a.Results, b.Results = nil, nil
	return strings.Join([]string{a.Who, a.Role, a.How, a.From, a.UserAgent, a.Via, a.Action, a.Topic, a.Channel, a.Node, a.Detail, a.URL, a.Refused}, "|") ==
		strings.Join([]string{b.Who, b.Role, b.How, b.From, b.UserAgent, b.Via, b.Action, b.Topic, b.Channel, b.Node, b.Detail, b.URL, b.Refused}, "|") && a.Done == b.Done
}

// The end of the admin ends what is under way: what was sent is uncertain, what was not
// is said so.
func TestEnd(t *testing.T) {
	b := start(t, noSettings, clustertest.Nodes(2), clustertest.Topics(50))
	own := actions.New(actions.Settings{Latest: b.Latest}, b.Cluster(t), b.log, nil)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = own.Run(ctx)
	}()
	b.Nodes[0].HangPath("/topic/pause")
	number, err := own.Begin(t.Context(), admin, "page", actions.Request{Action: "pause-topic", Targets: many(50)})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { // the other node is through, and this one has what it takes at a time
		e, _ := b.log.Get(number)
		return len(e.Results) == 1 && b.Nodes[0].Requests("/topic/pause") == 4
	})
	stop()
	<-ended
	e, _ := b.log.Get(number)
	got := results(e)
	for _, want := range []string{"qd-0 (0 of 50 done) failed: 46 not done: ", "uncertain: it may have been done or not (the admin is stopping)", "\nqd-1 ok (50 of 50 done)"} {
		if !strings.Contains(got, want) || !e.Done {
			t.Errorf("%s\ndoes not say\n%s", got, want)
		}
	}
	if _, err := own.Begin(t.Context(), admin, "page", request("pause-topic topic-00000")); err == nil || !strings.HasPrefix(err.Error(), "STOPPING") {
		t.Errorf("after its end: %v", err)
	}
}

// Who asks may go: what was begun goes on.
func TestWhoAsksGoes(t *testing.T) {
	b := start(t, noSettings, clustertest.Topics(1))
	release := make(chan struct{})
	b.Nodes[0].HandlePath("/topic/pause", func(http.ResponseWriter, *http.Request) { <-release })
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		waitFor(t, func() bool { return b.Nodes[0].Requests("/topic/pause") == 1 })
		leave()
	}()
	e, err := b.Do(ctx, admin, "api", request("pause-topic topic-00000"))
	if err != nil || e.Done {
		t.Errorf("%+v, %v", e, err)
	}
	close(release)
	waitFor(t, func() bool {
		e, _ := b.log.Get(e.Number)
		return e.Done && e.Results[0].OK
	})
}

func TestTooManyAtATime(t *testing.T) {
	b := start(t, noSettings, clustertest.Topics(1))
	release := make(chan struct{})
	b.Nodes[0].HandlePath("/topic/pause", func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	for i := range 65 {
		_, err := b.Begin(t.Context(), admin, "api", request("pause-topic topic-00000"))
		if busy := err != nil && strings.HasPrefix(err.Error(), "BUSY"); busy != (i == 64) {
			t.Fatalf("%d: %v", i, err)
		}
	}
}

func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) { // the played daemons are on real connections: no fake clock
		if time.Since(began) > time.Minute {
			t.Error("waited for in vain")
			return
		}
	}
}
