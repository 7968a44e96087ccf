package signin_test

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/access"
)

// named is an access file with somebody for each of some rights, and their tokens.
func named(t *testing.T, rights map[string]string) (file *access.File, path string, tokens map[string]string) {
	t.Helper()
	tokens = make(map[string]string)
	var text strings.Builder
	for name, rule := range rights {
		token, lines, err := access.NewToken(name)
		if err != nil {
			t.Fatal(err)
		}
		tokens[name] = token
		text.WriteString(lines + "\n[[rule]]\nwho = [\"" + name + "\"]\n" + rule + "\n")
	}
	path = filepath.Join(t.TempDir(), "access.toml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := access.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return file, path, tokens
}

// Whoever an access file names has the role that his rights amount to, whichever way he
// shows his token, and for as long as the file has them.
func TestTokens(t *testing.T) {
	file, path, tokens := named(t, map[string]string{
		"figures": `rights = ["stats"]`, "reader": `rights = ["look"]`, "ops": `rights = ["manage"]`,
		"worker": `rights = ["publish", "subscribe"]`, "bills": "rights = [\"manage\"]\ntopics = [\"bill.*\"]",
	})
	r := start(t, signin.Settings{Access: file}, "")
	if !r.Configured() || !r.Ways().Password {
		t.Fatal("nobody is asked who he is")
	}
	for name, want := range map[string]string{
		"figures": "figures viewer token", "reader": "reader viewer token", "ops": "ops operator token", "worker": "", "bills": "",
	} {
		script := r.browser()
		script.header.Set("Authorization", "Bearer "+tokens[name])
		expect(t, name+" by a script", script.as(), want)
		if looks := script.get("/topics").who.Looks; looks != (name == "reader" || name == "ops") {
			t.Errorf("%s looks at messages: %v", name, looks)
		}
		person := r.browser()
		if a := person.signIn("", tokens[name]); a.StatusCode != http.StatusSeeOther {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.text)
		}
		expect(t, name+" signed in", person.as(), want)
	}

	signedIn := r.browser()
	signedIn.signIn("ops", tokens["ops"])
	expect(t, "with his name", signedIn.as(), "ops operator token")
	if a := r.browser().signIn("root", tokens["ops"]); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("by another's name: %d", a.StatusCode)
	}
	script := r.browser()
	script.header.Set("Authorization", "Bearer "+tokens["ops"]+"x")
	if a := script.get("/topics"); a.StatusCode != http.StatusUnauthorized || strings.Contains(a.text+r.said.String(), tokens["ops"]) {
		t.Errorf("by a wrong token: %d %s", a.StatusCode, a.text)
	}

	// He is taken out of the file.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), `"ops"`, `"former"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := file.Reload(); err != nil {
		t.Fatal(err)
	}
	expect(t, "once he is no more in the file", signedIn.as(), "")
}

// Tokens cannot be tried one after the other.
func TestTokensAreSlowedDown(t *testing.T) {
	file, _, tokens := named(t, map[string]string{"ops": `rights = ["manage"]`})
	r := start(t, signin.Settings{Access: file}, "")
	b := r.browser()
	b.header.Set("Authorization", "Bearer guess")
	slowed := false
	for range 100 {
		slowed = slowed || b.get("/topics").StatusCode == http.StatusTooManyRequests
	}
	other := r.browser()
	other.from = "198.51.100.9:1"
	other.header.Set("Authorization", "Bearer "+tokens["ops"])
	if expect(t, "somebody else", other.as(), "ops operator token"); !slowed {
		t.Error("a hundred guesses are answered at once")
	}
	// Whoever has a right one does not wait for those who guess at his address.
	for range 3 {
		b.get("/topics")
		script, person := r.browser(), r.browser()
		script.header.Set("Authorization", "Bearer "+tokens["ops"])
		expect(t, "a script at the same address", script.as(), "ops operator token")
		person.signIn("ops", tokens["ops"])
		expect(t, "a person at the same address", person.as(), "ops operator token")
	}
}
