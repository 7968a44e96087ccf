package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/api"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
	"github.com/millrace-mq/millrace/admin/history"
	"github.com/millrace-mq/millrace/admin/messages"
	"github.com/millrace-mq/millrace/admin/sampler"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/admin/trouble"
	"github.com/millrace-mq/millrace/internal/program"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is the API of an admin that has looked at a played fleet once.
type bed struct {
	t *testing.T
	*clustertest.Fleet
	cluster *cluster.Cluster
	api     http.Handler
	log     *audit.Log
	level   slog.LevelVar
	source  *sampler.Sampler
	remote  string // where requests come from
}

// start is called within a bubble of synctest.
func start(t *testing.T, change func(*api.Settings), options ...clustertest.Option) *bed {
	t.Helper()
	b := &bed{t: t, Fleet: clustertest.NewFleet(t, append(options, clustertest.InMemory())...), remote: "127.0.0.1:50000"}
	b.cluster = b.Cluster(t)
	return b.begin(change)
}

func (b *bed) begin(change func(*api.Settings)) *bed {
	b.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	log, err := audit.New(audit.Settings{}, quiet)
	if err != nil {
		b.t.Fatal(err)
	}
	b.log = log
	store := history.New(history.Settings{})
	b.source = sampler.New(sampler.Settings{}, b.cluster, store, trouble.NewFinder(trouble.Settings{}), quiet)
	s := api.Settings{
		Source: b.source, Cluster: b.cluster, History: store, Audit: log, Log: quiet, ClusterName: "blue", Environment: "staging",
		Messages:   messages.New(signin.Operator, b.cluster, b.source.Latest),
		ConfigFrom: "127.0.0.1/8",
	}
	own := ownSettings(b)
	s.Own, s.Set = func() []program.Setting { return own.List(nil) }, own.Set
	if change != nil {
		change(&s)
	}
	s.Actions = actions.New(actions.Settings{ReadOnly: s.ReadOnly, Latest: b.source.Latest, Changed: b.source.Poke}, b.cluster, log, quiet)
	b.api = api.New(s)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{}, 2)
	for _, run := range []func(context.Context) error{b.source.Run, s.Actions.Run} {
		go func() {
			_ = run(ctx)
			ended <- struct{}{}
		}()
	}
	b.t.Cleanup(func() {
		stop()
		<-ended
		<-ended
	})
	for changed := b.source.Changed(); b.source.Latest().At.IsZero(); changed = b.source.Changed() {
		<-changed
	}
	return b
}

// few are settings of an admin.
type few struct {
	lookupds program.Strings
	address  string
	level    string
	origins  *program.Origins
}

// ownSettings are those of the admin that b has.
func ownSettings(b *bed) *program.Running[*bed, few] {
	kind := program.Kind[few]{
		Flags: func(f *few, fs *flag.FlagSet) {
			fs.Var(&f.lookupds, "lookupd-http-address", "")
			program.Key(fs, "nsqlookupd_http_addresses", "lookupd-http-address")
			fs.StringVar(&f.level, "log-level", f.level, "")
			fs.StringVar(&f.address, "http-address", f.address, "")
		},
		Validate: func(f *few) error {
			_, err := program.ParseLevel(f.level)
			return err
		},
		Origins:  func(f *few) **program.Origins { return &f.origins },
		Reread:   func(*few) func() (*few, error) { return nil },
		Together: func(*few) func() (program.Reloaded, error) { return nil },
	}
	return program.NewRunning(b, few{lookupds: b.cluster.Lookupds(), address: "127.0.0.1:4171", level: "info"}, kind, []program.Row[*bed, few]{
		{Keys: []string{"nsqlookupd_http_addresses"}, Prepare: func(b *bed, to *few) (func(), error) {
			if err := b.cluster.CheckLookupds(to.lookupds); err != nil {
				return nil, err
			}
			return func() { _ = b.cluster.SetLookupds(to.lookupds) }, nil
		}},
		{Keys: []string{"log_level"}, Prepare: func(b *bed, to *few) (func(), error) {
			level, err := program.ParseLevel(to.level)
			return func() { b.level.Set(level) }, err
		}},
	})
}

func who(role signin.Role) signin.Who {
	if role == signin.Nobody {
		return signin.Who{}
	}
	return signin.Who{Name: role.String() + "-1", Role: role, How: "password", Remote: "192.0.2.7"}
}

// ask asks as somebody, and returns the status and the body.
func (b *bed) ask(role signin.Role, method, path, body string, header ...string) (int, string) {
	b.t.Helper()
	w := b.answer(role, method, path, body, header...)
	return w.Code, w.Body.String()
}

func (b *bed) answer(role signin.Role, method, path, body string, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = b.remote
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r.WithContext(signin.NewContext(b.t.Context(), who(role))))
	return w
}

// shown is an answer for a golden file.
func (b *bed) shown(role signin.Role, request string) string {
	b.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	path, body, _ := strings.Cut(path, " ")
	status, answer := b.ask(role, method, path, body)
	var pretty bytes.Buffer
	if json.Indent(&pretty, []byte(answer), "", "  ") == nil {
		answer = pretty.String()
	}
	return fmt.Sprintf("%s: %s\n%d %s\n", role, request, status, answer)
}

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	name = "testdata/" + name
	if *rewrite {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is answered now:\n%s", name, firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d:\n%s\nwant:\n%s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// bubble runs a test with a clock of its own.
func bubble(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

// furnish gives a fleet of two nodes something to show.
func (b *bed) furnish() {
	now := time.Now()
	for i, n := range b.Nodes {
		n.Change(func(d *clustertest.Daemon) {
			d.Zone, d.Region = fmt.Sprint("z", i), "r"
			orders := d.Topic("orders")
			orders.Bytes = 9000
			ship := orders.Channel("ship")
			orders.Publish(40+i, 100)
			ship.OnDisk, ship.Requeued, ship.TimedOut = 7, 3, 2
			ship.Percentiles = map[float64]time.Duration{0.99: time.Duration(i+1) * time.Millisecond}
			ship.Clients = []clustertest.Client{{
				ClientID: fmt.Sprint("worker-", i), Hostname: "w", Version: "V2", RemoteAddress: "192.0.2.1:5000", State: 3, ReadyCount: 5,
				ConnectTime: now.Add(-time.Hour).Unix(), UserAgent: "go-nsq/1.1.0", TopologyZone: "z1", TopologyRegion: "r", Connection: "17",
			}}
			d.Show(ship, "ready", []byte("hello"))
			d.Show(ship, "dead", []byte("\x00\x01"))
		})
	}
	b.Lookupds[0].Create("inactive", "c")
}
