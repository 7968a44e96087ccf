package registry

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/millrace-mq/millrace/internal/program"
)

const (
	// maxFiles is how many sockets we open at the most, whatever the system
	// would allow.
	maxFiles = 20_000
	// spareFiles are for what is open beside daemons and lookups.
	spareFiles = 64
)

// Settings is the lookupd that is measured, the daemons played to it, and what
// is asked of it.
type Settings struct {
	TCP, HTTP string
	PID       int    // of the lookupd on this machine; 0 leaves out its CPU and memory
	Start     string // a command line; empty to use what listens on TCP

	Daemons   int
	Topics    int
	Producers int // daemons that have a topic
	Channels  int // of a topic
	Large     int // topics of the large daemon, which is one of Daemons
	Plain     bool

	Rate    int     // lookups a second
	Conns   int     // keep-alive connections for them
	Zipf    float64 // exponent of the topics' popularity; 0 if all are alike
	Seconds float64 // of lookups, for each row

	Churn float64       // percent of the daemons that come and go
	Cycle time.Duration // of leaving and coming back, without the registering
	Page  int           // entries of a page
	Nodes bool
	Null  bool
	Grow  bool
	Stall time.Duration
}

// Flags declares the flags.
func (s *Settings) Flags(fs *flag.FlagSet) {
	fs.StringVar(&s.TCP, "tcp-address", "127.0.0.1:4160", "`host:port` where daemons register")
	fs.StringVar(&s.HTTP, "http-address", "127.0.0.1:4161", "`host:port` of the HTTP API")
	for _, prefix := range []string{"lookupd-", "nsqlookupd-"} {
		program.Alias(fs, prefix+"tcp-address", "tcp-address")
		program.Alias(fs, prefix+"http-address", "http-address")
	}
	fs.IntVar(&s.PID, "pid", 0, "`process` of the lookupd on this machine, for its CPU and memory")
	fs.StringVar(&s.Start, "start", "", "start this `command` and stop it afterwards, instead of using a running lookupd, which would keep the topics' names; addresses are added")
	fs.IntVar(&s.Daemons, "daemons", 1000, "`daemons`, each with a connection")
	fs.IntVar(&s.Topics, "topics", 100_000, "`topics` of all daemons together")
	fs.IntVar(&s.Producers, "producers", 3, "`daemons` that have the same topic")
	fs.IntVar(&s.Channels, "channels", 2, "`channels` of a topic")
	fs.IntVar(&s.Large, "large", 10_000, "`topics` of one large daemon, at most all")
	fs.BoolVar(&s.Plain, "plain", false, "speak plain V1, even if the lookupd offers more")
	fs.IntVar(&s.Rate, "rate", 2000, "`lookups` a second, each due at a time fixed in advance")
	fs.IntVar(&s.Conns, "conns", 64, "keep-alive `connections` for lookups")
	fs.Float64Var(&s.Zipf, "zipf", 0, "`exponent`, above 1, of the popularity of topics in lookups; 0 asks for all alike")
	fs.Float64Var(&s.Seconds, "seconds", 5, "look up for this many `seconds` in each row")
	fs.Float64Var(&s.Churn, "churn", 1, "`percent` of the daemons that come and go, one at the least")
	fs.DurationVar(&s.Cycle, "cycle", 500*time.Millisecond, "a daemon that comes and goes is away for half of this `time`, and stays for half of it once it has registered")
	fs.IntVar(&s.Page, "page", 1000, "`entries` of a page of /topics and /nodes")
	fs.BoolVar(&s.Nodes, "nodes", true, "ask for /nodes; nsqlookupd takes minutes for a large one")
	fs.BoolVar(&s.Null, "null", true, "ask a bare net/http server in the same way, for comparison")
	fs.BoolVar(&s.Grow, "grow", false, "compare clusters of 100, 300 and --daemons daemons with 1,000, 10,000 and --topics topics; needs --start")
	fs.DurationVar(&s.Stall, "stall", 10*time.Second, "give up when nothing happens for this `duration`")
}

// Validate reports every setting that is out of range.
func (s Settings) Validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, f := range []struct {
		name         string
		value, least int
	}{
		{"producers", s.Producers, 1}, {"daemons", s.Daemons, 2}, {"topics", s.Topics, 1}, {"channels", s.Channels, 0},
		{"large", s.Large, 1}, {"rate", s.Rate, 1}, {"conns", s.Conns, 1}, {"page", s.Page, 1},
	} {
		if f.value < f.least {
			complain("--%s %d: must be %d or more", f.name, f.value, f.least)
		}
	}
	if s.Daemons > 1 && s.Producers >= s.Daemons {
		complain("--producers %d: must be less than the %d --daemons", s.Producers, s.Daemons)
	}
	if s.Topics > 1<<24 {
		complain("--topics %d: must be %d or less", s.Topics, 1<<24)
	}
	if s.Zipf != 0 && !(s.Zipf > 1 && s.Zipf <= 10) {
		complain("--zipf %v: must be above 1 and at most 10, or 0 for topics that are all alike", s.Zipf)
	}
	if !(s.Churn > 0 && s.Churn <= 100) {
		complain("--churn %v: must be above 0 and at most 100", s.Churn)
	}
	if !(s.Seconds > 0 && s.Seconds <= 3600) {
		complain("--seconds %v: must be above 0 and at most 3600", s.Seconds)
	}
	if s.Cycle <= 0 {
		complain("--cycle %v: must be positive", s.Cycle)
	}
	if s.Stall <= 0 {
		complain("--stall %v: must be positive", s.Stall)
	}
	if strings.TrimSpace(s.Start) == "" && s.Start != "" {
		complain("--start: the command is empty")
	}
	if s.Grow && s.Start == "" {
		complain("--grow: needs --start, for each cluster has a lookupd of its own")
	}
	if err := s.checkFiles(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// checkFiles compares the sockets with what the system allows. Go has raised the
// soft limit as far as it goes.
func (s Settings) checkFiles() error {
	most := uint64(maxFiles)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		most = min(most, uint64(limit.Cur))
	}
	if n := s.Daemons + s.Conns + spareFiles; n > 0 && uint64(n) > most {
		return fmt.Errorf("--daemons %d, --conns %d: need %d open files, of which there may be %d (ulimit -n, and %d at the most)", s.Daemons, s.Conns, n, most, maxFiles)
	}
	return nil
}

func (s Settings) duration() time.Duration { return time.Duration(s.Seconds * float64(time.Second)) }
