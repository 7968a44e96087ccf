package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/program"
)

func config(pairs ...string) string {
	var list []string
	for i := 0; i < len(pairs); i += 3 {
		list = append(list, fmt.Sprintf(`{"key":%q,"value":%s,"default":1,"source":%q}`, pairs[i], pairs[i+1], pairs[i+2]))
	}
	return `{"settings":[` + strings.Join(list, ",") + `]}`
}

func TestSettings(t *testing.T) {
	s := fleetOf(5, 1)
	down(s, 3)
	s.Nodes[4].Millrace = false
	s.Lookupds = append(s.Lookupds, fleet.Lookupd{Address: "lookup-2:4161", Error: "refused"})
	l := &looked{settings: map[string]string{
		"queue-00.internal:4151": config("mem_limit", "1", "default", "data_path", `"/a"`, "file", "max_rdy_count", "2500", "default", "token", `"***"`, "file", "big", "9007199254740993", "flag"),
		"queue-01.internal:4151": config("mem_limit", "2", "runtime", "data_path", `"/b"`, "file", "max_rdy_count", "2500", "default", "token", `"***"`, "file", "big", "9007199254740993", "flag"),
		"lookup-1:4161":          config("tombstone_lifetime", `"<b>45s"`, "flag"),
	}}
	u := lookingUI(t, s, l)
	u.Own = func() []program.Setting {
		return []program.Setting{{Key: "cluster_name", Source: "default"}, {Key: "audit_file", Text: "/var/log/audit", Source: "flag"}}
	}
	page := mainOf(t, get(u, signin.Viewer, "/settings"))
	says(t, page, "What differs between nodes Setting Value From Default On mem_limit 1 default the same queue-00.internal:4151 2 runtime 1 queue-01.internal:4151",
		"1 setting that is each node's own", "data_path /a file", "The same on all 2 nodes", "big 9007199254740993 flag", "token ***", "tombstone_lifetime <b>45s",
		"This admin", "audit_file /var/log/audit flag empty cluster_name empty default the same", "queue-04.internal:4151: NSQ's own daemons do not tell their settings",
		"3 daemons did not tell", "queue-02.internal:4151 GET /config of queue-02.internal:4151: connection refused", "queue-03.internal:4151 it is down", "lookup-2:4161 it is down: refused")
	saysNot(t, page, "<b>45s")

	page = mainOf(t, get(u, signin.Viewer, "/settings?node=queue-01.internal:4151"))
	says(t, page, "Settings of queue-01.internal:4151", "mem_limit 2 runtime")
	saysNot(t, page, "What differs", "queue-03.internal:4151</b>", "audit_file", "tombstone_lifetime")
	page = mainOf(t, get(u, signin.Viewer, "/settings?q=MEM-"))
	says(t, page, "mem_limit")
	saysNot(t, page, "max_rdy_count", "audit_file")
	says(t, mainOf(t, get(u, signin.Viewer, "/settings?node=queue-01.internal:4151&q=<b>")), "No setting has “<b>” in its name")
	if w := get(u, signin.Viewer, "/settings?node=169.254.169.254:80"); w.Code != http.StatusNotFound {
		t.Errorf("an address that is no daemon's: %d", w.Code)
	}
}

func TestCompareSettings(t *testing.T) {
	one := func(node, key, value string) daemonSettings {
		d := daemonSettings{Node: node}
		if err := json.Unmarshal([]byte(`{"settings":[{"key":"`+key+`","source":"flag","value":`+value+`}]}`), &d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, c := range []struct {
		name, key string
		values    []string
		text      string // of the value that most have
		differs   bool
		own       bool
	}{
		{"one node", "x", []string{`"a"`}, "a", false, false},
		{"the same", "x", []string{`1`, `1`}, "1", false, false},
		{"one of three", "x", []string{`1`, `2`, `2`}, "2", true, false},
		{"written otherwise", "x", []string{`["a","b"]`, `[ "a", "b" ]`}, "a, b", false, false},
		{"64 bits", "x", []string{`9007199254740993`, `9007199254740992`}, "9007199254740993", true, false},
		{"empty", "x", []string{`null`, `""`}, "", false, false},
		{"addresses", "http_address", []string{`"a:1"`, `"b:1"`}, "a:1", true, true},
		{"lookupds", "lookupd_tcp_address", []string{`["l"]`, `[]`}, "l", true, false},
		{"an object", "x", []string{`{"a":1}`}, `{"a":1}`, false, false},
		{"as people write it", "x", []string{`1073741824,"text":"1GiB"`}, "1GiB", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []daemonSettings
			for i, v := range c.values {
				all = append(all, one(fmt.Sprint("n", i), c.key, v))
			}
			rows := compareSettings(all)
			if len(rows) != 1 || rows[0].Differs() != c.differs || rows[0].Own != c.own || rows[0].Values[0].Text != c.text {
				t.Errorf("%+v", rows)
			}
		})
	}
}

// That one daemon names what is the default of another is no difference.
func TestSettingsOfSeveralSources(t *testing.T) {
	var all []daemonSettings
	for i, source := range []string{"default", "flag", "default"} {
		all = append(all, daemonSettings{Node: fmt.Sprint("n", i), Settings: []daemonSetting{{Key: "x", Value: json.RawMessage("1"), Source: source}}})
	}
	rows := compareSettings(all)
	if len(rows) != 1 || rows[0].Differs() || rows[0].Values[0].Source != "default, flag" || len(rows[0].Values[0].Nodes) != 3 {
		t.Errorf("%+v", rows)
	}
}
