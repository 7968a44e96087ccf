package api

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/internal/httpapi"
)

// reading is what became of asking several daemons: some failures are a warning, and
// none but failures an error.
type reading struct{ warnings []string }

// each asks every address and returns how many have answered.
func (rd *reading) each(ctx context.Context, c *cluster.Cluster, addresses []string, ask func(ctx context.Context, address string) error) (answered int) {
	for _, r := range c.Each(ctx, addresses, func(ctx context.Context, address string) audit.Result {
		return cluster.ResultOf(address, ask(ctx, address))
	}, nil) {
		if r.OK {
			answered++
		} else {
			rd.warnings = append(rd.warnings, r.Node+": "+r.Error)
		}
	}
	return answered
}

// message is what nsqadmin's answers say of failures.
func (rd *reading) message() string { return warning(rd.warnings) }

func warning(failures []string) string {
	if len(failures) == 0 {
		return ""
	}
	return "WARNING: " + strings.Join(failures, "; ")
}

// upstream is the error if nobody could be asked; of says what they are.
func (rd *reading) upstream(of string) error { return upstream("failed to query any "+of, rd.warnings) }

func upstream(what string, failures []string) error {
	if len(failures) == 0 {
		failures = []string{"there is none that has it"}
	}
	return httpapi.Errorf(http.StatusBadGateway, "UPSTREAM_ERROR: %s: %s", what, strings.Join(failures, "; "))
}

const (
	lookupdKind = "nsqlookupd"
	daemonKind  = "nsqd"
)

// producers are all daemons, by host name.
func (a *api) producers(ctx context.Context, rd *reading) ([]*nsqProducer, error) {
	lookupds := a.Cluster.Lookupds()
	if len(lookupds) == 0 {
		return a.namedProducers(ctx, rd, "")
	}
	listed, err := a.listed(ctx, rd, lookupds, func(ctx context.Context, lookupd string) ([]cluster.Producer, string, error) {
		return a.Cluster.Producers(ctx, lookupd, true)
	})
	if err != nil {
		return nil, err
	}
	byTCP := make(map[string]*nsqProducer)
	for _, lookupd := range lookupds { // in their order, for one has the word on what they tell differently
		for i := range listed[lookupd] {
			addListed(byTCP, lookupd, &listed[lookupd][i])
		}
	}
	all := make([]*nsqProducer, 0, len(byTCP))
	for _, p := range byTCP {
		slices.Sort(p.RemoteAddresses)
		all = append(all, p)
	}
	markOld(all)
	sortProducers(all)
	return all, nil
}

// listed asks lookupds for daemons, and returns what each has listed.
func (a *api) listed(ctx context.Context, rd *reading, lookupds []string,
	list func(ctx context.Context, lookupd string) ([]cluster.Producer, string, error)) (map[string][]cluster.Producer, error) {
	var mu sync.Mutex // guards all and rd's warnings; not held while somebody is asked
	all := make(map[string][]cluster.Producer)
	answered := rd.each(ctx, a.Cluster, lookupds, func(ctx context.Context, lookupd string) error {
		producers, note, err := list(ctx, lookupd)
		mu.Lock()
		defer mu.Unlock()
		if note != "" {
			rd.warnings = append(rd.warnings, lookupd+": "+note)
		}
		all[lookupd] = producers
		return err
	})
	if answered == 0 {
		return nil, rd.upstream(lookupdKind)
	}
	return all, nil
}

func addListed(byTCP map[string]*nsqProducer, lookupd string, l *cluster.Producer) {
	key := net.JoinHostPort(l.BroadcastAddress, strconv.Itoa(l.TCPPort))
	p := byTCP[key]
	if p == nil {
		p = producerOf(l)
		byTCP[key] = p
	}
	from := l.RemoteAddress
	if from == "" {
		from = "N/A"
	}
	p.RemoteAddresses = append(p.RemoteAddresses, lookupd+"/"+from)
}

func producerOf(l *cluster.Producer) *nsqProducer {
	p := &nsqProducer{
		RemoteAddress: l.RemoteAddress, Hostname: l.Hostname, BroadcastAddress: l.BroadcastAddress, TCPPort: l.TCPPort, HTTPPort: l.HTTPPort,
		Version: l.Version, Zone: l.Zone, Region: l.Region, address: l.Address, Topics: []nsqProducerTopic{},
	}
	for i, t := range l.Topics {
		p.Topics = append(p.Topics, nsqProducerTopic{t, i < len(l.Tombstones) && l.Tombstones[i]})
	}
	slices.SortFunc(p.Topics, func(a, b nsqProducerTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	return p
}

func sortProducers(all []*nsqProducer) {
	slices.SortFunc(all, func(a, b *nsqProducer) int {
		return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.address, b.address))
	})
}

// markOld marks those with a lower version than the newest.
func markOld(all []*nsqProducer) {
	newest := [3]int{}
	for _, p := range all {
		if v := versionOf(p.Version); slices.Compare(v[:], newest[:]) > 0 {
			newest = v
		}
	}
	for _, p := range all {
		v := versionOf(p.Version)
		p.OutOfDate = slices.Compare(v[:], newest[:]) < 0
	}
}

// versionOf reads the three numbers of a version; what is none is 0.0.0.
func versionOf(s string) (v [3]int) {
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "v"), "-")
	parts := strings.Split(s, ".")
	if len(parts) != len(v) {
		return v
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return [3]int{}
		}
		v[i] = n
	}
	return v
}

