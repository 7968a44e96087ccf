package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/julienschmidt/httprouter"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/qd/peers"
)

// option is a setting that can be changed while the daemon runs.
type option struct {
	get func() any
	set func(value []byte) error // nil, or what the answer is
}

// changeable returns the option with NSQ's key, if it is one.
func (a *api) changeable(key string) (o option, ok bool) {
	switch key {
	case "nsqlookupd_tcp_addresses":
		return option{a.lookupds, a.setLookupds}, a.Lookupds != nil
	case "log_level":
		return option{a.logLevel, a.setLogLevel}, a.LogLevel != nil
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
	o, ok := a.changeable(optionKey(r))
	if !ok {
		return nil, httpapi.BadRequest("INVALID_OPTION")
	}
	if err := o.set(u.body); err != nil {
		return nil, err
	}
	return o.get(), nil
}

func (a *api) lookupds() any {
	return append([]string{}, a.Lookupds.Addresses()...) // [] in JSON when there are none
}

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

// logLevel is NSQ's number for the level, from 1.
func (a *api) logLevel() any {
	for i, l := range program.Levels {
		if a.LogLevel.Level() <= l.Level {
			return i + 1
		}
	}
	return len(program.Levels)
}

func (a *api) setLogLevel(value []byte) error {
	level, err := program.ParseLevel(string(value))
	if err != nil {
		return httpapi.BadRequest("INVALID_VALUE")
	}
	a.LogLevel.Set(level)
	return nil
}
