package lookupd

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/julienschmidt/httprouter"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/program"
)

// maxValue is the most bytes of a setting's value.
const maxValue = 64 << 10

// settings are those of the daemon, as /config tells and changes them.
type settings interface {
	list() []program.Setting
	set(key string, value []byte) error
}

// routeConfig routes what is asked about settings, as at qd.
func (a *api) routeConfig(r *httpapi.Router) {
	if a.settings == nil {
		return
	}
	r.On("GET", "/config", access.Stats, a.config)
	r.On("GET", "/config/:option", access.Stats, a.option)
	r.On("PUT", "/config/:option", access.Manage, a.setOption)
	r.On("POST", "/config/reload", access.Manage, a.reloadSettings)
}

// config lists all settings as they are now.
func (a *api) config(*http.Request, url.Values) (any, error) {
	return map[string][]program.Setting{"settings": a.settings.list()}, nil
}

func optionKey(r *http.Request) string {
	return httprouter.ParamsFromContext(r.Context()).ByName("option")
}

func (a *api) option(r *http.Request, _ url.Values) (any, error) {
	key := optionKey(r)
	for _, s := range a.settings.list() {
		if s.Key == key {
			return s.Value, nil
		}
	}
	return nil, httpapi.BadRequest("INVALID_OPTION")
}

func (a *api) setOption(r *http.Request, q url.Values) (any, error) {
	value, err := io.ReadAll(io.LimitReader(r.Body, maxValue+1))
	if err != nil {
		return nil, httpapi.BadRequest("INVALID_VALUE")
	}
	if len(value) == 0 || len(value) > maxValue {
		return nil, &httpapi.Error{Status: http.StatusRequestEntityTooLarge, Code: "INVALID_VALUE"}
	}
	key := optionKey(r)
	before := a.textOf(key)
	if err := a.settings.set(key, value); err != nil {
		httpapi.Tell(r, key)
		return nil, httpapi.RefusedSetting(key, err)
	}
	httpapi.Tell(r, fmt.Sprintf("%s: %s -> %s", key, before, a.textOf(key)))
	a.log.Info("setting changed", "option", key)
	return a.option(r, q)
}

// textOf is a setting as a flag would be given it.
func (a *api) textOf(key string) string {
	for _, s := range a.settings.list() {
		if s.Key == key {
			return s.Text
		}
	}
	return ""
}

func (a *api) reloadSettings(r *http.Request, _ url.Values) (any, error) {
	found, err := a.reload()
	httpapi.Tell(r, audit.Reloaded(found))
	if err != nil {
		return nil, httpapi.NotReloaded(err)
	}
	return found, nil
}
