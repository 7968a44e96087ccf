package signin

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Whatever is in a users' file: it is taken, and then bounded in what it asks of us, or
// each complaint has a place, and a hash is never told.
func FuzzPeople(f *testing.F) {
	f.Add("[[users]]\nname='a'\npassword='$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy'\nrole='admin'\n")
	f.Add("[[users]]\nname='a'\npassword='$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA'\nrole='viewer'\n")
	f.Add("[oidc]\nissuer='https://i'\nclient_id='c'\nurl='https://u/x'\nrole_claim='g'\n[oidc.roles]\na='admin'\n")
	f.Add("[proxy]\ngroups_header='X-Groups'\nrole='nobody'\nroles={a='admin'}\n")
	f.Add("users=[{name=1},2]\n[[oidc]]\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePeople("FILE", text, "/x/")
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "users-file FILE") && len(err.Error()) < 1000 && !strings.Contains(text, "\n") {
					t.Fatalf("%q: the complaint %q has no place", text, line)
				}
			}
			return
		}
		if !slices.IsSorted(p.names) || len(p.names) != len(p.users) {
			t.Fatalf("%q: names %q", text, p.names)
		}
		for name, u := range p.users {
			if checkName(name) != nil || u.hash == nil || u.role < Viewer || u.role > Admin {
				t.Fatalf("%q: user %q: %+v", text, name, u)
			}
			if a, ok := u.hash.(*argon2Hash); ok && (a.memory > maxMemory || uint64(a.memory)*uint64(a.passes) > maxWork) {
				t.Fatalf("%q: asks for %+v", text, a)
			}
		}
		if p.oidc != nil && (!isURL(p.oidc.issuer) || !strings.HasSuffix(p.oidc.callback, "/x/oidc/callback")) {
			t.Fatalf("%q: %+v", text, p.oidc)
		}
	})
}

func FuzzHash(f *testing.F) {
	for _, s := range []string{
		"$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$", "$2b$", "$2y$31$", "plain",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHash(text)
		if err != nil {
			if len(text) > 12 && strings.Contains(err.Error(), text) {
				t.Fatalf("the complaint shows it: %v", err)
			}
			return
		}
		switch h := h.(type) {
		case *argon2Hash:
			if h.memory > 1<<10 || h.passes > 4 {
				return // right, but slow
			}
		case bcryptHash:
			if !strings.Contains(string(h[:7]), "$04$") {
				return
			}
		}
		h.matches("password") // must not panic, however odd
	})
}

// A name that there is not is compared with the hash of somebody, always the same.
func TestDecoys(t *testing.T) {
	p := &people{users: make(map[string]user)}
	for _, name := range []string{"a", "b", "c", "d"} {
		p.names = append(p.names, name)
		p.users[name] = user{hash: bcryptHash(name)}
	}
	seen := make(map[hashed]bool)
	for i := range 100 {
		name := strings.Repeat("x", i)
		d := p.decoy([]byte("key"), name)
		if d == nil || d != p.decoy([]byte("key"), name) {
			t.Fatalf("%d: %v", i, d)
		}
		seen[d] = true
	}
	if len(seen) != 4 {
		t.Errorf("all names that there are not take as long as those of %d users of 4", len(seen))
	}
}

// What is remembered of failures has a bound, and those who fail now stay in it.
func TestFailuresAreBounded(t *testing.T) {
	f := newFailures(0)
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range maxTracked + 500 {
		now = now.Add(1)
		f.begin(strings.Repeat("k", 1+i%7)+string(rune(0x4e00+i%20000)), now)
		if i%1000 == 0 {
			f.begin("the one", now)
		}
	}
	if len(f.of) > maxTracked || f.wait("the one", now) == 0 {
		t.Errorf("%d are remembered; the one waits %v", len(f.of), f.wait("the one", now))
	}
}

// However many sign out: what they signed out of stays over, memory has a bound, and
// who signs in afterwards is in.
func TestManySignOuts(t *testing.T) {
	ss, err := newSessions("", time.Hour, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	var all []*session
	for i := range 3 * maxEnded {
		s := ss.begin(session{}, now)
		if !ss.alive(&s, now) {
			t.Fatalf("session %d is over before it has begun", i)
		}
		ss.end(&s, now)
		all = append(all, &s)
		now = now.Add(time.Second / 10)
	}
	for i, s := range all {
		if ss.alive(s, now) {
			t.Fatalf("session %d is alive again", i)
		}
	}
	if len(ss.ended) > maxEnded {
		t.Errorf("%d are remembered", len(ss.ended))
	}
}
