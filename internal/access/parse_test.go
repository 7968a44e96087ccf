package access_test

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func hashed(token string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(token))) }

var file = `
[[token]]
name = "billing"
sha256 = "` + hashed("b") + `"

[[token]]
name = "guest"
sha256 = "` + hashed("g") + `"
expires = 2026-11-23

[[certificate]]
name = "ops"
common_name = "ops.example"

[[certificate]]
name = "robot"
uri = "spiffe://example/robot"

[[rule]]
who = ["billing", "guest"]
rights = ["publish"]
topics = ["bill.*", "pay"]

[[rule]]
who = ["guest"]
rights = ["subscribe"]
topics = ["bill.*"]
channels = ["ship"]

[[rule]]
who = ["ops"]
rights = ["manage"]

[[rule]]
who = ["robot"]
rights = ["manage"]
topics = ["bill.*"]
channels = ["ship"]

[[rule]]
who = ["from 10.0.0.0/8", "from 2001:db8::/32", "from 127.0.0.1"]
rights = ["register", "stats"]

[[rule]]
who = ["anyone"]
rights = ["look"]
topics = ["public*"]
`

func parse(t *testing.T, text string) *access.Rules {
	t.Helper()
	r, err := access.Parse("access.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRules asks what each of some people may do.
func TestRules(t *testing.T) {
	r := parse(t, file)
	robot, _ := url.Parse("spiffe://example/robot")
	people := map[string]access.Who{
		"stranger": {Remote: "192.0.2.1:1"},
		"billing":  {Remote: "192.0.2.1:1", Secret: "b"},
		"guest":    {Remote: "192.0.2.1:1", Secret: "g"},
		"wrong":    {Remote: "192.0.2.1:1", Secret: hashed("b")},
		"ops":      {Certificate: &x509.Certificate{Subject: pkix.Name{CommonName: "ops.example"}}},
		"robot":    {Certificate: &x509.Certificate{URIs: []*url.URL{robot}}},
		"near":     {Remote: "10.1.2.3:4"},
		"mapped":   {Remote: "[::ffff:10.1.2.3]:4"},
		"six":      {Remote: "[2001:db8::1%eth0]:4"},
		"local":    {Remote: "127.0.0.1:4"},
		"socket":   {Remote: "@"},
	}
	all := []access.Action{access.Stats, access.Look, access.Publish, access.Subscribe, access.Manage, access.Register, access.Find, access.List}
	for _, c := range []struct{ who, topic, channel, want string }{
		{"stranger", "bill.a", "ship", "list"},
		{"stranger", "public.a", "ship", "stats look find list"},
		{"stranger", "public.a", "", "stats look find list"},
		{"stranger", "", "", "find list"},
		{"wrong", "bill.a", "ship", "list"},
		{"billing", "bill.a", "", "publish find list"},
		{"billing", "pay", "", "publish find list"},
		{"billing", "payment", "", "list"},
		{"billing", "my.bill.a", "", "list"},
		{"billing", "bill.a#ephemeral", "", "publish find list"},
		{"billing", "pay#ephemeral", "", "list"},
		{"billing", "", "", "find list"},
		{"guest", "bill.a", "ship", "publish subscribe find list"},
		{"guest", "bill.a", "", "publish find list"},
		{"guest", "bill.a", "ship#ephemeral", "publish find list"},
		{"ops", "", "", "stats look manage find list"},
		{"ops", "bill.a", "ship", "stats look manage find list"},
		{"robot", "bill.a", "ship", "stats look manage find list"},
		{"robot", "bill.a", "", "find list"},
		{"robot", "other", "ship", "list"},
		{"near", "x", "", "stats register find list"},
		{"mapped", "", "", "stats register find list"},
		{"six", "", "", "stats register find list"},
		{"local", "", "", "stats register find list"},
		{"socket", "", "", "find list"},
	} {
		g := r.Grant(people[c.who], noon)
		var may []string
		for _, a := range all {
			if g.May(a, c.topic, c.channel) {
				may = append(may, a.String())
			}
		}
		if got := strings.Join(may, " "); got != c.want {
			t.Errorf("%s may of %q %q: %s, want %s", c.who, c.topic, c.channel, got, c.want)
		}
		if !g.May(access.Free, "", "") || g.May(0, "", "") {
			t.Errorf("%s: what is free, or nothing, is not what it was", c.who)
		}
	}
}

// TestGrant looks at what is known of somebody besides.
func TestGrant(t *testing.T) {
	r := parse(t, file)
	ops := &x509.Certificate{Subject: pkix.Name{CommonName: "ops.example"}}
	for _, c := range []struct {
		who  access.Who
		at   time.Time
		name string
		of   access.Finding
		all  access.Rights
	}{
		{access.Who{}, noon, "", access.NoSecret, 0},
		{access.Who{Secret: "b"}, noon, "billing", access.KnownSecret, 0},
		{access.Who{Secret: "B"}, noon, "", access.UnknownSecret, 0},
		{access.Who{Secret: strings.Repeat("b", 1<<20)}, noon, "", access.UnknownSecret, 0},
		{access.Who{Secret: "g"}, noon, "guest", access.KnownSecret, 0},
		{access.Who{Secret: "g"}, noon.Add(12*time.Hour - 1), "guest", access.KnownSecret, 0},
		{access.Who{Secret: "g"}, noon.Add(12 * time.Hour), "", access.ExpiredSecret, 0},
		{access.Who{Secret: "x", Certificate: ops}, noon, "ops", access.UnknownSecret, 1<<access.Stats | 1<<access.Look | 1<<access.Manage},
		{access.Who{Secret: "b", Certificate: ops}, noon, "billing", access.KnownSecret, 1<<access.Stats | 1<<access.Look | 1<<access.Manage},
	} {
		g := r.Grant(c.who, c.at)
		if g.Name != c.name || g.Secret != c.of || g.Everywhere() != c.all {
			t.Errorf("%.9s at %s: %q, %d, %b", c.who.Secret, c.at, g.Name, g.Secret, g.Everywhere())
		}
	}
	if g := r.Grant(access.Who{Secret: "g"}, noon); !g.Expires.Equal(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("expires %s", g.Expires)
	}
}

// TestNoRules is a file that decides nothing.
func TestNoRules(t *testing.T) {
	r := parse(t, "[[token]]\nname = \"a\"\nsha256 = \""+hashed("a")+"\"\n")
	if g := r.Grant(access.Who{}, noon); r.Any() || !g.May(access.Manage, "", "") {
		t.Error("without rules not everything is allowed")
	}
}

// TestSees is about lists.
func TestSees(t *testing.T) {
	r := parse(t, file+"[[rule]]\nwho = [\"billing\"]\nrights = [\"stats\"]\ntopics = [\"a\"]\nchannels = [\"x\"]\n")
	g := r.Grant(access.Who{Secret: "b"}, noon)
	for _, c := range []struct {
		action         access.Action
		topic, channel string
		want           bool
	}{
		{access.Stats, "a", "", true}, {access.Stats, "a", "x", true}, {access.Stats, "a", "y", false}, {access.Stats, "bill.a", "", false},
		{access.Find, "bill.a", "", true}, {access.Find, "a", "", true}, {access.Find, "b", "", false},
	} {
		if g.Sees(c.action, c.topic, c.channel) != c.want {
			t.Errorf("%s of %s %s is not %t", c.action, c.topic, c.channel, c.want)
		}
	}
	ops := r.Grant(access.Who{Certificate: &x509.Certificate{Subject: pkix.Name{CommonName: "ops.example"}}}, noon)
	if g.SeesAll(access.Find) || !ops.SeesAll(access.Find) || !ops.SeesAll(access.Stats) {
		t.Error("who sees all is another")
	}
}

// TestParseComplaints wants all that is wrong, with lines, and no token.
func TestParseComplaints(t *testing.T) {
	token := func(lines string) string {
		return "[[token]]\nname = \"a\"\nsha256 = \"" + hashed("a") + "\"\n" + lines
	}
	for text, want := range map[string]string{
		"[[tokens]]\n":                                        `1: unknown key "tokens": is [[token]] meant?`,
		"rules = 1\n":                                         `1: unknown key "rules": is [[rule]] meant?`,
		"[token]\nname = \"a\"\n":                             `1: token: must be tables, each headed [[token]]`,
		"[[token]]\nnam = \"a\"\n":                            `1: [[token]] has no name: logs and figures tell it, and rules name it|1: [[token]] has no sha256: --new-token makes a token and these lines|2: unknown key "nam" in [[token]]: is name meant?`,
		token("expires = \"2027\"\n"):                         `4: expires: must be a date, or a time with its zone, without quotes: 2027-01-01 or 2027-01-01T12:00:00Z`,
		token("expires = 12:00:00\n"):                         `4: expires: must have a date, not only a time of day`,
		token("token = \"s3cret\"\n"):                         `4: token: must not be here, for whoever reads the file could use it: write its sha256, which --new-token prints, and make a new one`,
		token(token("")):                                      `5: name "a": is there already, in line 2: give each its own, and name both in the rule|6: sha256: is that of line 3: one token cannot be two`,
		"[[token]]\nname = \"anyone\"\nsha256 = \"s3cret\"\n": `2: name "anyone": stands for everybody in rules: must be another|3: sha256: must be 64 hexadecimal digits, as sha256sum prints them; it has 6 characters`,
		"[[token]]\nname = \"from 1\"\nsha256 = \"\"\n":       `2: name "from 1": must have letters, digits and . _ @ - alone|3: sha256: must be 64 hexadecimal digits, as sha256sum prints them; it has 0 characters`,
		"[[token]]\nname = \"a\"\nsha256 = s3cret\n":          `3: what is behind token.sha256 cannot be read: are the quotes right?`,
		"[[certificate]]\nname = \"a\"\n":                     `2: [[certificate]] must have one of common_name, dns and uri, as it stands in the certificate`,
		"[[certificate]]\nname = \"a\"\ndns = \"x\"\n[[certificate]]\nname = \"b\"\ndns = \"x\"\n": `5: [[certificate]] "b": another one has the same common_name, dns or uri`,
		token("[[rule]]\n"): `4: [[rule]] has no rights: look, manage, publish, register, stats, subscribe|4: [[rule]] has no who: names of tokens and certificates, "anyone", or "from" and a network`,
		token("[[rule]]\nwho = \"a\"\nrights = [\"publsh\"]\n"):                                                  `5: who: must be a list of texts, such as ["a", "b"]|6: rights: "publsh" is none: is "publish" meant?`,
		token("[[rule]]\nwho = [\"biling\", \"a\", \"a\"]\nrights = []\n"):                                       `5: who: no token and no certificate is called "biling": there are "a", "anyone"|5: who: "a" is there twice|6: rights: is empty`,
		token("[[rule]]\nwho = [\"a\"]\nrights = [\"look\"]\ntopics = [\"a[bc]\", \"\"]\nchannels = []\n"):       `7: topics: "a[bc]" has a character that no name has: a name has letters, digits and . _ -, and * stands for any of them (no regular expressions)|7: topics: "" is empty: * stands for all|8: channels: is empty`,
		token("[[rule]]\nwho = [\"a\"]\nrights = [\"register\"]\ntopics = [\"a\"]\n"):                            `6: rights: a rule with register must not name topics or channels, for a daemon registers all that it has: make another rule for the other rights`,
		token("[[rule]]\nwho = [\"a\"]\nrights = [\"publish\"]\nchannels = [\"a\"]\n"):                           `7: channels: say nothing where the one right is publish: messages go to all channels of a topic`,
		token("[[rule]]\nwho = [\"from 10.1.2.3/8\", \"from me\"]\nrights = [\"look\"]\n"):                       `5: who: "from 10.1.2.3/8": has bits behind the network's: is 10.0.0.0/8 meant?|5: who: "from me": must be "from" and a network such as 10.0.0.0/8, or an address`,
		token("[[rule]]\nwho = [\"a\"]\nrights = [\"look\"]\ntopics = [\"" + strings.Repeat("*a", 65) + "\"]\n"): `7: topics: "` + strings.Repeat("*a", 64) + `…" is longer than 128 characters: no name is as long`,
	} {
		_, err := access.Parse("access.toml", []byte(text))
		var lines []string
		for line := range strings.Lines(fmt.Sprint(err)) {
			lines = append(lines, strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "access-file access.toml:"))
		}
		if got := strings.Join(lines, "|"); got != want || strings.Contains(got, "s3cret") {
			t.Errorf("of\n%s\nis told\n%s, want\n%s", text, got, want)
		}
	}
}

// TestParseHostile is about files that are no access files: they are refused in time.
func TestParseHostile(t *testing.T) {
	var many, whom strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&many, "k%d = 1\n", i)
		fmt.Fprintf(&whom, "\"nobody%d\",", i)
	}
	for name, text := range map[string]string{
		"many keys":          many.String(),
		"many keys in table": "[[rule]]\n" + many.String(),
		"many unknown":       "[[rule]]\nrights = [\"look\"]\nwho = [" + whom.String() + "]\n",
		"long":               "[[rule]]\nwho = [\"" + strings.Repeat("x", 1<<16) + "\"]\n",
	} {
		if _, err := access.Parse("f", []byte(text)); err == nil || len(err.Error()) > 100_000 {
			t.Errorf("%s: %.100v", name, err)
		}
	}
	r := parse(t, "[[rule]]\nwho = [\"anyone\"]\nrights = [\"look\"]\ntopics = [\""+strings.Repeat("*a", 64)+"\"]\n")
	g := r.Grant(access.Who{}, noon)
	for _, topic := range []string{strings.Repeat("a", 1000) + "b", strings.Repeat("a", 1<<20)} {
		if g.May(access.Look, topic, "") {
			t.Errorf("%.10s… is allowed", topic)
		}
	}
}

// FuzzParse looks for files that stop the parser, or errors that are no lines.
func FuzzParse(f *testing.F) {
	f.Add(file, "bill.a", "ship")
	f.Add("[[rule]]\nwho=[\"anyone\"]\nrights=[\"look\"]\ntopics=[\"*a*b*\"]", "xaxb", "")
	f.Fuzz(func(t *testing.T, text, topic, channel string) {
		r, err := access.Parse("f", []byte(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "access-file f") {
				t.Errorf("told is %q", err)
			}
			return
		}
		g := r.Grant(access.Who{Remote: "10.0.0.1:1", Secret: "b"}, noon)
		if g.May(access.Manage, topic, channel) && !g.May(access.Stats, topic, channel) {
			t.Error("who may manage may not see")
		}
	})
}
