package metrics

import (
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-mq/millrace/internal/histogram"
	"github.com/millrace-mq/millrace/internal/limit"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/protocol"
	"github.com/millrace-mq/millrace/qd/stats"
)

// channelsPerTopic times the number of topics that are shown is the number of
// channels that are.
const channelsPerTopic = 4

// collector makes metrics of a daemon's figures when it is scraped.
type collector struct {
	source *stats.Source

	topicCounters, topicGauges     []*prometheus.Desc
	channelCounters, channelGauges []*prometheus.Desc
	latency                        *prometheus.Desc

	mu       sync.Mutex // one scrape at a time; guards what follows
	topics   crowd
	channels crowd
	rest     *rest            // of topics
	few      *rest            // of the channels of topics that are not shown
	many     map[uint64]*rest // of channels of a topic that is, by its number
}

func newCollector(source *stats.Source, maxTopics int) *collector {
	c := &collector{
		source:          source,
		topicCounters:   descs("millrace_topic_", topicCounters, "topic"),
		topicGauges:     descs("millrace_topic_", topicGauges, "topic"),
		channelCounters: descs("millrace_channel_", channelCounters, "topic", "channel"),
		channelGauges:   descs("millrace_channel_", channelGauges, "topic", "channel"),
		latency: prometheus.NewDesc("millrace_channel_latency_seconds",
			"Time from publish to FIN.", []string{"topic", "channel"}, nil),
		topics:   crowd{most: maxTopics, items: make(map[key]*item)},
		channels: crowd{most: channelsPerTopic * maxTopics, items: make(map[key]*item)},
		many:     make(map[uint64]*rest),
	}
	c.rest = &rest{figures: figures{make([]float64, len(topicCounters)), make([]float64, len(topicGauges))}}
	c.few = newChannelRest()
	return c
}

func newChannelRest() *rest {
	rising := len(channelCounters) + len(stats.TimeBounds) + 2
	return &rest{figures: figures{make([]float64, rising), make([]float64, len(channelGauges))}}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, all := range [][]*prometheus.Desc{c.topicCounters, c.topicGauges, c.channelCounters, c.channelGauges, daemonDescs} {
		for _, d := range all {
			to <- d
		}
	}
	to <- c.latency
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	for _, m := range c.collect() {
		to <- m
	}
}

// collect makes the metrics of a scrape.
func (c *collector) collect() (to batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.source.Gather(stats.Selection{Latencies: true})
	topics, channels := c.settle(all.Topics, time.Now())
	for i := range topics {
		if e := &topics[i]; e.is {
			c.sendTopic(&to, e.item.own, e.figures.gauges, e.name)
		}
	}
	if c.rest.used() {
		c.sendTopic(&to, c.rest.rising, c.rest.gauges, other)
	}
	for i := range channels {
		if e := &channels[i].entry; e.is {
			c.sendChannel(&to, e.item.own, e.figures.gauges, channels[i].topic, e.name)
		}
	}
	if c.few.used() {
		c.sendChannel(&to, c.few.rising, c.few.gauges, other, other)
	}
	for i := range topics {
		if r := c.many[topics[i].key.topic]; topics[i].is && r != nil && r.used() {
			c.sendChannel(&to, r.rising, r.gauges, topics[i].name, other)
		}
	}
	c.sendDaemon(&to, &all, len(channels))
	return to
}

// batch is the metrics of a scrape. They are sent when the lock is free again.
type batch []prometheus.Metric

func (b *batch) add(m prometheus.Metric) { *b = append(*b, m) }

// used reports whether there is, or was, anybody in the rest.
func (r *rest) used() bool {
	if r.hidden > 0 {
		return true
	}
	for _, v := range r.rising {
		if v > 0 {
			return true
		}
	}
	return false
}

// member is a channel, and whose it is.
type member struct {
	entry
	topic string
}

// settle decides who has series of its own.
func (c *collector) settle(all []stats.Topic, now time.Time) (topics []entry, members []member) {
	c.rest.clear()
	c.few.clear()
	for _, r := range c.many {
		r.clear()
	}
	topics = make([]entry, len(all))
	n := 0
	for i := range all {
		t := &all[i]
		n += len(t.Channels)
		f := figures{values(topicCounters, t, 0), values(topicGauges, t, 0)}
		topics[i] = entry{key: key{topic: t.Number}, name: t.Name, figures: f, pending: pending(t), eligible: true, rest: c.rest}
	}
	c.topics.settle(topics, now)
	channels := make([]entry, 0, n)
	there := make(map[uint64]bool, len(c.many))
	for i := range all {
		r := c.few
		if topics[i].is && len(all[i].Channels) > 0 {
			r = c.restOf(all[i].Number)
		}
		there[all[i].Number] = true
		for j := range all[i].Channels {
			channel := &all[i].Channels[j]
			f := figures{
				times(values(channelCounters, channel, len(stats.TimeBounds)+2), channel.Times),
				values(channelGauges, channel, 0),
			}
			channels = append(channels, entry{
				key: key{all[i].Number, channel.Serial}, name: channel.Name, figures: f,
				pending: waits(channel), eligible: topics[i].is, rest: r,
			})
		}
	}
	for number := range c.many {
		if !there[number] {
			delete(c.many, number)
		}
	}
	c.channels.settle(channels, now)
	members = make([]member, 0, n)
	for i := range all {
		for range all[i].Channels {
			members = append(members, member{channels[len(members)], all[i].Name})
		}
	}
	return topics, members
}

