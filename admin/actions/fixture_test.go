package actions_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/signin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is Actions on a played fleet.
type bed struct {
	t *testing.T
	*clustertest.Fleet
	*actions.Actions
	log     *audit.Log
	changed atomic.Int32
}

func start(t *testing.T, s actions.Settings, options ...clustertest.Option) *bed {
	t.Helper()
	b := &bed{t: t, Fleet: clustertest.NewFleet(t, append(options, clustertest.InMemory())...)}
	quiet := slog.New(slog.DiscardHandler)
	var err error
	if b.log, err = audit.New(audit.Settings{}, quiet); err != nil {
		t.Fatal(err)
	}
	if s.Latest == nil {
		s.Latest = func() *fleet.Snapshot { return b.Snapshot() }
	}
	s.Changed = func() { b.changed.Add(1) }
	b.Actions = actions.New(s, b.Cluster(t), b.log, quiet)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	return b
}

var (
	admin    = signin.Who{Name: "anna", Role: signin.Admin, How: "password", Remote: "192.0.2.7", UserAgent: "curl"}
	operator = signin.Who{Name: "otto", Role: signin.Operator}
)

// act is what is done, as "action target target arg=value …"; a target is topic,
// topic/channel, @node or a mixture of them, and its ID behind a #.
func request(line string) actions.Request {
	words := strings.Fields(line)
	r := actions.Request{Action: words[0], Args: make(url.Values)}
	for _, w := range words[1:] {
		if name, value, isArg := strings.Cut(w, "="); isArg {
			r.Args.Add(name, strings.ReplaceAll(value, "_", " "))
			continue
		}
		r.Targets = append(r.Targets, target(w))
	}
	return r
}

func target(w string) (t actions.Target) {
	w, t.ID, _ = strings.Cut(w, "!")
	w, t.Node, _ = strings.Cut(w, "@")
	if t.Node != "" && !strings.Contains(t.Node, ":") {
		t.Node += ":4151"
	}
	t.Topic, t.Channel, _ = strings.Cut(w, "/")
	return t
}

// results are an entry's, a line each, by node.
func results(e audit.Entry) string {
	var lines []string
	for _, r := range e.Results {
		line := strings.TrimSuffix(strings.TrimSuffix(r.Node, ":4151"), ":4161")
		if line == "" {
			line = "-"
		}
		if r.OK {
			line += " ok"
		}
		if r.Count != 0 {
			line += fmt.Sprintf(" %d", r.Count)
		}
		if r.Note != "" {
			line += " (" + r.Note + ")"
		}
		if r.Error != "" {
			line += " failed: " + r.Error
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// do does what a line says, and returns the results.
func (b *bed) do(line string) string {
	b.t.Helper()
	e, err := b.Do(b.t.Context(), admin, "api", request(line))
	if err != nil {
		return err.Error()
	}
	if !e.Done {
		b.t.Errorf("%s: the entry is not done", line)
	}
	return results(e)
}

func (b *bed) expect(line, want string) {
	b.t.Helper()
	if got := b.do(line); got != want {
		b.t.Errorf("%s:\n%s\nwant:\n%s", line, got, want)
	}
}

// changes are what a daemon was told, a line each.
func changes(s interface{ Changes() []clustertest.Call }) string {
	var lines []string
	for _, c := range s.Changes() {
		q, _ := url.QueryUnescape(c.Query.Encode())
		lines = append(lines, strings.TrimSpace(c.Path+" "+q+" "+c.Body))
	}
	return strings.Join(lines, "\n")
}

func (b *bed) told(who interface{ Changes() []clustertest.Call }, want string) {
	b.t.Helper()
	if got := changes(who); got != want {
		b.t.Errorf("it was told\n%s\nwant:\n%s", got, want)
	}
}

// hangUp has a daemon take a request for a path, and end the connection.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

var noSettings actions.Settings

// latest are settings that know one snapshot for ever.
func latest(s *fleet.Snapshot) actions.Settings {
	return actions.Settings{Latest: func() *fleet.Snapshot { return s }}
}

// fixed knows a fleet as it is when it has just begun.
func fixed(t *testing.T, options ...clustertest.Option) actions.Settings {
	return latest(clustertest.NewFleet(t, append(options, clustertest.InMemory())...).Snapshot())
}
