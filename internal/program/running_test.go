package program

import (
	"errors"
	"flag"
	"slices"
	"strings"
	"sync"
	"testing"
)

type values struct {
	live, other, fixed string
	list               Strings
	origins            *Origins
	reread             func() (*values, error)
}

// newValues are values that run; set is what live has been set to.
func newValues(reread func() (*values, error)) (r *Running[*[]string, values], set *[]string) {
	set = new([]string)
	kind := Kind[values]{
		Flags: func(v *values, fs *flag.FlagSet) {
			fs.StringVar(&v.live, "live", v.live, "")
			fs.StringVar(&v.other, "other", v.other, "")
			fs.StringVar(&v.fixed, "fixed", v.fixed, "")
			fs.Var(&v.list, "list", "")
		},
		Validate: func(v *values) error {
			if v.live == "wrong" || v.live == v.fixed {
				return errors.New("live wrong: must be right")
			}
			return nil
		},
		Origins:  func(v *values) **Origins { return &v.origins },
		Reread:   func(v *values) func() (*values, error) { return v.reread },
		Together: func(*values) func() (Reloaded, error) { return nil },
	}
	return NewRunning(set, values{live: "a", other: "o", fixed: "f", reread: reread}, kind, []Row[*[]string, values]{
		{Keys: []string{"live", "list"}, Prepare: func(set *[]string, to *values) (func(), error) {
			return func() { *set = append(*set, to.live) }, nil
		}},
		{Keys: []string{"other"}, Prepare: func(_ *[]string, to *values) (func(), error) {
			if to.other == "unreadable" {
				return nil, errors.New("other: cannot be read")
			}
			return nil, nil
		}},
	}), set
}

func TestReloadIsAllOrNothing(t *testing.T) {
	next := &values{live: "a", other: "o", fixed: "f"}
	r, set := newValues(func() (*values, error) {
		v := *next
		return &v, nil
	})
	for _, c := range []struct {
		to                     values
		changed, restart, says string
	}{
		{to: values{live: "b", other: "o", fixed: "g"}, changed: "live", restart: "fixed"},
		{to: values{live: "c", other: "unreadable", fixed: "f"}, says: "cannot be read"},
		{to: values{live: "wrong", other: "p", fixed: "f"}, says: "must be right"},
		{to: values{live: "f", other: "p", fixed: "h"}, says: "a restart is needed, for fixed cannot be changed before"},
		{to: values{live: "b", other: "p", fixed: "f", list: Strings{"x"}}, changed: "list other"},
	} {
		before := *r.Now()
		next = &c.to
		found, err := r.Reload()
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) || r.Now().live != before.live || r.Now().other != before.other {
				t.Errorf("%+v: %v", c.to, err)
			}
			continue
		}
		if got := strings.Join(keysOf(found.Changed), " "); err != nil || got != c.changed || strings.Join(keysOf(found.NeedsRestart), " ") != c.restart {
			t.Errorf("%+v: %+v, %v", c.to, found, err)
		}
		if r.Now().fixed != "f" || r.Now().live != c.to.live {
			t.Errorf("%+v has become %+v", c.to, r.Now())
		}
	}
	if want := []string{"b", "b"}; !slices.Equal(*set, want) {
		t.Errorf("it was set to %q, want %q", *set, want)
	}
	r.Close()
	if _, err := r.Reload(); !errors.Is(err, ErrEnding) {
		t.Error(err)
	}
}

// What was changed while the daemon ran, a reload puts back.
func TestReloadPutsBack(t *testing.T) {
	r, _ := newValues(func() (*values, error) { return &values{live: "a", other: "o", fixed: "f"}, nil })
	for key, want := range map[string]error{"fixed": ErrNeedsRestart, "none": ErrUnknownOption, "list": ErrMalformed} {
		if err := r.Set(key, []byte("x")); !errors.Is(err, want) {
			t.Errorf("%s: %v", key, err)
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := errors.Join(r.Set("live", []byte("z")), r.Set("list", []byte(`["1","2"]`))); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { _, _ = r.Reload() })
	}
	wg.Wait()
	if err := r.Set("live", []byte("z")); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.List(nil) {
		if s.Key == "live" && (s.Source != AtRuntime || s.Text != "z" || !s.Reloadable) {
			t.Errorf("%+v", s)
		}
	}
	found, err := r.Reload()
	if i := slices.Index(found.Changed, Difference{"live", "z", "a"}); err != nil || i < 0 || r.Now().live != "a" || len(r.Now().list) != 0 {
		t.Errorf("%+v %v", found, err)
	}
}
