package api

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/julienschmidt/httprouter"

	"github.com/millrace-mq/millrace/internal/audit"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/qd/peers"
)

// Settings are the daemon's, as /config tells and changes them.
type Settings interface {
	// List is all of them, by key, as they are now.
	List() []program.Setting
	// Set changes one, to value as PUT /config gets it. Its errors are those of
	// program.Running's Set.
	Set(key string, value []byte) error
}

// option tells the setting that the request's path names by NSQ's key.
func (a *api) option(r *http.Request, _ url.Values) (any, error) { return a.optionNow(optionKey(r)) }

func (a *api) optionNow(key string) (any, error) {
	for _, s := range a.all() {
		if s.Key == key {
			return s.Value, nil
		}
	}
	return nil, httpapi.BadRequest("INVALID_OPTION")
}

// textOf is a setting as a flag would be given it.
func (a *api) textOf(key string) string {
	for _, s := range a.all() {
		if s.Key == key {
			return s.Text
		}
	}
	return ""
}

func optionKey(r *http.Request) string {
	return httprouter.ParamsFromContext(r.Context()).ByName("option")
}

// setOption checks the size of the value before it looks at the name, as nsqd
// does.
func (a *api) setOption(r *http.Request, _ url.Values) (any, error) {
	u := a.upload()
	defer u.release()
	if err := u.read(r, a.bounds().MaxMsgSize, "INVALID_VALUE"); err != nil {
		return nil, err
	}
	if len(u.body) == 0 {
		return nil, tooLarge("INVALID_VALUE")
	}
	if a.Settings == nil {
		return nil, httpapi.BadRequest("INVALID_OPTION")
	}
	key := optionKey(r)
	before := a.textOf(key)
	if err := a.Settings.Set(key, u.body); err != nil {
		httpapi.Tell(r, key)
		return nil, httpapi.RefusedSetting(key, err)
	}
	httpapi.Tell(r, fmt.Sprintf("%s: %s -> %s", key, before, a.textOf(key)))
	return a.optionNow(key)
}

func (a *api) all() []program.Setting {
	if a.Settings == nil {
		return []program.Setting{} // [] in JSON
	}
	return a.Settings.List()
}

// settings lists all settings as they are now.
func (a *api) settings(*http.Request, url.Values) (any, error) {
	return map[string][]program.Setting{"settings": a.all()}, nil
}

// reload reads the settings again. What is wrong with them is not the client's doing, but
// he can mend it: 409.
func (a *api) reload(r *http.Request, _ url.Values) (any, error) {
	found, err := a.Reload()
	httpapi.Tell(r, audit.Reloaded(found))
	if err != nil {
		return nil, httpapi.NotReloaded(err)
	}
	return found, nil
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
