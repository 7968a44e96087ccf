package access_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-mq/millrace/internal/access"
)

// journal is what is logged, by any goroutine.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

// take returns what has been logged since the last call.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

func open(t *testing.T, text string) (f *access.File, path string, log *journal) {
	t.Helper()
	path, log = filepath.Join(t.TempDir(), "access.toml"), new(journal)
	write(t, path, text)
	f, err := access.Open(path, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return f, path, log
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRunReadsAnew changes the file in good and bad ways. A bad one changes nothing, and
// is told once; nothing that is logged is a token.
func TestRunReadsAnew(t *testing.T) {
	f, path, log := open(t, file)
	synctest.Test(t, func(t *testing.T) {
		var changes atomic.Int64
		f.OnChange(func() { changes.Add(1) })
		ended := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ended <- f.Run(ctx) }()
		step := func(what string, publishes bool, of int64, logged string) {
			t.Helper()
			log.take()
			time.Sleep(3 * time.Second)
			synctest.Wait()
			err := f.Allow(t.Context(), access.Who{Secret: "b", Remote: "192.0.2.1:1"}, access.Publish, "bill.a", "")
			if (err == nil) != publishes || changes.Load() != of {
				t.Errorf("%s: publishes %v, %d changes", what, err, changes.Load())
			}
			said := log.take()
			if n := strings.Count(said, "\n"); (logged == "") != (n == 0) || !strings.Contains(said, logged) || n > 1 {
				t.Errorf("%s: logged is %q", what, said)
			}
		}
		step("nothing", true, 0, "")
		write(t, path, strings.ReplaceAll(file, `"billing", `, ""))
		step("without the right", false, 1, "access file read anew")
		write(t, path, file+"[[rule")
		step("broken", false, 1, "cannot use the changed access file")
		step("still broken", false, 1, "")
		write(t, path, "")
		step("empty", false, 1, "has no rules any more")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		step("gone", false, 1, "there is no such file")
		write(t, path, file)
		step("whole again", true, 2, "access file read anew")
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestReload reads at once, and tells what is wrong.
func TestReload(t *testing.T) {
	f, path, _ := open(t, file)
	before := f.Rules()
	if err := f.Reload(); err != nil || f.Rules() != before {
		t.Errorf("the same file: %v, or other rules", err)
	}
	write(t, path, file+"[[tokens]]\n")
	if err := errors.Join(prepared(f), f.Reload()); err == nil || strings.Count(err.Error(), `is [[token]] meant?`) != 2 || f.Rules() != before {
		t.Errorf("a bad file: %v, or other rules", err)
	}
	write(t, path, file+"\n")
	if err := prepared(f); err != nil || f.Rules() != before {
		t.Errorf("a good file is checked: %v, or other rules", err)
	}
	if err := f.Reload(); err != nil || f.Rules() == before {
		t.Errorf("a good file: %v, or the same rules", err)
	}
}

func TestOpenRefused(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	write(t, big, strings.Repeat("#\n", 3<<20))
	for path, want := range map[string]string{
		dir:                       "is no file",
		filepath.Join(dir, "not"): "there is no such file",
		big:                       "must not have more than 4194304 bytes",
	} {
		if _, err := access.Open(path, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestAllow looks at what people are told, and how long wrong secrets take.
func TestAllow(t *testing.T) {
	f, _, log := open(t, file)
	synctest.Test(t, func(t *testing.T) { // whose clock is at 2000-01-01: nothing has expired
		guesser := access.Who{Remote: "192.0.2.1:1", Secret: "s3cret"}
		var took []time.Duration
		for range 12 {
			began := time.Now()
			err := f.Allow(t.Context(), guesser, access.Publish, "bill.a", "")
			if want := `the token is not known; and no rule lets anyone publish to "bill.a"`; err == nil || err.Error() != want {
				t.Errorf("told is %v", err)
			}
			took = append(took, time.Since(began))
			// Others at the same address do not wait.
			began = time.Now()
			if err := f.Allow(t.Context(), access.Who{Remote: "192.0.2.1:2", Secret: "b"}, access.Publish, "bill.a", ""); err != nil || time.Since(began) > 0 {
				t.Errorf("%v, after %s", err, time.Since(began))
			}
		}
		if took[4] != 0 || took[5] != 100*time.Millisecond || took[6] != 200*time.Millisecond || took[11] != 3*time.Second {
			t.Errorf("took %v", took)
		}
		// So do those from elsewhere; and after a while all is forgotten.
		for _, who := range []access.Who{{Remote: "192.0.2.2:1", Secret: "x"}, {Secret: "x"}} {
			began := time.Now()
			if err := f.Allow(t.Context(), who, access.Manage, "", ""); err == nil || time.Since(began) > 0 {
				t.Errorf("%v, after %s", err, time.Since(began))
			}
		}
		time.Sleep(6 * time.Minute)
		began := time.Now()
		if err := f.Allow(t.Context(), guesser, access.Look, "public.a", ""); err != nil {
			t.Errorf("what anyone may is refused to who shows a wrong token: %v", err)
		}
		if err := f.Allow(t.Context(), guesser, access.Manage, "", ""); err == nil || time.Since(began) > 0 {
			t.Errorf("%v, after %s", err, time.Since(began))
		}
		if got := f.Failures().Counts(); got != (access.Counts{Unknown: 15, Refused: 15}) {
			t.Errorf("counted are %+v", got)
		}
	})
	if said := log.take(); strings.Contains(said, "s3cret") {
		t.Errorf("logged is %s", said)
	}
	var refused *access.Refusal
	for _, c := range []struct {
		who     access.Who
		unknown bool
		want    string
	}{
		{access.Who{}, true, `no rule lets anyone manage "t" "c": show a token, or a certificate`},
		{access.Who{Secret: "b"}, false, `no rule lets "billing" manage "t" "c"`},
	} {
		err := f.Allow(t.Context(), c.who, access.Manage, "t", "c")
		if !errors.As(err, &refused) || refused.Unknown != c.unknown || err.Error() != c.want {
			t.Errorf("told is %v", err)
		}
	}
	if name := f.Identify(access.Who{Secret: "b"}); name != "billing" {
		t.Errorf("he is %q", name)
	}
}

// TestManyAddresses wants memory bounded: of very many addresses the first are forgotten.
func TestManyAddresses(t *testing.T) {
	var f access.Failures
	synctest.Test(t, func(t *testing.T) {
		show := func(a, b, times int) time.Duration {
			began := time.Now()
			for range times {
				f.Wrong(t.Context(), access.Who{Remote: "[2001:db8:" + strconv.FormatInt(int64(a), 16) + ":" + strconv.FormatInt(int64(b), 16) + "::1]:1"}, access.UnknownSecret)
			}
			return time.Since(began)
		}
		if show(0, 0, 6) == 0 {
			t.Error("the sixth is not delayed")
		}
		for i := range 10_000 {
			show(1, i+1, 1)
		}
		if show(0, 0, 1) > 0 {
			t.Error("it is remembered behind ten thousand others")
		}
	})
}

// TestNewToken adds tokens to a file that works.
func TestNewToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.toml")
	var tokens []string
	for _, name := range []string{"a", "b"} {
		token, lines, err := access.NewToken(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := access.Append(path, lines); err != nil {
			t.Fatal(err)
		}
		if err := access.Append(path, lines); err == nil || !strings.Contains(err.Error(), "is there already") {
			t.Errorf("a second one of the name: %v", err)
		}
		tokens = append(tokens, token)
	}
	f, err := access.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"a", "b"} {
		if name := f.Identify(access.Who{Secret: tokens[i]}); name != want || len(tokens[i]) != 46 {
			t.Errorf("%s is %q", tokens[i], name)
		}
	}
	text, _ := os.ReadFile(path)
	if info, _ := os.Stat(path); info.Mode().Perm()&0o007 != 0 || strings.Contains(string(text), tokens[0]) {
		t.Errorf("mode %s, and in it is %s", info.Mode(), text)
	}
	if _, _, err := access.NewToken("anyone"); err == nil {
		t.Error("anyone has a token")
	}
}

// prepared returns what is wrong with a file that is then not used.
func prepared(f *access.File) error {
	_, err := f.Prepare()
	return err
}

// TestPrepared has what was read used later, but not over what was read since.
func TestPrepared(t *testing.T) {
	f, path, _ := open(t, file)
	write(t, path, file+"\n")
	older, err := f.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, file+"\n\n")
	if err := f.Reload(); err != nil {
		t.Fatal(err)
	}
	newer := f.Rules()
	if older(); f.Rules() != newer {
		t.Error("what was read first is used last")
	}
}
