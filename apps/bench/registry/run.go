// Package registry measures a lookupd, Millrace's or NSQ's: how fast daemons
// register, what their registrations take in memory, and how long a lookup waits
// while nothing else happens, while daemons come and go, and while somebody
// reads whole listings.
//
// It plays the daemons, with a connection each, and asks over HTTP. What the
// lookupd answers is compared with what the daemons have: each lookup's number
// of producers, and now and then, in an audit, everything.
//
// What runs here returns when all that it started has ended.
package registry

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/apps/bench/broker"
	"github.com/millrace-mq/millrace/apps/bench/load"
	"github.com/millrace-mq/millrace/apps/bench/report"
)

// The works that --grow shows.
const (
	registering = "register"
	returning   = "register again, large daemon"
	lookingUp   = "lookup"
)

const (
	// joiningAtOnce is how many daemons connect at the same time. They register
	// all at once.
	joiningAtOnce = 64
	// maxRest is what a lookupd is given after everybody has registered, before its
	// memory is read; or a fifth of the time for lookups.
	maxRest = time.Second
)

// Run measures as s says and returns the rows of the clusters that were measured
// to the end, though it may fail: with the next cluster, or because a lookupd that
// was started does not end. It writes a line about each step to progress.
func (s Settings) Run(ctx context.Context, progress io.Writer) (rows []Row, err error) {
	if !s.Grow {
		return s.on(ctx, progress)
	}
	for _, s.Daemons = range upTo(s.Daemons, 100, 300) {
		for _, s.Topics = range upTo(s.Topics, 1000, 10_000) {
			if s.Producers >= s.Daemons {
				continue
			}
			more, err := s.on(ctx, progress)
			rows = append(rows, more...)
			if err != nil {
				return rows, fmt.Errorf("%d daemons with %d topics: %w", s.Daemons, s.Topics, err)
			}
		}
	}
	return rows, nil
}

// upTo returns those of smaller that are less than n, and n.
func upTo(n int, smaller ...int) []int {
	return append(slices.DeleteFunc(smaller, func(m int) bool { return m >= n }), n)
}

// on runs on the lookupd that is there, or on one started for it.
func (s Settings) on(ctx context.Context, progress io.Writer) (rows []Row, err error) {
	measure := func(ctx context.Context, t broker.Target) (err error) {
		s.TCP, s.HTTP, s.PID = t.TCP, t.HTTP, t.PID
		rows, err = s.cluster(ctx, t.Name, progress)
		return err
	}
	if s.Start != "" {
		err = broker.Launch{Command: strings.Fields(s.Start), Lookupd: true}.Run(ctx, measure)
	} else {
		err = measure(ctx, broker.Target{Name: s.TCP, TCP: s.TCP, HTTP: s.HTTP, PID: s.PID})
	}
	return rows, err
}

// run is a run with one cluster on one lookupd.
type run struct {
	Settings
	*cluster
	lookupd  string
	progress io.Writer
	all      []*daemon
	audit    auditor
	rows     []Row
}

func (s Settings) cluster(ctx context.Context, lookupd string, progress io.Writer) ([]Row, error) {
	c := newCluster(s, "bench-"+strings.ToLower(rand.Text()[:6]))
	r := &run{Settings: s, cluster: c, lookupd: filepath.Base(lookupd), progress: progress}
	r.audit = auditor{cluster: c, client: client{addr: s.HTTP, from: s.Daemons + s.Conns, stall: s.Stall}, nodes: s.Nodes, page: s.Page}
	for d := range s.Daemons {
		r.all = append(r.all, &daemon{cluster: c, number: d, addr: s.TCP, plain: s.Plain, stall: s.Stall})
	}
	defer func() {
		r.audit.close()
		for _, d := range r.all {
			d.leave()
		}
	}()
	works := []func(context.Context) error{r.register, r.returns, r.quietly}
	if !s.Grow {
		works = append(works, r.null, r.whileLargeReturns, r.whileSomeReturn, r.whileListed)
	}
	works = append(works, r.listings)
	for _, work := range works {
		if err := work(ctx); err != nil {
			return nil, err
		}
	}
	return r.rows, nil
}

