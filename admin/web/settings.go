package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/admin/fleet"
)

// Daemons asks daemons what is in no snapshot; *cluster.Cluster is one.
type Daemons interface {
	Get(ctx context.Context, address, path string, q url.Values, into any) error
	Each(ctx context.Context, addresses []string, do func(ctx context.Context, address string) audit.Result, done func(audit.Result)) []audit.Result
	Inactive(ctx context.Context) (map[string][]string, []audit.Result)
}

const (
	// askedKeep is how long what daemons were asked for a page is shown to others, too.
	askedKeep = 5 * time.Second
	// askedPatience is how long a page waits for them.
	askedPatience = 5 * time.Second
)

// settingsPage is what daemons go by, what differs between them first.
type settingsPage struct {
	*view
	Node                string // the one whose settings are shown; empty: all
	Filter              string
	Asked               []string // daemons that have answered
	Differ, Natural, Is []settingRow
	Silent              []daemonSettings // that did not
	Stock               []string         // those of NSQ, which have no such list
	Lookups             []settingRow
	LookupsAsked        []string
	Own                 []settingRow // the admin's
}

// askedSettings is what all daemons have answered.
type askedSettings struct {
	nodes, lookupds []daemonSettings
	stock           []string
}

func (u *UI) settings(v *view) (any, error) {
	v.Title, v.API = "Settings", "/api/settings"
	if u.Daemons == nil {
		return nil, errors.New("nobody to ask daemons was given to the pages")
	}
	p := settingsPage{view: v, Node: v.Query.Get("node"), Filter: strings.TrimSpace(v.Query.Get("q"))}
	if p.Node != "" && v.Snapshot.Node(p.Node) == nil && findLookupd(v.Snapshot, p.Node) == nil {
		return nil, notFound("There is no daemon at %s.", p.Node)
	}
	all, err := u.asked.settings.get(v.Context(), askedKeep, askedPatience, func(ctx context.Context) askedSettings {
		return askSettings(ctx, u.Daemons, v.Snapshot)
	})
	if err != nil {
		return nil, err
	}
	p.take(all)
	if p.Node == "" {
		p.Own = u.ownSettings(p.wants)
	}
	return p, nil
}

// take sorts what was answered into the parts of the page.
func (p *settingsPage) take(all askedSettings) {
	nodes := p.chosen(all.nodes)
	for _, r := range compareSettings(nodes) {
		switch {
		case !p.wants(r.Key):
		case r.Differs() && !r.Own:
			p.Differ = append(p.Differ, r)
		case r.Differs():
			p.Natural = append(p.Natural, r)
		default:
			p.Is = append(p.Is, r)
		}
	}
	p.Asked = names(nodes)
	lookupds := p.chosen(all.lookupds)
	for _, r := range compareSettings(lookupds) {
		if p.wants(r.Key) {
			p.Lookups = append(p.Lookups, r)
		}
	}
	p.LookupsAsked = names(lookupds)
	for _, s := range all.stock {
		if p.Node == "" || p.Node == s {
			p.Stock = append(p.Stock, s)
		}
	}
}

// ownSettings are the admin's, as a daemon would tell them.
func (u *UI) ownSettings(wants func(key string) bool) []settingRow {
	if u.Own == nil {
		return nil
	}
	text, err := json.Marshal(u.Own())
	own := daemonSettings{Node: "this admin"}
	if err != nil || json.Unmarshal(text, &own.Settings) != nil {
		return nil // it is what daemons send, so it can be read
	}
	rows := compareSettings([]daemonSettings{own})
	return slices.DeleteFunc(rows, func(r settingRow) bool { return !wants(r.Key) })
}

func (p *settingsPage) wants(key string) bool {
	return p.Filter == "" || strings.Contains(strings.ReplaceAll(strings.ToLower(key), "-", "_"), strings.ReplaceAll(strings.ToLower(p.Filter), "-", "_"))
}

// chosen are the daemons that the page is about and that have answered; the others
// of them are silent.
func (p *settingsPage) chosen(all []daemonSettings) (answered []daemonSettings) {
	for _, d := range all {
		switch {
		case p.Node != "" && p.Node != d.Node:
		case d.Error != "":
			p.Silent = append(p.Silent, d)
		default:
			answered = append(answered, d)
		}
	}
	return answered
}

func names(all []daemonSettings) []string {
	list := make([]string, len(all))
	for i, d := range all {
		list[i] = d.Node
	}
	return list
}

// askSettings asks all daemons of a snapshot that have a list of their settings. One
// that is down is not asked: its time-out would be everybody's wait.
func askSettings(ctx context.Context, daemons Daemons, s *fleet.Snapshot) (all askedSettings) {
	var nodes, lookupds []string
	for _, n := range s.Nodes {
		switch {
		case !n.Up:
			all.nodes = append(all.nodes, daemonSettings{Node: n.Address, Error: "it is down: " + n.Error})
		case !n.Millrace:
			all.stock = append(all.stock, n.Address)
		default:
			nodes = append(nodes, n.Address)
		}
	}
	for _, l := range s.Lookupds {
		if l.Up {
			lookupds = append(lookupds, l.Address)
		} else {
			all.lookupds = append(all.lookupds, daemonSettings{Node: l.Address, Error: "it is down: " + l.Error})
		}
	}
	told, silent := askEach(ctx, daemons, nodes)
	all.nodes, all.stock = append(all.nodes, told...), append(all.stock, silent...)
	told, silent = askEach(ctx, daemons, lookupds)
	all.lookupds, all.stock = append(all.lookupds, told...), append(all.stock, silent...)
	return all
}

// askEach asks daemons; silent are those of NSQ, which have no such list.
func askEach(ctx context.Context, daemons Daemons, addresses []string) (all []daemonSettings, silent []string) {
	var mu sync.Mutex // guards told; not held while a daemon is asked
	told := make(map[string][]daemonSetting, len(addresses))
	stock := make(map[string]bool)
	results := daemons.Each(ctx, addresses, func(ctx context.Context, address string) audit.Result {
		var answer struct {
			Settings []daemonSetting `json:"settings"`
		}
		err := daemons.Get(ctx, address, "/config", nil, &answer)
		mu.Lock()
		defer mu.Unlock()
		told[address] = answer.Settings
		if r, ok := errors.AsType[*cluster.Refusal](err); ok && r.Status == http.StatusNotFound {
			stock[address] = true
		}
		return cluster.ResultOf(address, err)
	}, nil)
	for _, r := range results {
		if stock[r.Node] {
			silent = append(silent, r.Node)
			continue
		}
		all = append(all, daemonSettings{Node: r.Node, Settings: told[r.Node], Error: r.Error})
	}
	return all, silent
}

func findLookupd(s *fleet.Snapshot, address string) *fleet.Lookupd {
	for i := range s.Lookupds {
		if s.Lookupds[i].Address == address {
			return &s.Lookupds[i]
		}
	}
	return nil
}
