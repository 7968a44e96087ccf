package session_test

import (
	"crypto/sha256"
	"crypto/tls"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/limit"
	"github.com/millrace-mq/millrace/internal/secure/securetest"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/broker"
	bounds "github.com/millrace-mq/millrace/qd/limits"
	"github.com/millrace-mq/millrace/qd/queue"
	"github.com/millrace-mq/millrace/qd/session"
)

var rewrite = flag.Bool("rewrite", false, "write what the daemon says into the conversations in testdata")

// TestConversations plays the conversations in testdata under a fake clock and
// compares what the daemon says with what stands there. See testdata/README.md.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			synctest.Test(t, func(t *testing.T) { got = play(t, string(want)) })
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("the daemon says otherwise:\n%s", difference(string(want), got))
			}
		})
	}
}

// difference shows the first lines that differ, with what leads up to them.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	i := 0
	for i < min(len(w), len(g)) && w[i] == g[i] {
		i++
	}
	from := max(0, i-5)
	return fmt.Sprintf("line %d\n--- want\n%s\n--- got\n%s", i+1,
		strings.Join(w[from:min(len(w), i+8)], "\n"), strings.Join(g[from:min(len(g), i+8)], "\n"))
}

// stage is a conversation that is being played.
type stage struct {
	*daemon
	listener *listener
	limits   session.Settings
	bounds   bounds.Settings
	level    broker.Level // of topics
	auth     *authority   // nil without one
	rules    string       // the access file; empty without one
	t        *testing.T
	trust    *tls.Config // of the clients; nil without TLS
	actors   []*actor    // in the order of their entrance
	ids      map[string]string
	bodies   map[string]string // by ID
	out      strings.Builder
}

// play carries out the script and returns it with what was said.
func play(t *testing.T, script string) string {
	s := &stage{t: t, limits: limits(), listener: newListener(), ids: map[string]string{}, bodies: map[string]string{}}
	for i, line := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		if strings.HasPrefix(line, "  ") {
			continue // was said in an earlier run
		}
		fmt.Fprintln(&s.out, line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := s.perform(t, line); err != nil {
			t.Fatalf("line %d: %s: %v", i+1, line, err)
		}
	}
	for _, a := range s.actors {
		a.leave()
	}
	s.open(t)
	synctest.Wait()
	s.stop()
	if s.auth != nil {
		s.auth.stop()
	}
	return s.out.String()
}

func (s *stage) open(t *testing.T) {
	if s.daemon == nil {
		s.daemon = startAt(t, s.limits, s.listener, slog.New(slog.DiscardHandler), s.level)
		if a := s.limits.Access; a != nil {
			a.OnChange(s.server.Recheck)
		}
		s.server.Limits.Set(s.bounds)
	}
}

// perform carries out a line and writes down what the daemon says to it.
func (s *stage) perform(t *testing.T, line string) error {
	if words := strings.Fields(line); words[0] == "set" {
		return s.set(words[1], words[2])
	}
	s.open(t)
	begun := time.Now()
	if strings.HasPrefix(line, "auth ") {
		return s.auth.perform(line)
	}
	if name, said, ok := strings.Cut(line, ": "); ok {
		there := len(s.actors)
		a, err := s.actor(name)
		if err != nil {
			return err
		}
		text, err := s.commands(said)
		if err != nil {
			return err
		}
		// Who has only just come may have been turned away meanwhile.
		if err := a.say(text); err != nil && len(s.actors) == there {
			return err
		}
	} else if err := s.act(strings.Fields(line)); err != nil {
		return err
	}
	synctest.Wait()
	if s.auth != nil {
		for _, q := range s.auth.take() {
			s.note("auth", q.text, q.at.Sub(begun))
		}
	}
	for _, a := range s.actors {
		for _, h := range a.take() {
			s.note(a.name, s.render(h), h.at.Sub(begun))
		}
	}
	return nil
}

