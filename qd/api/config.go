package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/julienschmidt/httprouter"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/qd/peers"
)

// option is a setting that can be changed while the daemon runs.
type option struct {
	get  func() any
	text func() string            // as a flag would be given it
	set  func(value []byte) error // nil, or what the answer is
}

// changeable returns the option with NSQ's key, if it is one.
func (a *api) changeable(key string) (o option, ok bool) {
	switch key {
	case "nsqlookupd_tcp_addresses":
		return option{a.lookupds, a.lookupdList, a.setLookupds}, a.Lookupds != nil
	case "log_level":
		return option{a.logLevel, a.logLevelName, a.setLogLevel}, a.LogLevel != nil
	}
	return o, false
}

// option tells the setting that the request's path names by NSQ's key.
func (a *api) option(r *http.Request, _ url.Values) (any, error) {
	key := optionKey(r)
	if o, ok := a.changeable(key); ok {
		return o.get(), nil
	}
	if a.Option != nil {
		if value, known := a.Option(key); known {
			return value, nil
		}
	}
	return nil, httpapi.BadRequest("INVALID_OPTION")
}

func optionKey(r *http.Request) string {
	return httprouter.ParamsFromContext(r.Context()).ByName("option")
}

// setOption checks the size of the value before it looks at the name, as nsqd
// does.
func (a *api) setOption(r *http.Request, _ url.Values) (any, error) {
	u := a.upload()
	defer u.release()
	if err := u.read(r, a.MaxMsgSize, "INVALID_VALUE"); err != nil {
		return nil, err
	}
	if len(u.body) == 0 {
		return nil, tooLarge("INVALID_VALUE")
	}
	key := optionKey(r)
	o, ok := a.changeable(key)
	if !ok {
		return nil, httpapi.BadRequest("INVALID_OPTION")
	}
	if err := o.set(u.body); err != nil {
		return nil, err
	}
	a.changed.Store(key, true)
	return o.get(), nil
}

// settings lists all settings, those that can be changed as they are now.
func (a *api) settings(*http.Request, url.Values) (any, error) {
	all := append([]program.Setting{}, a.Settings...) // [] in JSON when there are none
	for i := range all {
		s := &all[i]
		if o, ok := a.changeable(s.Key); ok {
			s.Value = o.get()
			s.Text = o.text()
		}
		if _, ok := a.changed.Load(s.Key); ok {
			s.Source = program.AtRuntime
		}
	}
	return struct {
		Settings []program.Setting `json:"settings"`
	}{all}, nil
}

func (a *api) lookupds() any {
	return append([]string{}, a.Lookupds.Addresses()...) // [] in JSON when there are none
}

func (a *api) lookupdList() string { return strings.Join(a.Lookupds.Addresses(), ",") }

// maxLookupds is how many lookupds there may be: each has a connection and a
// goroutine.
const maxLookupds = 256

func (a *api) setLookupds(value []byte) error {
	var addresses []string
	if json.Unmarshal(value, &addresses) != nil {
		return httpapi.BadRequest("INVALID_VALUE")
	}
	if len(addresses) > maxLookupds {
		return httpapi.BadRequest(fmt.Sprintf("INVALID_VALUE: there must be no more than %d lookupds", maxLookupds))
	}
	for _, address := range addresses {
		if err := listen.CheckRemote(address); err != nil {
			return httpapi.BadRequest(fmt.Sprintf("INVALID_VALUE: %v", err))
		}
	}
	a.Lookupds.SetAddresses(addresses)
	a.Log.Info("lookupd addresses changed", "addresses", addresses)
	return nil
}

// links tells how the daemon stands with each lookupd.
func (a *api) links(*http.Request, url.Values) (any, error) {
	type link struct {
		peers.Link
		Since int64 `json:"since"`
	}
	links := []link{} // [] in JSON when there are none
	if a.Lookupds != nil {
		for _, l := range a.Lookupds.Links() {
			shown := link{Link: l}
			if !l.Since.IsZero() {
				shown.Since = l.Since.UnixNano()
			}
			links = append(links, shown)
		}
	}
	return map[string][]link{"lookupds": links}, nil
}

func (a *api) logLevel() any { return program.LevelNumber(a.LogLevel.Level()) }

func (a *api) logLevelName() string {
	return program.Levels[program.LevelNumber(a.LogLevel.Level())-1].Name
}

func (a *api) setLogLevel(value []byte) error {
	level, err := program.ParseLevel(string(value))
	if err != nil {
		return httpapi.BadRequest("INVALID_VALUE")
	}
	a.LogLevel.Set(level)
	return nil
}
