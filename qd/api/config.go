package api

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/julienschmidt/httprouter"
)

// option is a setting that can be read and changed while the daemon runs.
type option struct {
	get func() any
	set func(value []byte) (ok bool)
}

// findOption returns the option that a request's path names, by NSQ's key.
func (a *api) findOption(r *http.Request) (o option, ok bool) {
	switch httprouter.ParamsFromContext(r.Context()).ByName("option") {
	case "nsqlookupd_tcp_addresses":
		return option{a.lookupds, a.setLookupds}, a.Lookupds != nil
	case "log_level":
		return option{a.logLevel, a.setLogLevel}, a.LogLevel != nil
	}
	return o, false
}

func (a *api) option(r *http.Request, _ url.Values) (any, error) {
	o, ok := a.findOption(r)
	if !ok {
		return nil, badRequest("INVALID_OPTION")
	}
	return o.get(), nil
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
	o, ok := a.findOption(r)
	if !ok {
		return nil, badRequest("INVALID_OPTION")
	}
	if !o.set(u.body) {
		return nil, badRequest("INVALID_VALUE")
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
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			return false
		}
	}
	a.Lookupds.SetAddresses(addresses)
	a.Log.Info("lookupd addresses changed", "addresses", addresses)
	return true
}

// logLevels are the levels in NSQ's order, whose numbers begin with 1.
var logLevels = []struct {
	name  string
	level slog.Level
}{
	{"debug", slog.LevelDebug},
	{"info", slog.LevelInfo},
	{"warn", slog.LevelWarn},
	{"error", slog.LevelError},
	{"fatal", slog.LevelError + 4}, // beyond all that is logged
}

func (a *api) logLevel() any {
	for i, l := range logLevels {
		if a.LogLevel.Level() <= l.level {
			return i + 1
		}
	}
	return len(logLevels)
}

func (a *api) setLogLevel(value []byte) bool {
	name := strings.ToLower(string(value))
	for _, l := range logLevels {
		if l.name == name {
			a.LogLevel.Set(l.level)
			return true
		}
	}
	return false
}
