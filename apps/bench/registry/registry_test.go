package registry

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace-mq/millrace/apps/bench/null"
	"github.com/millrace-mq/millrace/lookupd"
)

// TestMain makes the test program a lookupd, or the null broker, when a Launch
// starts it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "be-a-lookupd" || os.Args[1] == "null") {
		if err := serve(os.Args[1], os.Args[2:]); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func serve(what string, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := lookupd.DefaultSettings()
	fs := flag.NewFlagSet(what, flag.ExitOnError)
	s.Flags(fs)
	_ = fs.Parse(args)
	if what == "null" {
		l, err := net.Listen("tcp", s.TCPAddress)
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		h, err := net.Listen("tcp", s.HTTPAddress)
		if err != nil {
			return err
		}
		return null.RunHTTP(ctx, h)
	}
	d, err := lookupd.Listen(s, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return d.Run(ctx)
}

// small is a cluster that takes no time.
func small() Settings {
	return Settings{
		Daemons: 7, Topics: 30, Producers: 3, Channels: 2, Large: 10, Rate: 500, Conns: 4,
		Seconds: 0.05, Churn: 30, Cycle: 2 * time.Millisecond, Page: 8, Nodes: true, Stall: 10 * time.Second,
	}
}

// works are the rows of a whole run.
func works(rows []Row) (list []string) {
	for _, r := range rows {
		doing, _, _ := strings.Cut(r.Meanwhile, ":")
		list = append(list, strings.TrimSuffix(r.Work+", "+doing, ", "))
	}
	return list
}

var whole7 = []string{
	"register", "register again, large daemon", "lookup", "lookup, the large daemon comes and goes",
	"lookup, 1 of the daemons come and go", "lookup, somebody reads /topics", "lookup, somebody reads /nodes",
	"/topics", "/topics in pages", "/nodes", "/nodes in pages",
}

// plausible looks for figures that must be there.
func plausible(t *testing.T, rows []Row) {
	t.Helper()
	for _, r := range rows {
		if r.Seconds <= 0 || r.Errors != 0 {
			t.Errorf("%s: %+v", r.Work, r)
		}
		switch r.Work {
		case registering:
			if r.Count != 180 || r.Rate <= 0 {
				t.Errorf("%+v", r)
			}
		case returning:
			if r.Count != 20 || r.Rate <= 0 {
				t.Errorf("%+v", r)
			}
		case lookingUp:
			if r.Count != 27 || r.Latency == nil || r.Latency.Samples != 25 || r.Latency.P50 <= 0 || r.Answer < 50 {
				t.Errorf("%+v, %+v", r, r.Latency)
			}
		case "/topics", "/nodes":
			if r.Answer < 100 || r.FirstByte <= 0 || r.FirstByte > 1000*r.Seconds {
				t.Errorf("%+v", r)
			}
		case "/topics in pages":
			if r.Count != 4 || r.Latency == nil {
				t.Errorf("%+v", r)
			}
		}
	}
}

func TestOnFake(t *testing.T) {
	t.Parallel()
	for _, extended := range []bool{false, true} {
		f := &fake{extended: extended, paged: true}
		s := small()
		s.TCP, s.HTTP = f.start(t)
		rows, err := s.Run(t.Context(), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if got := works(rows); !slices.Equal(got, whole7) {
			t.Errorf("works %q", got)
		}
		plausible(t, rows)
		if rows[0].Extended != extended {
			t.Errorf("extended: %t", rows[0].Extended)
		}
		f.mu.Lock()
		last := strings.Split(f.lines[slices.IndexFunc(f.lines, func(l string) bool { return strings.HasPrefix(l, "REGISTER ") })], " ")
		if words := map[bool]int{false: 3, true: 4}[extended]; len(last) != words {
			t.Errorf("it said %q", last)
		}
		if slices.Contains(f.lines, "SYNCED") != extended {
			t.Errorf("SYNCED is said wrongly: extended is %t", extended)
		}
		f.mu.Unlock()
	}
}

// Daemons speak in turn, and say everything again to a lookupd that asks for it.
func TestPings(t *testing.T) {
	t.Parallel()
	s := small()
	asked := false // once
	f := &fake{extended: true, reply: func(line string) string {
		if line == "PING" && !asked {
			asked = true
			return "RESYNC"
		}
		return ""
	}}
	s.TCP, s.HTTP = f.start(t)
	cluster := newCluster(s, "t")
	var all []*daemon
	for i := range s.Daemons {
		d := &daemon{cluster: cluster, number: i, addr: s.TCP, stall: s.Stall}
		all = append(all, d)
		defer d.leave()
		if err := d.join(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	count := func(line string) (n int) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, l := range f.lines {
			if l == line {
				n++
			}
		}
		return n
	}
	err := together(t.Context(), func(ctx context.Context) error {
		for count("PING") < 3*s.Daemons && !pause(ctx, nil, time.Millisecond) {
		}
		return ctx.Err()
	}, pinging(all, 7*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if count("SYNCED") != 1 || all[0].resyncs != 1 {
		t.Errorf("%d times everything again", count("SYNCED"))
	}
}

func TestPlainToOneThatOffersMore(t *testing.T) {
	t.Parallel()
	f := &fake{extended: true}
	s := small()
	s.Plain, s.Channels = true, 0
	s.TCP, s.HTTP = f.start(t)
	rows, err := s.Run(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Contains(f.lines, "SYNCED") || rows[0].Extended || rows[0].Count != 90 {
		t.Errorf("%+v", rows[0])
	}
	if got := works(rows); slices.Contains(got, "/topics in pages") || slices.Contains(got, "/nodes in pages") {
		t.Errorf("pages that nobody offers: %q", got)
	}
}

// A run on the lookupd itself, as a process: with its CPU and memory.
func TestOnLookupd(t *testing.T) {
	t.Parallel()
	s := small()
	s.Start, s.Null, s.Zipf = os.Args[0]+" be-a-lookupd", true, 1.5
	rows, err := s.Run(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	plausible(t, rows)
	if got := works(rows); !slices.Contains(got, "null") || len(got) < 10 {
		t.Errorf("works %q", got)
	}
	if r := rows[0]; r.Resident <= 0 || r.Peak <= 0 || r.CPUEach <= 0 {
		t.Errorf("no figures of the process: %+v", r)
	}
	var b strings.Builder
	if err := Table(&b, s, rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{": 7 daemons, 30 topics on 3 each, 2 channels, ", "Zipf, exponent 1.5, 4 connections\n\n| work ", "| register again, large daemon | ", " p99.9 µs |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q in\n%s", want, b.String())
		}
	}
}

func TestGrow(t *testing.T) {
	t.Parallel()
	s := small()
	s.Start, s.Grow, s.Daemons, s.Seconds = os.Args[0]+" be-a-lookupd", true, 101, 0.01
	rows, err := s.Run(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := Table(&b, s, rows); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 4 || !strings.Contains(lines[2], "|     100 |     30 |           180 |") || !strings.Contains(lines[3], "|     101 |     30 |") {
		t.Errorf("%s", b.String())
	}
}

// What a lookupd does wrong is an error that says what.
func TestFaults(t *testing.T) {
	t.Parallel()
	refuse := func(command string) func(string) string {
		return func(line string) string {
			if strings.HasPrefix(line, command) {
				return "E_INVALID not " + command
			}
			return ""
		}
	}
	for _, c := range []struct {
		name string
		f    *fake
		want string
	}{
		{"does not know us", &fake{reply: refuse("IDENTIFY")}, `lookupd answered "E_INVALID not IDENTIFY"`},
		{"refuses a registration", &fake{reply: refuse("REGISTER")}, `lookupd answered "E_INVALID not REGISTER"`},
		{"refuses the end of the list", &fake{extended: true, reply: refuse("SYNCED")}, `lookupd answered "E_INVALID not SYNCED"`},
		{"lacks a topic", &fake{listing: func(all []string) []string { return all[1:] }}, "/topics lacks 1 of 30 topics, and has 0 twice"},
		{"has a topic twice", &fake{listing: func(all []string) []string { return append(all, all[0]) }}, "/topics lacks 0 of 30 topics, and has 1 twice"},
		{"lacks a producer", &fake{lookup: func(all []any) []any { return all[1:] }}, " names daemons ["},
		{"has nobody", &fake{lookup: func([]any) []any { return nil }}, " names daemons [], not ["},
		{"has no end of pages", &fake{forever: true}, "GET /topics, page 2: it is empty and not the last"},
		{"gives more than a page", &fake{paged: true, generous: true}, "GET /topics, page 1: 30 entries, not 8 at the most"},
		{"knows no topic", &fake{before: func(http.ResponseWriter) int { return 404 }}, "lookupd answered 404"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := small()
			s.Stall = 2 * time.Second // which audits that fail go on for
			s.TCP, s.HTTP = c.f.start(t)
			rows, err := s.Run(t.Context(), io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || rows != nil {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// An interrupted run ends at once, whatever it is doing.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	s := small()
	s.Seconds = 60
	s.TCP, s.HTTP = (&fake{}).start(t)
	ctx, cancel := context.WithCancel(t.Context())
	started := time.Now()
	_, err := s.Run(ctx, cancelOn{"lookup", cancel})
	if err == nil || time.Since(started) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(started))
	}
}

// cancelOn cancels when a line ends with the words.
type cancelOn struct {
	words  string
	cancel context.CancelFunc
}

func (c cancelOn) Write(b []byte) (int, error) {
	if strings.HasSuffix(strings.TrimSpace(string(b)), c.words) {
		c.cancel()
	}
	return len(b), nil
}