// restOf is the rest of a topic's channels.
func (c *collector) restOf(number uint64) *rest {
	r := c.many[number]
	if r == nil {
		r = newChannelRest()
		c.many[number] = r
	}
	return r
}

// pending reports whether there is a message anywhere in the topic.
func pending(t *stats.Topic) bool {
	if t.Depth > 0 {
		return true
	}
	for i := range t.Channels {
		if waits(&t.Channels[i]) {
			return true
		}
	}
	return false
}

func waits(c *stats.Channel) bool { return c.Depth+c.InFlightCount+c.DeferredCount+c.DeadCount > 0 }

func (c *collector) sendTopic(to *batch, rising, gauges []float64, name string) {
	send(to, c.topicCounters, prometheus.CounterValue, rising, name)
	send(to, c.topicGauges, prometheus.GaugeValue, gauges, name)
}

func (c *collector) sendChannel(to *batch, rising, gauges []float64, topic, name string) {
	n := len(channelCounters)
	send(to, c.channelCounters, prometheus.CounterValue, rising[:n], topic, name)
	send(to, c.channelGauges, prometheus.GaugeValue, gauges, topic, name)
	if h := latency(c.latency, stats.TimeBounds, rising[n:], topic, name); h != nil {
		to.add(h)
	}
}

func send(to *batch, descs []*prometheus.Desc, kind prometheus.ValueType, values []float64, labels ...string) {
	for i, d := range descs {
		to.add(prometheus.MustNewConstMetric(d, kind, values[i], labels...))
	}
}

var (
	buildDesc       = daemonDesc("build_info", "1, with the versions of the program, of NSQ as which it speaks, and of Go.", "version", "nsq_version", "go_version")
	healthyDesc     = daemonDesc("healthy", "1 while the disk can be used; 0 is what /ping calls NOK.")
	drainingDesc    = daemonDesc("draining", "1 from when the daemon takes no more publishes, for it is to end.")
	topicsDesc      = daemonDesc("topics", "Topics.")
	channelsDesc    = daemonDesc("channels", "Channels of all topics.")
	hiddenDesc      = daemonDesc("metrics_hidden_topics", "Topics without series of their own: they are summed as _other.")
	hiddenChDesc    = daemonDesc("metrics_hidden_channels", "Channels without series of their own: they are summed as _other.")
	connectionsDesc = daemonDesc("connections", "TCP connections: init, subscribed, or closing (after CLS).", "state")
	producersDesc   = daemonDesc("producers", "Of these, connections that have published.")
	memoryDesc      = daemonDesc("message_memory_bytes", "Memory that messages take.")
	memoryLimitDesc = daemonDesc("message_memory_limit_bytes", "The bound of that, --mem-limit.")
	floorDesc       = daemonDesc("disk_floor_bytes", "Free space below which publishes are refused, --min-free-disk.")
	freeDesc        = daemonDesc("disk_free_bytes", "Free space on the disk of the data path.")
	syncDesc        = daemonDesc("sync_duration_seconds", "Time that syncing a log took: for a commit, which publishers wait for, or in the background.", "kind")
	writeDesc       = daemonDesc("write_duration_seconds", "Time that writing a commit to a log took, without syncing it.")
	linkUpDesc      = daemonDesc("link_up", "1 while the daemon is registered with the lookupd.", "lookupd")
	linkFailDesc    = daemonDesc("link_failures_total", "Connections to the lookupd that were lost, or could not be made.", "lookupd")
	auditLinesDesc  = daemonDesc("audit_lines_total", "Lines of the audit log that were written.")
	auditLostDesc   = daemonDesc("audit_lost_lines_total", "Lines of the audit log that are lost: the file could not be written, and too many waited.")
	auditFailDesc   = daemonDesc("audit_write_failures_total", "Writes to the audit file that failed; they are tried again.")
	deniedDesc      = daemonDesc("access_refused_total", "What was refused, by why: unknown_secret, expired_token, no_right, or auth_unanswered (no auth server said what a client may).", "cause")
	httpDesc        = daemonDesc("http_connections", "Connections of HTTP and HTTPS clients.")
	turnedDesc      = daemonDesc("connections_refused_total", "Connections refused: there were too many in all, or from their address.", "face", "limit")
	delayedDesc     = daemonDesc("delayed_publishes_total", "Publishes held back for a moment because they came too early.")
	limitedDesc     = daemonDesc("limited_total", "Publishes refused because they came too early, and topics and channels not created, by what was too much.", "limit")

	daemonDescs = []*prometheus.Desc{
		buildDesc, healthyDesc, drainingDesc, topicsDesc, channelsDesc, hiddenDesc, hiddenChDesc, connectionsDesc, producersDesc,
		memoryDesc, memoryLimitDesc, floorDesc, freeDesc, syncDesc, writeDesc,
		linkUpDesc, linkFailDesc, auditLinesDesc, auditLostDesc, auditFailDesc, deniedDesc, httpDesc, turnedDesc, delayedDesc, limitedDesc,
	}
)

func daemonDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("millrace_"+name, help, labels, nil)
}

// sendDaemon sends what is the daemon's as a whole.
func (c *collector) sendDaemon(to *batch, all *stats.Daemon, channels int) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to.add(prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
	}
	gauge(buildDesc, 1, program.Version, protocol.Version, runtime.Version())
	gauge(healthyDesc, truth(all.Health == "OK"))
	gauge(drainingDesc, truth(c.source.Broker.Refusal() != nil))
	gauge(topicsDesc, float64(len(all.Topics)))
	gauge(channelsDesc, float64(channels))
	hidden := c.few.hidden
	for _, r := range c.many {
		hidden += r.hidden
	}
	gauge(hiddenDesc, float64(c.rest.hidden))
	gauge(hiddenChDesc, float64(hidden))
	n := c.source.Connections()
	gauge(connectionsDesc, float64(n.Init), "init")
	gauge(connectionsDesc, float64(n.Subscribed), "subscribed")
	gauge(connectionsDesc, float64(n.Closing), "closing")
	gauge(producersDesc, float64(n.Producers))
	b := c.source.Broker
	gauge(memoryDesc, float64(b.MemoryInUse()))
	gauge(memoryLimitDesc, float64(b.MemoryBytes))
	gauge(floorDesc, float64(b.MinFree))
	if free, ok := b.FreeBytes(); ok {
		gauge(freeDesc, float64(free))
	}
	if l := all.Node.Limits; l != nil {
		counter := func(d *prometheus.Desc, v uint64, labels ...string) {
			to.add(prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...))
		}
		gauge(httpDesc, float64(l.HTTP.Now))
		for _, of := range []struct {
			face string
			n    limit.Counts
		}{{"tcp", l.TCP}, {"http", l.HTTP}} {
			counter(turnedDesc, of.n.RefusedFull, of.face, "all")
			counter(turnedDesc, of.n.RefusedCrowded, of.face, "address")
		}
		counter(delayedDesc, l.Delayed)
		for what, n := range l.Refused {
			counter(limitedDesc, n, what)
		}
	}
	if c.source.Failures != nil {
		n := all.Node
		for cause, n := range map[string]uint64{
			"unknown_secret": n.UnknownSecrets, "expired_token": n.ExpiredSecrets, "no_right": n.Refused, "auth_unanswered": n.Unanswered,
		} {
			to.add(prometheus.MustNewConstMetric(deniedDesc, prometheus.CounterValue, float64(n), cause))
		}
	}
	if c.source.Lookupds != nil {
		for _, l := range c.source.Lookupds() {
			gauge(linkUpDesc, truth(l.Linked), l.Address)
			to.add(prometheus.MustNewConstMetric(linkFailDesc, prometheus.CounterValue, float64(l.Failures), l.Address))
		}
	}
	if c.source.Audit != nil {
		counts := c.source.Audit()
		for d, n := range map[*prometheus.Desc]uint64{auditLinesDesc: counts.Written, auditLostDesc: counts.Lost, auditFailDesc: counts.Failures} {
			to.add(prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n)))
		}
	}
	commits, background := b.SyncLatencies()
	sendTimes(to, syncDesc, commits, "commit")
	sendTimes(to, syncDesc, background, "background")
	sendTimes(to, writeDesc, b.WriteLatencies())
}

func sendTimes(to *batch, desc *prometheus.Desc, s histogram.Snapshot, labels ...string) {
	buckets := make(map[float64]uint64, len(s.Bounds))
	n := uint64(0)
	for i, bound := range s.Bounds {
		n += s.Counts[i]
		buckets[bound.Seconds()] = n
	}
	n += s.Counts[len(s.Bounds)]
	to.add(prometheus.MustNewConstHistogram(desc, n, s.Sum.Seconds(), buckets, labels...))
}