// measure runs f, which fills in what it has counted, and adds what it cost. The
// PINGs of all daemons but the disturbed go on meanwhile.
func (r *run) measure(ctx context.Context, row Row, disturbed []bool, f func(context.Context, *Row) error, meanwhile ...disturbance) error {
	row.Lookupd, row.Daemons, row.Topics, row.Producers, row.Channels = r.lookupd, r.daemons, r.topics, r.copies, r.channels
	_, _ = fmt.Fprintf(r.progress, "%s: %s\n", r.lookupd, strings.TrimSuffix(row.Work+", "+row.Meanwhile, ", "))
	meanwhile = append(meanwhile, pinging(r.joined(disturbed), pingEvery))
	of0, own0, err := r.usage()
	if err != nil {
		return err
	}
	var of1, own1 broker.Usage
	start := time.Now()
	err = together(ctx, func(ctx context.Context) (err error) {
		if err = f(ctx, &row); err != nil {
			return err
		}
		elapsed := time.Since(start).Seconds()
		if of1, own1, err = r.usage(); err != nil || r.PID == 0 {
			return err
		}
		cpu := (of1.CPU - of0.CPU).Seconds()
		row.CPUPercent, row.OwnPercent = 100*cpu/elapsed, 100*(own1.CPU-own0.CPU).Seconds()/elapsed
		if row.Count > 0 && row.CPUEach == 0 {
			row.CPUEach = cpu * 1e6 / float64(row.Count)
		}
		row.Resident, row.Peak = of1.Resident, of1.Peak
		return nil
	}, meanwhile...)
	if err != nil {
		return err
	}
	row.Extended = r.all[0].extended
	r.rows = append(r.rows, row)
	return nil
}

func (r *run) last() *Row { return &r.rows[len(r.rows)-1] }

// joined returns the daemons that are there and not among the disturbed.
func (r *run) joined(disturbed []bool) (list []*daemon) {
	for i, d := range r.all {
		if d.conn != nil && (disturbed == nil || !disturbed[i]) {
			list = append(list, d)
		}
	}
	return list
}

// usage reads what the lookupd, if its pid is known, and this process have used.
func (r *run) usage() (of, own broker.Usage, err error) {
	if r.PID == 0 {
		return of, own, nil
	}
	proc := os.DirFS("/proc")
	if own, err = broker.ReadUsage(proc, os.Getpid()); err != nil {
		return of, own, err
	}
	of, err = broker.ReadUsage(proc, r.PID)
	return of, own, err
}