// note writes down what somebody got, and how long after the line it was.
func (s *stage) note(who, what string, late time.Duration) {
	fmt.Fprintf(&s.out, "  %s <- %s", who, what)
	if late > 0 {
		fmt.Fprintf(&s.out, " after %s", late)
	}
	s.out.WriteByte('\n')
}

func (s *stage) set(name, value string) (err error) {
	switch name {
	case "durability":
		return s.level.UnmarshalText([]byte(value))
	case "auth":
		s.auth = newAuthority()
		s.limits.Auth, err = s.auth.client(value)
		return err
	case "access":
		path := filepath.Join(s.t.TempDir(), "access.toml")
		if err := writeRules(path, value); err != nil {
			return err
		}
		s.limits.Access, err = access.Open(path, slog.New(slog.DiscardHandler))
		s.rules = path
		return err
	case "tls":
		s.limits.TLS, s.trust, err = trusting()
		s.limits.TLSRequired = value == "required"
		if value == "verified" {
			s.limits.TLS.ClientAuth, s.limits.TLS.ClientCAs = tls.RequireAndVerifyClientCert, s.trust.RootCAs
		}
		return err
	}
	n, d := 0, time.Duration(0)
	if _, err := fmt.Sscan(value, &n); err != nil {
		return err
	}
	d, _ = time.ParseDuration(value)
	switch name {
	case "max-rdy-count":
		s.limits.MaxRdyCount = int64(n)
	case "max-channel-consumers":
		s.limits.MaxChannelConsumers = n
	case "max-msg-size":
		s.limits.MaxMsgSize = n
	case "max-body-size":
		s.limits.MaxBodySize = n
	case "max-req-timeout":
		s.limits.MaxReqTimeout = d
	case "max-msg-timeout":
		s.limits.MaxMsgTimeout = d
	case "max-connections":
		s.bounds.Connections = n
	case "max-publish-bytes-per-second":
		s.bounds.Topic.Bytes = limit.Rate(n)
	case "max-publish-messages-per-second":
		s.bounds.Topic.Messages = limit.Rate(n)
	case "client-max-publish-messages-per-second":
		s.bounds.Client.Messages = limit.Rate(n)
	case "client-max-topics":
		s.bounds.Topics = n
	case "client-max-channels":
		s.bounds.Channels = n
	default:
		return fmt.Errorf("no setting %s", name)
	}
	return nil
}

// writeRules writes the access file testdata/access/name.toml, in which a token stands
// itself, behind "of", in place of its hash.
func writeRules(path, name string) error {
	text, err := os.ReadFile(filepath.Join("testdata", "access", name+".toml"))
	if err != nil {
		return err
	}
	hashed := regexp.MustCompile(`sha256 = "of ([^"]*)"`).ReplaceAllFunc(text, func(m []byte) []byte {
		return fmt.Appendf(nil, "sha256 = \"%x\"", sha256.Sum256(m[len(`sha256 = "of `):len(m)-1]))
	})
	return os.WriteFile(path, hashed, 0o600)
}

// trusting returns what a daemon and its clients need for TLS.
func trusting() (server, client *tls.Config, err error) {
	ca, err := securetest.NewAuthority("ca")
	if err != nil {
		return nil, nil, err
	}
	ours, err := ca.Pair("qd")
	if err != nil {
		return nil, nil, err
	}
	theirs, err := ca.Pair("client")
	return &tls.Config{Certificates: []tls.Certificate{ours}, ClientAuth: tls.RequestClientCert},
		&tls.Config{RootCAs: ca.Pool(), ServerName: "qd", Certificates: []tls.Certificate{theirs}}, err
}

// actor returns the connection called name, which it opens if need be.
func (s *stage) actor(name string) (*actor, error) {
	for _, a := range s.actors {
		if a.name == name {
			return a, nil
		}
	}
	a := &actor{name: name, conn: s.listener.dial(name, 4<<20), trust: s.trust}
	if strings.HasPrefix(name, "plain") {
		a.trust = nil
	}
	s.actors = append(s.actors, a)
	go a.listen() // ends when either end closes the connection
	if strings.HasPrefix(name, "raw") {
		return a, nil
	}
	_ = a.say([]byte(protocol.MagicV2)) // it may have been turned away already
	return a, nil
}

