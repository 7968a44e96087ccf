// Package metrics shows a lookupd's figures to Prometheus, at /metrics.
// docs/METRICS.md lists what there is.
package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/limit"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
)

// Figures is what a lookupd knows at one moment.
type Figures struct {
	Daemons                         map[string]int // connected ones, by state
	Away                            int            // not connected, and remembered
	Topics, Channels, Registrations int
	Tombstones                      uint64 // set since the start
	TCP                             TCP
	Audit                           *audit.Counts  // nil: there is no audit log
	Access                          *access.Counts // nil: there is no access file
	HTTP                            limit.Counts
}

// TCP is what the face that daemons register at knows of itself. What is uint64
// counts since the start.
type TCP struct {
	Strangers int               // connections that have not identified themselves
	Plain     int               // daemons' connections that speak V1 alone
	Extended  int               // those that speak its extension
	TLS       int               // those of the two before that are over TLS
	Accepted  uint64            // connections
	Refused   map[string]uint64 // connections that were ended here, by cause
	Commands  map[string]uint64 // by name
	Resyncs   uint64            // how often a daemon was asked for all that it has

	RefusedRegistrations uint64
}

// Handler answers scrapes with what figures returns, what requests has counted,
// and the figures of Go and of the process.
func Handler(figures func() Figures, requests *Requests, log *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector{figures},
		requests.answered, requests.took,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:          errorLog{log},
		EnableOpenMetrics: true,
	})
}

// errorLog logs what promhttp complains about.
type errorLog struct{ *slog.Logger }

func (l errorLog) Println(v ...any) {
	l.Warn("a scrape of /metrics failed", "error", fmt.Sprint(v...))
}

// Requests counts HTTP requests.
type Requests struct {
	answered *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

// NewRequests returns a Requests that has counted none.
func NewRequests() *Requests {
	return &Requests{
		answered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "http_requests_total", Help: "HTTP requests, by the path of their route and by status; cut if the answer was cut off.",
		}, []string{"path", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "http_request_duration_seconds", Help: "Time from a request's header to the end of its answer, which a slow reader makes longer.",
			Buckets: []float64{.0001, .00025, .0005, .001, .002, .005, .01, .025, .05, .1, .25, 1, 5, 30},
		}, []string{"path"}),
	}
}

// Observe counts a request. An empty path is that of no route, a status of 0 that
// of an answer that was cut off.
func (r *Requests) Observe(path string, status int, took time.Duration) {
	if path == "" {
		path = "_other"
	}
	code := "cut"
	if status > 0 {
		code = strconv.Itoa(status)
	}
	r.answered.WithLabelValues(path, code).Inc()
	r.took.WithLabelValues(path).Observe(took.Seconds())
}

const prefix = "millrace_lookupd_"

var (
	buildDesc         = desc("build_info", "1, with the versions of the program, of NSQ as which it speaks, and of Go.", "version", "nsq_version", "go_version")
	daemonsDesc       = desc("daemons", "Connected queue daemons: ready, draining, failing, unsaid (they do not say), inactive (silent for too long), or superseded by a later connection.", "state")
	awayDesc          = desc("daemons_away", "Queue daemons that are not connected, and whose topics and tombstones are remembered for a while.")
	topicsDesc        = desc("topics", "Topics that are known.")
	channelsDesc      = desc("channels", "Channels of all topics.")
	registrationsDesc = desc("registrations", "Topics of all daemons together.")
	tombstonesDesc    = desc("tombstones_total", "Tombstones set.")
	connectionsDesc   = desc("connections", "TCP connections: stranger (not identified yet), plain (V1 alone) or extended.", "kind")
	tlsDesc           = desc("tls_connections", "Of these, daemons' connections over TLS.")
	acceptedDesc      = desc("accepted_connections_total", "TCP connections accepted.")
	refusedDesc       = desc("refused_connections_total", "TCP connections ended by this lookupd.", "cause")
	commandsDesc      = desc("commands_total", "Commands of daemons.", "command")
	resyncsDesc       = desc("resyncs_total", "How often a daemon was asked to register everything again.")
	auditLinesDesc    = desc("audit_lines_total", "Lines of the audit log that were written.")
	auditLostDesc     = desc("audit_lost_lines_total", "Lines of the audit log that are lost: the file could not be written, and too many waited.")
	auditFailDesc     = desc("audit_write_failures_total", "Writes to the audit file that failed; they are tried again.")
	deniedDesc        = desc("access_refused_total", "What was refused, by why: unknown_secret, expired_token or no_right.", "cause")

	tooManyDesc     = desc("refused_registrations_total", "Registrations not taken because the daemon had as many as it may.")
	httpDesc        = desc("http_connections", "Connections of HTTP and HTTPS clients.")
	httpRefusedDesc = desc("refused_http_connections_total", "HTTP connections refused: full (there were too many) or address (from theirs).", "cause")

	descs = []*prometheus.Desc{
		buildDesc, daemonsDesc, awayDesc, topicsDesc, channelsDesc, registrationsDesc, tombstonesDesc,
		connectionsDesc, tlsDesc, acceptedDesc, refusedDesc, commandsDesc, resyncsDesc, tooManyDesc, httpDesc, httpRefusedDesc,
		auditLinesDesc, auditLostDesc, auditFailDesc, deniedDesc,
	}
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

// collector makes metrics of a lookupd's figures when it is scraped.
type collector struct{ figures func() Figures }

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	f := c.figures()
	gauge(buildDesc, 1, program.Version, protocol.Version, runtime.Version())
	for state, n := range f.Daemons {
		gauge(daemonsDesc, n, state)
	}
	gauge(awayDesc, f.Away)
	gauge(topicsDesc, f.Topics)
	gauge(channelsDesc, f.Channels)
	gauge(registrationsDesc, f.Registrations)
	counter(tombstonesDesc, f.Tombstones)
	gauge(connectionsDesc, f.TCP.Strangers, "stranger")
	gauge(connectionsDesc, f.TCP.Plain, "plain")
	gauge(connectionsDesc, f.TCP.Extended, "extended")
	gauge(tlsDesc, f.TCP.TLS)
	counter(acceptedDesc, f.TCP.Accepted)
	if f.Audit != nil {
		counter(auditLinesDesc, f.Audit.Written)
		counter(auditLostDesc, f.Audit.Lost)
		counter(auditFailDesc, f.Audit.Failures)
	}
	if f.Access != nil {
		counter(deniedDesc, f.Access.Unknown, "unknown_secret")
		counter(deniedDesc, f.Access.Expired, "expired_token")
		counter(deniedDesc, f.Access.Refused, "no_right")
	}
	for cause, n := range f.TCP.Refused {
		counter(refusedDesc, n, cause)
	}
	for command, n := range f.TCP.Commands {
		counter(commandsDesc, n, command)
	}
	counter(resyncsDesc, f.TCP.Resyncs)
	counter(tooManyDesc, f.TCP.RefusedRegistrations)
	gauge(httpDesc, f.HTTP.Now)
	counter(httpRefusedDesc, f.HTTP.RefusedFull, "full")
	counter(httpRefusedDesc, f.HTTP.RefusedCrowded, "address")
}