// everybody does f for each daemon, for so many at once.
func (r *run) everybody(ctx context.Context, atOnce int, f func(*daemon, context.Context) error) error {
	var next atomic.Int64
	parts := make([]func(context.Context) error, min(atOnce, len(r.all)))
	for i := range parts {
		parts[i] = func(ctx context.Context) error {
			for n := next.Add(1) - 1; n < int64(len(r.all)); n = next.Add(1) - 1 {
				if err := f(r.all[n], ctx); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return load.Together(ctx, parts...)
}

// register has all daemons register. Its time begins with the first connection.
func (r *run) register(ctx context.Context) error {
	before, _, err := r.usage()
	if err != nil {
		return err
	}
	err = r.measure(ctx, Row{Work: registering}, nil, func(during context.Context, row *Row) error {
		start := time.Now()
		// Connections last longer than this measurement, so they are ctx's.
		if err := r.everybody(during, joiningAtOnce, func(d *daemon, _ context.Context) error { return d.join(ctx) }); err != nil {
			return err
		}
		if err := r.everybody(during, len(r.all), (*daemon).announce); err != nil {
			return err
		}
		took := time.Since(start).Seconds()
		row.Count, row.Seconds, row.Rate = int64(r.total()), took, float64(r.total())/took
		return nil
	})
	if err != nil {
		return err
	}
	if pause(ctx, nil, min(maxRest, r.duration()/5)) {
		return context.Cause(ctx)
	}
	after, _, err := r.usage()
	if err != nil {
		return err
	}
	row := r.last()
	row.Resident, row.Peak, row.BytesEach = after.Resident, after.Peak, float64(after.Resident-before.Resident)/float64(row.Count)
	return r.settle(ctx)
}

// settle audits, while daemons speak.
func (r *run) settle(ctx context.Context) error {
	return together(ctx, r.audit.settle, pinging(r.joined(nil), pingEvery))
}

// returns has the large daemon come back.
func (r *run) returns(ctx context.Context) error {
	large := r.all[0]
	err := r.measure(ctx, Row{Work: returning}, r.one(), func(_ context.Context, row *Row) error {
		var times []time.Duration
		for range rounds {
			large.leave()
			if pause(ctx, nil, r.Cycle/2) {
				return context.Cause(ctx)
			}
			took, err := large.back(ctx, ctx)
			if err != nil {
				return err
			}
			times = append(times, took)
		}
		row.Count, row.Seconds = int64(r.registrations(0)), median(times).Seconds()
		row.Rate = float64(row.Count) / row.Seconds
		return nil
	})
	if err != nil {
		return err
	}
	r.last().CPUEach /= rounds
	return r.settle(ctx)
}

// one is the large daemon alone.
func (r *run) one() []bool {
	disturbed := make([]bool, r.daemons)
	disturbed[0] = true
	return disturbed
}

// some is the share of the others that comes and goes.
func (r *run) some() (disturbed []bool, list []*daemon) {
	disturbed = make([]bool, r.daemons)
	n := max(int(float64(r.daemons-1)*r.Churn/100), 1)
	for _, d := range r.all[1 : 1+n] {
		disturbed[d.number] = true
		list = append(list, d)
	}
	return disturbed, list
}

// lookUp asks at the fixed rate while others do what they do, and says what they
// have done.
func (r *run) lookUp(ctx context.Context, doing string, disturbed []bool, done fmt.Stringer, meanwhile ...disturbance) error {
	l := newLookups(r.cluster, r.Settings, disturbed)
	err := r.ask(ctx, l, Row{Work: lookingUp, Meanwhile: doing}, disturbed, meanwhile...)
	if err != nil || done == nil {
		return err
	}
	r.last().Meanwhile += ": " + done.String()
	return r.settle(ctx)
}

func (r *run) ask(ctx context.Context, l *lookups, row Row, disturbed []bool, meanwhile ...disturbance) error {
	return r.measure(ctx, row, disturbed, func(ctx context.Context, row *Row) error {
		if err := l.run(ctx, r.Settings); err != nil {
			return err
		}
		row.Seconds = time.Since(l.base).Seconds()
		row.Count, row.Errors = int64(l.count), l.errors.Load()
		row.Rate = float64(row.Count-row.Errors) / row.Seconds
		row.Answer = float64(l.bytes.Load()) / float64(max(row.Count-row.Errors, 1))
		row.Latency = report.Summarize(l.sorted())
		return nil
	}, meanwhile...)
}

// null asks a server that always answers OK: what client, net/http and the
// machine take at the moment.
func (r *run) null(ctx context.Context) error {
	if !r.Settings.Null {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("starting the null broker: %w", err)
	}
	return broker.Launch{Command: []string{self, "null"}, Null: true}.Run(ctx, func(ctx context.Context, t broker.Target) error {
		other := *r
		other.HTTP, other.lookupd = t.HTTP, t.Name
		if other.PID = t.PID; r.PID == 0 {
			other.PID = 0 // its figures are for comparing with
		}
		l := newLookups(r.cluster, r.Settings, nil)
		l.unchecked = true
		err := other.ask(ctx, l, Row{Work: "null"}, nil)
		r.rows = other.rows
		return err
	})
}

func (r *run) quietly(ctx context.Context) error { return r.lookUp(ctx, "", nil, nil) }

func (r *run) whileLargeReturns(ctx context.Context) error {
	var back returns
	return r.lookUp(ctx, "the large daemon comes and goes", r.one(), &back, back.of(ctx, r.all[0], 0, r.Cycle))
}

func (r *run) whileSomeReturn(ctx context.Context) error {
	disturbed, list := r.some()
	var back returns
	var meanwhile []disturbance
	for i, d := range list {
		meanwhile = append(meanwhile, back.of(ctx, d, r.Cycle*time.Duration(i)/time.Duration(len(list)), r.Cycle))
	}
	return r.lookUp(ctx, fmt.Sprintf("%d of the daemons come and go", len(list)), disturbed, &back, meanwhile...)
}

func (r *run) whileListed(ctx context.Context) error {
	if err := r.listed(ctx, "/topics"); err != nil || !r.Nodes {
		return err
	}
	return r.listed(ctx, "/nodes")
}

func (r *run) listed(ctx context.Context, path string) error {
	reader := &reading{client: client{addr: r.HTTP, from: r.Daemons + r.Conns + 1, stall: r.Stall}, paths: []string{path}}
	return r.lookUp(ctx, "somebody reads "+path, nil, reader, reader.run)
}

// listings reads /topics and /nodes at once, and then in pages.
func (r *run) listings(ctx context.Context) error {
	if err := r.listing(ctx, "/topics", newTally(r.topics, "/topics in pages", "topics")); err != nil || !r.Nodes {
		return err
	}
	return r.listing(ctx, "/nodes", newTally(r.daemons, "/nodes in pages", "daemons"))
}

func (r *run) listing(ctx context.Context, path string, entries *tally) error {
	err := r.measure(ctx, Row{Work: path}, nil, func(ctx context.Context, row *Row) error {
		defer r.audit.close()
		w, err := r.audit.read(ctx, path)
		row.Seconds, row.FirstByte, row.Answer = w.all.Seconds(), 1000*w.first.Seconds(), float64(w.bytes)
		return err
	})
	if err != nil || r.Grow {
		return err
	}
	offered := false
	err = r.measure(ctx, Row{Work: path + " in pages"}, nil, func(ctx context.Context, row *Row) (err error) {
		defer r.audit.close()
		var p paged
		p, offered, err = r.audit.readPages(ctx, path, entries)
		row.Count, row.Seconds, row.Latency = int64(len(p.times)), p.sum.Seconds(), report.Summarize(p.times)
		row.Answer = float64(p.bytes) / float64(max(row.Count, 1))
		return err
	})
	if err == nil && !offered {
		r.rows = r.rows[:len(r.rows)-1]
	}
	return err
}
