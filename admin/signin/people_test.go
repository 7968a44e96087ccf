package signin_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/signin"
)

// Everything that is wrong with a file is told at once, with its line, and without
// what may be a secret.
func TestComplaints(t *testing.T) {
	good := quick("x")
	const argon = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g"
	file := filepath.Join(t.TempDir(), "users.toml")
	for _, tt := range []struct{ name, text, want string }{
		{"good", "[[users]]\nname='a'\npassword='" + good + "'\nrole='admin'", ""},
		{"argon2id", "[[users]]\nname='a'\npassword='" + argon + "'\nrole='admin'", ""},
		{"inline", "users=[{name='a',password='" + good + "',role='admin'}]", ""},
		{"empty", "", "FILE: lets nobody in: it needs [[users]] or [oidc], or --trusted-proxy beside it"},
		{"a proxy's rules alone", "[proxy]\nrole='viewer'", "FILE: lets nobody in: it needs [[users]] or [oidc], or --trusted-proxy beside it"},
		{"all at once", `# users
[[users]]
name = "anna"
password = "s3cret!"
role = "boss"

[[users]] # the second
pasword = "x"
role = 7

[[ users ]]
name = "anna"
password = "` + good + `"
role = "viewer"

[[users]]
name = " x"
password = "$2a$10$abc"
role = "admin"

[oidc]
issuer = "id.example"
client_id = 5
url = "ftp://x"
scopes = "openid"

[oidc.roles]
ops = "operators"

[prxy]
`, `FILE:4: password of "anna": must be a hash, by bcrypt or argon2id, as --hash-password prints it
FILE:5: role "boss": must be viewer, operator or admin
FILE:7: [users] has no name
FILE:7: [users] has no password
FILE:8: unknown key "pasword": there are name, password, role
FILE:9: role: must be a text, in quotes
FILE:12: name: there is another user called "anna"
FILE:17: name: must be of letters, digits, signs and single blanks within
FILE:18: password of " x": the bcrypt hash is damaged
FILE:21: role_claim: give it together with [oidc.roles], the role for each of its values
FILE:22: issuer: must be the provider's URL, such as https://id.example.com
FILE:23: client_id: must be a text, in quotes
FILE:24: url: must be where browsers find this UI, such as https://queues.example.com/base/
FILE:25: scopes: must be a list of texts
FILE:28: ops "operators": must be viewer, operator or admin
FILE:30: unknown key "prxy": there are oidc, proxy, users`},
		{"users are no tables", "users = 'anna'", "FILE:1: users: must be tables, each headed [[users]]"},
		{"one table", "[users]\nname='a'", "FILE:1: users: must be tables, each headed [[users]]"},
		{"no TOML", "[[users]]\nname=\npassword='x'", "FILE:2: "},
		{"a secret that is no TOML", "[[users]]\npassword = s3cret", "FILE:2: cannot be read: are the quotes right?"},
		{"not UTF-8", "[[users]]\nname='\xff'", "FILE:2: "},
		{"a provider that gives no role", "[oidc]\nissuer='https://i'\nclient_id='c'\nurl='https://u'", "FILE:1: role: give it, or role_claim and [oidc.roles]"},
		{"a provider without all", "[oidc]\nrole='viewer'", "FILE:1: [oidc] has no issuer\nFILE:1: [oidc] has no client_id\nFILE:1: [oidc] has no url"},
		{"a claim without roles", "[oidc]\nissuer='https://i'\nclient_id='c'\nurl='https://u'\nrole='viewer'\nrole_claim='x'", "FILE:6: role_claim: give it together with"},
		{"groups without a header", "[proxy]\n[proxy.roles]\na='admin'", "FILE:1: groups_header: give it together with"},
		{"a header that is none", "[proxy]\ngroups_header='a b'\n[proxy.roles]\na='admin'", "FILE:2: groups_header: must be a header's name"},

		{"100 GiB", argonUser("m=104857600,t=2,p=1"), "FILE:3: password of \"a\": the argon2id hash asks for m=104857600,t=2,p=1"},
		{"for hours", argonUser("m=262144,t=1000,p=1"), "asks for"},
		{"t beyond 32 bits", argonUser("m=64,t=4294967295,p=1"), "asks for"},
		{"a number beyond all", argonUser("m=99999999999999999999,t=1,p=1"), "damaged"},
		{"no passes", argonUser("m=64,t=0,p=1"), "asks for"},
		{"no threads", argonUser("m=64,t=1,p=0"), "asks for"},
		{"many threads", argonUser("m=262144,t=1,p=255"), "asks for"},
		{"threads beyond eight bits", argonUser("m=262144,t=1,p=257"), "asks for"},
		{"too little memory", argonUser("m=7,t=1,p=1"), "asks for"},
		{"negative", argonUser("m=-1,t=1,p=1"), "damaged"},
		{"another order", argonUser("t=1,m=64,p=1"), "damaged"},
		{"bcrypt for an hour", "[[users]]\nname='a'\npassword='" + strings.Replace(good, "$04$", "$31$", 1) + "'\nrole='admin'", "has cost 31"},
		{"bcrypt that is too long", "[[users]]\nname='a'\npassword='" + good + "x'\nrole='admin'", "damaged"},
		{"bcrypt with other signs", "[[users]]\nname='a'\npassword='" + good[:59] + "!'\nrole='admin'", "damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			write(t, file, tt.text)
			_, err := signin.New(signin.Settings{File: file, Base: "/base/"}, slog.New(slog.DiscardHandler))
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("it is taken")
			}
			got := strings.ReplaceAll(err.Error(), "users-file "+file, "FILE")
			if strings.Contains(got, "s3cret") {
				t.Errorf("the secret is told: %s", got)
			}
			if many := strings.Contains(tt.want, "\n"); many && got != tt.want || !strings.Contains(got, tt.want) {
				t.Errorf("complaints:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

func argonUser(parameters string) string {
	return "[[users]]\nname='a'\npassword='$argon2id$v=19$" + parameters + "$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g'\nrole='admin'\n"
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	write(t, secret, everyRole)
	large := filepath.Join(dir, "large")
	write(t, large, strings.Repeat("# much\n", 1<<20))
	for _, tt := range []struct {
		settings signin.Settings
		want     []string
	}{
		{signin.Settings{File: filepath.Join(dir, "none")}, []string{"none: there is no such file"}},
		{signin.Settings{File: dir}, []string{"is no file"}},
		{signin.Settings{File: large}, []string{"must not have more than"}},
		{signin.Settings{Proxies: []string{"10.0.0.0/33"}}, []string{`trusted-proxy "10.0.0.0/33"`}},
		{signin.Settings{Proxies: []string{"proxy.example", "10.0.0.1"}}, []string{`trusted-proxy "proxy.example"`}},
		{signin.Settings{Admins: []string{"anna"}}, []string{"name with --trusted-proxy"}},
		{signin.Settings{File: filepath.Join(dir, "none"), Proxies: []string{"x", "y"}, KeyFile: dir},
			[]string{"no such file", `trusted-proxy "x"`, `trusted-proxy "y"`, "session-key-file"}},
	} {
		_, err := signin.New(tt.settings, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%+v is taken", tt.settings)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %q", tt.settings, err, want)
			}
		}
	}
	if os.Getuid() != 0 { // who may read everything
		if err := os.Chmod(secret, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := signin.New(signin.Settings{File: secret}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "may not read it") {
			t.Error(err)
		}
	}
}

func TestWays(t *testing.T) {
	if w := start(t, signin.Settings{}, everyRole).Ways(); w != (signin.Ways{Password: true}) {
		t.Errorf("%+v", w)
	}
	oidc := "[oidc]\nissuer='https://id.example/realm'\nclient_id='c'\nurl='https://u/'\nrole='viewer'\n"
	if w := start(t, signin.Settings{}, oidc).Ways(); w != (signin.Ways{OIDC: "id.example"}) {
		t.Errorf("%+v", w)
	}
	if w := start(t, signin.Settings{}, everyRole+oidc+"title='Us'\n").Ways(); w != (signin.Ways{Password: true, OIDC: "Us"}) {
		t.Errorf("%+v", w)
	}
	if w := start(t, signin.Settings{Proxies: []string{"10.0.0.1"}}, "").Ways(); w != (signin.Ways{}) {
		t.Errorf("%+v", w)
	}
}
