package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/cluster"
	"github.com/millrace-mq/millrace/internal/program"
)

// settingsOf are a daemon's settings, as it tells them.
type settingsOf struct {
	Address  string            `json:"address"`
	Error    string            `json:"error,omitempty"`
	Settings []json.RawMessage `json:"settings"`
}

// settings are the effective settings of each daemon and of the admin.
func (a *api) settings(r *http.Request, _ url.Values) (any, error) {
	var nodes []string
	for _, n := range a.Source.Latest().Nodes {
		nodes = append(nodes, n.Address)
	}
	own := []program.Setting{}
	if a.Own != nil {
		own = append(own, a.Own()...)
	}
	return struct {
		Own      []program.Setting `json:"own"`
		Nodes    []settingsOf      `json:"nodes"`
		Lookupds []settingsOf      `json:"lookupds"`
	}{own, a.askSettings(r.Context(), nodes), a.askSettings(r.Context(), a.Cluster.Lookupds())}, nil
}

func (a *api) askSettings(ctx context.Context, addresses []string) []settingsOf {
	var mu sync.Mutex // guards told; not held while somebody is asked
	told := make(map[string][]json.RawMessage)
	results := a.Cluster.Each(ctx, addresses, func(ctx context.Context, address string) audit.Result {
		var answer struct {
			Settings []json.RawMessage `json:"settings"`
		}
		err := a.Cluster.Get(ctx, address, "/config", nil, &answer)
		mu.Lock()
		defer mu.Unlock()
		told[address] = answer.Settings
		if r, ok := errors.AsType[*cluster.Refusal](err); ok && r.Status == http.StatusNotFound {
			return audit.Result{Error: "it is an nsqd or nsqlookupd, and does not list its settings"}
		}
		return cluster.ResultOf(address, err)
	}, nil)
	all := []settingsOf{}
	for i, r := range results {
		all = append(all, settingsOf{addresses[i], r.Error, append([]json.RawMessage{}, told[addresses[i]]...)})
	}
	return all
}
