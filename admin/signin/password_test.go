package signin_test

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/admin/signin"
)

func TestHash(t *testing.T) {
	for _, password := range []string{"x", strings.Repeat("long", 256), "\x00\xff "} {
		hash, err := signin.Hash(password)
		if err != nil {
			t.Fatal(err)
		}
		r := start(t, signin.Settings{}, "[[users]]\nname='anna'\nrole='admin'\npassword='"+hash+"'\n")
		if a := r.browser().signIn("anna", password+"!"); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("%.20q: a wrong password gives %d", password, a.StatusCode)
		}
		if a := r.browser().signIn("anna", password); a.StatusCode != http.StatusSeeOther {
			t.Errorf("%.20q: the right password gives %d", password, a.StatusCode)
		}
		if again, _ := signin.Hash(password); again == hash {
			t.Error("two hashes of a password are the same")
		}
	}
	for _, password := range []string{"", strings.Repeat("x", 1025)} {
		if _, err := signin.Hash(password); err == nil {
			t.Errorf("a password of %d bytes is taken", len(password))
		}
	}
}

// retry is how many seconds an answer says to wait.
func retry(a answer) int {
	n, _ := strconv.Atoi(a.Header.Get("Retry-After"))
	return n
}

// Failures of a user's cost more and more time, wherever they come from, and whether
// there is such a user or not.
func TestSlowDownOfAUser(t *testing.T) {
	for _, name := range []string{"anna", "nobody"} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, signin.Settings{}, everyRole)
			at := r.browser()
			var statuses, waits []int
			for i := range 30 {
				at.from = "192.0.2." + strconv.Itoa(i) + ":1"
				a := at.signIn(name, "wrong")
				statuses = append(statuses, a.StatusCode)
				if a.StatusCode == http.StatusTooManyRequests {
					waits = append(waits, retry(a))
					time.Sleep(time.Duration(retry(a)) * time.Second)
				}
			}
			if want := []int{401, 401, 401, 401, 401, 401, 429, 401, 429, 401}; !slices.Equal(statuses[:10], want) {
				t.Errorf("%s: %v", name, statuses)
			}
			if want := []int{1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60}; !slices.Equal(waits, want) {
				t.Errorf("%s: waits of %v seconds", name, waits)
			}
			// Who has to wait does not learn whether he is right.
			at.signIn(name, "wrong")
			if a := at.signIn(name, "of anna"); a.StatusCode != http.StatusTooManyRequests {
				t.Errorf("%s: the right one while it is to wait: %d", name, a.StatusCode)
			}
			// A quarter of an hour later all is forgotten.
			time.Sleep(16 * time.Minute)
			for range 5 {
				if a := at.signIn(name, "wrong"); a.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s, later: %d", name, a.StatusCode)
				}
			}
		})
	}
}

// Nobody can keep a user out of where he was right before.
func TestAUserIsNotLockedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, signin.Settings{}, everyRole)
		hers, evil := r.browser(), r.browser()
		evil.from = "198.51.100.1:1"
		hers.in("anna")
		time.Sleep(time.Hour) // what she typed is not known by heart any more
		for range 10 {
			evil.signIn("anna", "wrong")
		}
		if a := evil.signIn("anna", "of anna"); a.StatusCode != http.StatusTooManyRequests {
			t.Errorf("the guesser gets %d", a.StatusCode)
		}
		hers.in("anna")
	})
}

// From one address only so many names and passwords can be tried.
func TestSlowDownOfAnAddress(t *testing.T) {
	for _, from := range []string{"192.0.2.%d:1", "[2001:db8::%d]:1"} {
		synctest.Test(t, func(t *testing.T) {
			r := start(t, signin.Settings{}, everyRole)
			evil, other := r.browser(), r.browser()
			other.from = "198.51.100.1:1"
			slowed := 0
			for i := range 60 {
				evil.from = strings.Replace(from, "%d", "7", 1)
				if strings.HasPrefix(from, "[") { // whoever has one IPv6 address has them all
					evil.from = strings.Replace(from, "%d", strconv.Itoa(i), 1)
				}
				// With a password of his own he does not get more guesses.
				evil.signIn("vera", "of vera")
				if evil.signIn("guess"+strconv.Itoa(i), "wrong").StatusCode == http.StatusTooManyRequests {
					slowed++
				}
			}
			if slowed < 35 {
				t.Errorf("%s: of 60 guesses %d had to wait", from, slowed)
			}
			other.in("otto")
		})
	}
}

