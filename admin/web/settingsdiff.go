package web

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// daemonSettings is what one daemon answers to GET /config, or why it did not.
type daemonSettings struct {
	Node     string
	Settings []daemonSetting `json:"settings"`
	Error    string
}

// daemonSetting is one of them. Values are JSON as the daemon wrote it, so that
// numbers of 64 bits stay what they are.
type daemonSetting struct {
	Key     string          `json:"key"`
	Value   json.RawMessage `json:"value"`
	Default json.RawMessage `json:"default"`
	Source  string          `json:"source"` // default, flag, file, runtime

	// Both as people write them, such as 1GiB or 1m0s; nil if the daemon does not say.
	Text        *string `json:"text"`
	DefaultText *string `json:"default_text"`
}

func (s *daemonSetting) value() string     { return settingText(s.Text, s.Value) }
func (s *daemonSetting) byDefault() string { return settingText(s.DefaultText, s.Default) }

// settingRow is a setting over all daemons that have it: one value, or several.
type settingRow struct {
	Key     string
	Default string
	Values  []settingValue // by how many daemons have it, the most first
	// Own is set for what is each daemon's own by its nature, such as addresses:
	// that it differs is as it should be.
	Own bool
}

// Differs reports whether the daemons do not agree.
func (r settingRow) Differs() bool { return len(r.Values) > 1 }

// settingValue is a value, where it comes from, and the daemons that have it. If they
// have it from several places, those are separated by commas.
type settingValue struct {
	Text      string
	Source    string
	IsDefault bool
	Nodes     []string
}

// compareSettings joins the settings of daemons: first what differs though it
// need not, then what differs by nature, then what is the same everywhere, of that
// what somebody has decided; each by name.
func compareSettings(all []daemonSettings) []settingRow {
	byKey := make(map[string]*settingRow)
	for _, d := range all {
		for _, s := range d.Settings {
			r := byKey[s.Key]
			if r == nil {
				r = &settingRow{Key: s.Key, Default: s.byDefault(), Own: ownByNature(s.Key)}
				byKey[s.Key] = r
			}
			r.add(d.Node, s)
		}
	}
	rows := make([]settingRow, 0, len(byKey))
	for _, r := range byKey {
		slices.SortStableFunc(r.Values, func(x, y settingValue) int { return cmp.Compare(len(y.Nodes), len(x.Nodes)) })
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(x, y settingRow) int {
		return cmp.Or(cmp.Compare(x.rank(), y.rank()), cmp.Compare(x.Key, y.Key))
	})
	return rows
}

func (r settingRow) rank() int {
	switch {
	case r.Differs() && !r.Own:
		return 0
	case r.Differs():
		return 1
	case r.Values[0].Source != "default":
		return 2
	}
	return 3
}

func (r *settingRow) add(node string, s daemonSetting) {
	text := s.value()
	for i := range r.Values {
		v := &r.Values[i]
		if v.Text != text {
			continue
		}
		v.Nodes = append(v.Nodes, node)
		if !slices.Contains(strings.Split(v.Source, ", "), s.Source) {
			v.Source += ", " + s.Source // that one names what is the default of another is no difference
		}
		return
	}
	r.Values = append(r.Values, settingValue{Text: text, Source: s.Source, IsDefault: text == s.byDefault(), Nodes: []string{node}})
}

// settingText is a value as people write it: as the daemon says it, or else a string
// without its quotes, a list with commas.
func settingText(said *string, raw json.RawMessage) string {
	if said != nil {
		return *said
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s
		}
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) == nil {
			texts := make([]string, len(list))
			for i, one := range list {
				texts[i] = settingText(nil, one)
			}
			return strings.Join(texts, ", ")
		}
	}
	return string(raw)
}

// ownByNature reports whether a setting says where or who a daemon is.
func ownByNature(key string) bool {
	key = strings.ReplaceAll(key, "-", "_")
	switch key {
	case "data_path", "node_id", "worker_id", "id", "log_prefix", "statsd_prefix", "config", "topology_zone", "topology_region", "zone", "region":
		return true
	}
	return strings.HasSuffix(key, "_port") || strings.HasSuffix(key, "_address") && !strings.HasPrefix(key, "lookupd") &&
		!strings.HasPrefix(key, "nsqlookupd") && !strings.HasPrefix(key, "auth")
}