// act carries out what is not said on a connection.
func (s *stage) act(words []string) error {
	args := append(words[1:], "", "")
	switch words[0] {
	case "advance":
		d, err := time.ParseDuration(args[0])
		time.Sleep(d)
		return err
	case "close", "half-close", "mute":
		a, err := s.actor(args[0])
		switch {
		case err != nil:
			return err
		case words[0] == "close":
			a.leave()
		case words[0] == "mute":
			a.mute()
		default:
			return a.wire().CloseWrite()
		}
		return nil
	case "access":
		if err := writeRules(s.rules, words[1]); err != nil {
			return err
		}
		return s.limits.Access.Reload()
	case "drain":
		s.broker.Drain()
		return nil
	case "refuse":
		s.broker.Refuse()
		return nil
	case "stop":
		s.dismiss()
		return nil
	case "clients":
		s.listClients()
		return nil
	}
	return s.operate(words[0], args[0], args[1])
}

// operate does what an operator does to a topic or one of its channels.
func (s *stage) operate(what, topic, channel string) error {
	if what == "delete-topic" {
		return s.broker.DeleteTopic(topic)
	}
	t, err := s.broker.Find(topic)
	if err != nil && what != "stats" {
		return err
	}
	switch what {
	case "delete-channel":
		return t.DeleteChannel(channel)
	case "pause", "unpause", "empty":
		f := map[string]func() error{"pause": func() error { return t.Pause(queue.Pause{}) }, "unpause": t.Unpause, "empty": t.Empty}
		g := map[string]func(string) error{
			"pause": func(c string) error { return t.PauseChannel(c, queue.Pause{}) }, "unpause": t.UnpauseChannel, "empty": t.EmptyChannel,
		}
		if channel == "" {
			return f[what]()
		}
		return g[what](channel)
	case "stats":
		s.describe(topic, t)
		return nil
	}
	return fmt.Errorf("nobody can %s", what)
}

// describe writes down what a topic has.
func (s *stage) describe(name string, t *broker.Topic) {
	if t == nil {
		fmt.Fprintf(&s.out, "  no topic %s\n", name)
		return
	}
	t.View(func(core *queue.Topic) {
		published, bytes := core.Published()
		fmt.Fprintf(&s.out, "  %s depth=%d published=%d bytes=%d\n", name, core.Depth(), published, bytes)
		for _, c := range core.Channels() {
			n := c.Counts()
			fmt.Fprintf(&s.out, "  %s/%s depth=%d in-flight=%d deferred=%d consumers=%d finished=%d requeued=%d timed-out=%d\n",
				name, c.Name(), c.Depth(), c.InFlight(), c.Deferred(), c.ConsumerCount(), n.Finished, n.Requeued, n.TimedOut)
		}
	})
}

func (s *stage) listClients() {
	all := s.server.Clients()
	slices.SortFunc(all, func(a, b session.Client) int { return strings.Compare(a.RemoteAddress, b.RemoteAddress) })
	for _, c := range all {
		fmt.Fprintf(&s.out, "  %s id=%q host=%q agent=%q state=%d timeout=%s sample=%d", c.RemoteAddress,
			c.ID, c.Hostname, c.UserAgent, c.State, c.MsgTimeout, c.SampleRate)
		if c.TLS {
			fmt.Fprintf(&s.out, " tls=%s cn=%q", c.TLSVersion, c.CommonName)
		}
		if c.Authed {
			fmt.Fprintf(&s.out, " authed=%q at=%q", c.AuthIdentity, c.AuthIdentityURL)
		}
		for _, topic := range slices.Sorted(maps.Keys(c.PubCounts)) {
			fmt.Fprintf(&s.out, " %s=%d", topic, c.PubCounts[topic])
		}
		s.out.WriteByte('\n')
	}
}
