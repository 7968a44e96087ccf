package signin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/signin"
)

func TestProxies(t *testing.T) {
	const file = `
[proxy]
groups_header = "X-Groups"
[proxy.roles]
ops = "operator"
"the chiefs" = "admin"
`
	settings := signin.Settings{Proxies: []string{"10.0.0.0/8", "::1", "203.0.113.5"}, Admins: []string{"root"}, Operators: []string{"otto", "chief"}}
	const from = "10.1.2.3:4"
	for _, tt := range []struct {
		from, header string // header: Name: value, separated by newlines
		want         string
	}{
		{from, "X-Forwarded-User: somebody", "somebody viewer proxy"},
		{from, "X-Forwarded-User: root", "root admin proxy"},
		{from, "X-Forwarded-User: otto", "otto operator proxy"},
		{from, "X-Forwarded-User: somebody\nX-Groups: a, ops ,b", "somebody operator proxy"},
		{from, "X-Forwarded-User: somebody\nX-Groups: ops\nX-Groups: the chiefs", "somebody admin proxy"},
		{from, "X-Forwarded-User: chief\nX-Groups: the chiefs;x", "chief admin proxy"},
		{from, "X-Forwarded-User: somebody\nX-Groups: OPS", "somebody viewer proxy"},
		{from, "X-Forwarded-User: Jürgen O'Neill <j@x.example>", "Jürgen O'Neill <j@x.example> viewer proxy"},
		{"[::1]:4", "X-Forwarded-User: root", "root admin proxy"},
		{"[::ffff:10.1.2.3]:4", "X-Forwarded-User: root", "root admin proxy"},
		{"203.0.113.5:4", "X-Forwarded-User: root", "root admin proxy"},

		{from, "", ""},
		{from, "X-Forwarded-User: ", ""},
		{from, "X-Forwarded-User: root\nX-Forwarded-User: somebody", ""},
		{from, "X-Forwarded-User: ro\x01ot", ""},
		{from, "X-Forwarded-User: \xff", ""},
		{from, "X-Forwarded-User: " + strings.Repeat("x", 300), ""},
		{from, "X-Groups: the chiefs", ""},
		{"203.0.113.6:4", "X-Forwarded-User: root", ""},
		{"11.1.2.3:4", "X-Forwarded-User: root\nX-Groups: the chiefs\nX-Forwarded-For: 10.1.1.1", ""},
		{"127.0.0.1:4", "X-Forwarded-User: root", ""},
		{"@", "X-Forwarded-User: root", ""}, // a socket file counts as 127.0.0.1
		{"", "X-Forwarded-User: root", ""},
	} {
		r := start(t, settings, file)
		b := r.browser()
		b.from = tt.from
		for line := range strings.SplitSeq(tt.header, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				b.header[name] = append(b.header[name], value)
			}
		}
		expect(t, tt.from+" "+tt.header, b.as(), tt.want)
		if n := strings.Count(r.said.String(), "\n"); n > 1 {
			t.Errorf("%s: said in %d lines", tt.header, n)
		}
		if a := b.get("/topics"); tt.want == "" && (a.StatusCode != 401 || !strings.Contains(a.text, "Come through the proxy")) {
			t.Errorf("%s: %d %q", tt.header, a.StatusCode, a.text)
		}
	}
}

// Those whom nothing names may be kept out, and then know that it is not their
// password.
func TestProxiedWithoutARole(t *testing.T) {
	b := start(t, signin.Settings{Proxies: []string{"192.0.2.7"}, Admins: []string{"root"}}, "[proxy]\nrole='nobody'\n").browser()
	b.header.Set("X-Forwarded-User", "somebody")
	if a := b.get("/topics"); a.StatusCode != http.StatusForbidden || !strings.Contains(a.text, "somebody is known, but has no role") {
		t.Errorf("%d %q", a.StatusCode, a.text)
	}
	b.header.Set("X-Forwarded-User", "root")
	expect(t, "one who is named", b.as(), "root admin proxy")
}

func TestAnotherHeader(t *testing.T) {
	b := start(t, signin.Settings{Proxies: []string{"192.0.2.7"}, ProxyHeader: "Remote-User"}, "").browser()
	b.header.Set("X-Forwarded-User", "root")
	expect(t, "the usual header", b.as(), "")
	b.header.Set("Remote-User", "max")
	expect(t, "ours", b.as(), "max viewer proxy")
}

// A user's address is the last that no trusted proxy has: what is before it anybody
// may have made up.
func TestRemote(t *testing.T) {
	r := start(t, signin.Settings{Proxies: []string{"10.0.0.0/8", "127.0.0.1"}}, everyRole)
	for _, tt := range []struct{ from, header, want string }{
		{"192.0.2.7:1", "", "192.0.2.7"},
		{"192.0.2.7:1", "203.0.113.1", "192.0.2.7"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"10.0.0.1:1", "203.0.113.1", "203.0.113.1"},
		{"10.0.0.1:1", "203.0.113.1:4711", "203.0.113.1"},
		{"10.0.0.1:1", "[2001:db8::1]:4711", "2001:db8::1"},
		{"10.0.0.1:1", "1.1.1.1, 203.0.113.1, 10.0.0.9", "203.0.113.1"},
		{"10.0.0.1:1", "203.0.113.1, nonsense", "10.0.0.1"},
		{"10.0.0.1:1", "nonsense, 203.0.113.1", "203.0.113.1"},
		{"10.0.0.1:1", "10.0.0.3,10.0.0.2", "10.0.0.3"},
		{"10.0.0.1:1", "::ffff:203.0.113.1", "203.0.113.1"},
		{"[fe80::1%eth0]:1", "", "fe80::1"},
		{"/run/admin.sock", "203.0.113.1", "203.0.113.1"},
	} {
		b := r.browser()
		b.from = tt.from
		b.header.Set("X-Forwarded-For", tt.header)
		expect(t, tt.from+" "+tt.header, b.get("/ping").who.Remote, tt.want)
	}
}

// Without users: everybody from this machine, and nobody else.
func TestOpen(t *testing.T) {
	for _, tt := range []struct{ from, header, want string }{
		{"127.0.0.1:1", "", "local admin open"},
		{"127.8.8.8:1", "", "local admin open"},
		{"[::1]:1", "", "local admin open"},
		{"/run/admin.sock", "", "local admin open"},
		{"127.0.0.1:1", "X-Forwarded-User", "local admin open"}, // nobody believes it
		{"192.0.2.7:1", "", ""},
		{"[2001:db8::1]:1", "", ""},
		{"127.0.0.1:1", "X-Forwarded-For", ""}, // a proxy shows it to others
		{"127.0.0.1:1", "Forwarded", ""},
		{"127.0.0.1:1", "X-Real-Ip", ""},
	} {
		r := start(t, signin.Settings{}, "")
		if r.Configured() {
			t.Fatal("it is configured")
		}
		b := r.browser()
		b.from = tt.from
		if tt.header != "" {
			b.header[tt.header] = []string{"192.0.2.7"}
		}
		expect(t, tt.from+" "+tt.header, b.as(), tt.want)
		if a := b.get("/topics"); tt.want == "" && (a.StatusCode != 403 || !strings.Contains(a.text, "No user is configured")) {
			t.Errorf("%s %s: %d %q", tt.from, tt.header, a.StatusCode, a.text)
		}
		if a := b.signIn("anna", "x"); a.StatusCode != 404 {
			t.Errorf("sign-in: %d", a.StatusCode)
		}
	}
}