// Thousands of guesses at once are as slow as one after the other.
func TestGuessesAtOnce(t *testing.T) {
	r := start(t, signin.Settings{}, everyRole)
	var compared, refused atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			switch status := r.browser().signIn("anna", "wrong").StatusCode; status {
			case http.StatusUnauthorized:
				compared.Add(1)
			case http.StatusTooManyRequests:
				refused.Add(1)
			default:
				t.Errorf("status %d", status)
			}
		})
	}
	wg.Wait()
	if compared.Load() > 7 { // and one more for each second that it took
		t.Errorf("%d passwords were compared, %d had to wait", compared.Load(), refused.Load())
	}
}

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

func TestBasic(t *testing.T) {
	r := start(t, signin.Settings{}, everyRole)
	b := r.browser()
	b.header.Set("Authorization", basic("otto", "of otto"))
	for path, want := range map[string]int{"/api/topics": 200, "/config/log_level": 200, "/topics": 303, "/": 303, "/apidocs": 303} {
		if a := b.get(path); a.StatusCode != want || want == 200 && (a.who.Name != "otto" || a.who.Role != signin.Operator || a.who.How != signin.Password) {
			t.Errorf("%s: %d %+v", path, a.StatusCode, a.who)
		}
	}
	if len(b.cookies) > 0 {
		t.Error("a script gets a session")
	}
	for _, value := range []string{basic("otto", "wrong"), basic("nobody", "of otto"), basic("", "")} {
		b.header.Set("Authorization", value)
		a := b.get("/api/topics")
		if a.StatusCode != 401 || !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic ") || !strings.Contains(a.text, `"message":"UNAUTHORIZED: `) {
			t.Errorf("%s: %d %v %q", value, a.StatusCode, a.Header, a.text)
		}
	}
	// What a page asks in the background must not have the browser ask for a password.
	page := r.browser()
	page.header.Set("Sec-Fetch-Mode", "cors")
	if a := page.get("/api/topics"); a.StatusCode != 401 || a.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	for _, value := range []string{"Basic", "Basic !", "Bearer x", "Basic " + base64.StdEncoding.EncodeToString([]byte("otto"))} {
		b.header.Set("Authorization", value)
		if a := b.get("/api/topics"); a.StatusCode != 401 {
			t.Errorf("%s: %d", value, a.StatusCode)
		}
	}
}

// A script's password is worth nothing any more once it was changed.
func TestBasicAfterAChange(t *testing.T) {
	r := start(t, signin.Settings{}, everyRole)
	b := r.browser()
	b.header.Set("Authorization", basic("otto", "of otto"))
	for range 3 {
		if a := b.get("/api/x"); a.StatusCode != 200 {
			t.Fatal(a.StatusCode)
		}
	}
	write(t, r.file, usersFile("otto", "another", "viewer"))
	if a := b.get("/api/x"); a.StatusCode != 401 {
		t.Errorf("the old password: %d", a.StatusCode)
	}
	b.header.Set("Authorization", basic("otto", "another"))
	if a := b.get("/api/x"); a.StatusCode != 200 || a.who.Role != signin.Viewer {
		t.Errorf("the new one: %d %+v", a.StatusCode, a.who)
	}
}

// A script that is slowed down learns it, even with what was right before.
func TestBasicIsSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, signin.Settings{}, everyRole)
		b := r.browser()
		b.header.Set("Authorization", basic("otto", "of otto"))
		b.get("/api/x")
		evil := r.browser()
		evil.from = "198.51.100.1:1"
		for range 7 {
			evil.header.Set("Authorization", basic("otto", "wrong"))
			evil.get("/api/x")
		}
		evil.header.Set("Authorization", basic("otto", "of otto"))
		if a := evil.get("/api/x"); a.StatusCode != 429 || retry(a) == 0 || !strings.Contains(a.text, "TOO_MANY_REQUESTS: ") {
			t.Errorf("%d %q", a.StatusCode, a.text)
		}
		if a := b.get("/api/x"); a.StatusCode != 200 {
			t.Errorf("where it was right before: %d", a.StatusCode)
		}
	})
}

// Sign-ins, and those that failed, are told for the log of what was done.
func TestSigned(t *testing.T) {
	var mu sync.Mutex
	var told []string
	r := start(t, signin.Settings{Signed: func(who signin.Who, action, refused string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, strings.Join([]string{who.Name, who.Role.String(), who.How, who.Remote, action, refused}, "|"))
	}}, everyRole)
	b := r.browser().in("anna")
	b.send("POST", "/sign-out", nil)
	b.signIn("anna", "wrong")
	b.signIn("my password in the wrong field", "wrong")
	want := []string{
		"anna|admin|password|192.0.2.7|sign-in|", "anna|admin|password|192.0.2.7|sign-out|",
		"anna|nobody|password|192.0.2.7|sign-in|wrong name or password", "|nobody|password|192.0.2.7|sign-in|wrong name or password",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told: %q", told)
	}
}
