package api

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/julienschmidt/httprouter"

	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/listen"
	"github.com/millrace-mq/millrace/internal/program"
)

// option is a setting that can be changed while the daemon runs.
type option struct {
	get func() any
	set func(value []byte) (ok bool)
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
	if !o.set(u.body) {
		return nil, httpapi.BadRequest("INVALID_VALUE")
	}
	return o.get(), nil
}

func (a *api) lookupds() any {
	return append([]string{}, a.Lookupds.Addresses()...) // [] in JSON when there are none
}

func (a *api) setLookupds(value []byte) bool {
	var addresses []string
	if json.Unmarshal(value, &addresses) != nil {
		return false
	}
	for _, address := range addresses {
		if listen.CheckRemote(address) != nil {
			return false
		}
	}
	a.Lookupds.SetAddresses(addresses)
	a.Log.Info("lookupd addresses changed", "addresses", addresses)
	return true
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

func (a *api) setLogLevel(value []byte) bool {
	level, err := program.ParseLevel(string(value))
	if err == nil {
		a.LogLevel.Set(level)
	}
	return err == nil
}