// topicProducers are the daemons that have a topic.
func (a *api) topicProducers(ctx context.Context, topic string, rd *reading) ([]*nsqProducer, error) {
	lookupds := a.Cluster.Lookupds()
	if len(lookupds) == 0 {
		return a.namedProducers(ctx, rd, topic)
	}
	listed, err := a.listed(ctx, rd, lookupds, func(ctx context.Context, lookupd string) ([]cluster.Producer, string, error) {
		return a.Cluster.Holders(ctx, lookupd, topic)
	})
	if err != nil {
		return nil, err
	}
	var all []*nsqProducer
	known := make(map[string]bool)
	for _, lookupd := range lookupds {
		for i := range listed[lookupd] {
			if p := &listed[lookupd][i]; !known[p.Address] {
				known[p.Address] = true
				all = append(all, producerOf(p))
			}
		}
	}
	sortProducers(all)
	return all, nil
}

// namedProducers are the daemons of the settings; with a topic, those that have it.
func (a *api) namedProducers(ctx context.Context, rd *reading, topic string) ([]*nsqProducer, error) {
	var mu sync.Mutex // guards all; not held while somebody is asked
	all := []*nsqProducer{}
	answered := rd.each(ctx, a.Cluster, a.Cluster.Daemons(), func(ctx context.Context, address string) error {
		p, has, err := a.askProducer(ctx, address, topic)
		if err != nil || !has {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, p)
		return nil
	})
	if answered == 0 {
		return nil, rd.upstream(daemonKind)
	}
	sortProducers(all)
	return all, nil
}

// askProducer asks a daemon who it is and which topics it has.
func (a *api) askProducer(ctx context.Context, address, topic string) (p *nsqProducer, has bool, err error) {
	topics, err := a.names(ctx, address, topic)
	if err != nil {
		return nil, false, err
	}
	p = &nsqProducer{address: address, Topics: []nsqProducerTopic{}}
	if err := a.Cluster.Get(ctx, address, "/info", nil, p); err != nil {
		return nil, false, err
	}
	p.RemoteAddresses, p.RemoteAddress, p.OutOfDate = nil, "", false // of lookupds alone
	host, port, _ := net.SplitHostPort(address)
	if p.BroadcastAddress == "" {
		p.BroadcastAddress = host
		p.HTTPPort, _ = strconv.Atoi(port)
	}
	p.Hostname = cmp.Or(p.Hostname, host)
	p.Topics = []nsqProducerTopic{}
	for _, t := range topics {
		p.Topics = append(p.Topics, nsqProducerTopic{Topic: t})
	}
	return p, topic == "" || len(topics) > 0, nil
}

// names asks a daemon which topics it has; with a topic, whether it has that.
func (a *api) names(ctx context.Context, address, topic string) (names []string, err error) {
	q := url.Values{"format": {"json"}, "include_mem": {"false"}, "include_clients": {"false"}}
	if topic != "" {
		q.Set("topic", topic)
	}
	var answer struct {
		Topics []struct {
			Name string `json:"topic_name"`
		} `json:"topics"`
	}
	err = a.Cluster.Get(ctx, address, "/stats", q, &answer)
	for _, t := range answer.Topics {
		if topic == "" || t.Name == topic {
			names = append(names, t.Name)
		}
	}
	return names, err
}

// stats asks a daemon for its topics.
func (a *api) stats(ctx context.Context, address, topic, channel string, clients bool) ([]*nsqTopic, error) {
	q := url.Values{"format": {"json"}, "include_mem": {"false"}}
	if topic != "" {
		q.Set("topic", topic)
	}
	if channel != "" {
		q.Set("channel", channel)
	}
	if !clients {
		q.Set("include_clients", "false")
	}
	var answer struct {
		Topics []*nsqTopic `json:"topics"`
	}
	err := a.Cluster.Get(ctx, address, "/stats", q, &answer)
	return slices.DeleteFunc(answer.Topics, func(t *nsqTopic) bool { return t == nil }), err
}

// allStats asks the daemons for their topics, each of which is by itself, by host name.
func (a *api) allStats(ctx context.Context, rd *reading, from []*nsqProducer, topic, channel string, clients bool) ([]*nsqTopic, error) {
	byAddress := make(map[string]*nsqProducer, len(from))
	var addresses []string
	for _, p := range from {
		byAddress[p.address] = p
		addresses = append(addresses, p.address)
	}
	var mu sync.Mutex // guards all; not held while somebody is asked
	var all []*nsqTopic
	now := time.Now()
	answered := rd.each(ctx, a.Cluster, addresses, func(ctx context.Context, address string) error {
		topics, err := a.stats(ctx, address, topic, channel, clients)
		mu.Lock()
		defer mu.Unlock()
		for _, t := range topics {
			if topic == "" || t.TopicName == topic {
				t.drop()
				t.fill(byAddress[address], now)
				all = append(all, t)
			}
		}
		return err
	})
	if answered == 0 {
		return nil, rd.upstream(daemonKind)
	}
	slices.SortStableFunc(all, func(a, b *nsqTopic) int {
		return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.Node, b.Node), cmp.Compare(a.TopicName, b.TopicName))
	})
	return all, nil
}
