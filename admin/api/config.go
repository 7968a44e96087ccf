package api

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/httpapi"
)

// maxOption is most bytes of a setting's value.
const maxOption = 1 << 20

// mayConfigure refuses who does not come from where settings may be asked for. That a
// proxy stands in between does not help: its own address counts.
func (a *api) mayConfigure(r *http.Request) error {
	if a.ConfigFrom == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return httpapi.BadRequest("INVALID_REMOTE_ADDR")
	}
	from, err := netip.ParseAddr(host)
	if err != nil {
		return httpapi.BadRequest("INVALID_REMOTE_ADDR")
	}
	network, err := netip.ParsePrefix(a.ConfigFrom)
	if one, alone := netip.ParseAddr(a.ConfigFrom); alone == nil {
		network, err = one.Prefix(one.BitLen())
	}
	if err != nil || !network.Masked().Contains(from.Unmap().WithZone("")) {
		return &httpapi.Error{Status: http.StatusForbidden, Code: "FORBIDDEN"}
	}
	return nil
}

// option tells a setting by its key.
func (a *api) option(r *http.Request, _ url.Values) (any, error) {
	if err := a.mayConfigure(r); err != nil {
		return nil, err
	}
	if err := mayLook(r); err != nil {
		return nil, err
	}
	return a.optionNow(param(r, "option"))
}

func (a *api) optionNow(key string) (any, error) {
	if a.Own != nil {
		for _, s := range a.Own() {
			if s.Key == key {
				return s.Value, nil
			}
		}
	}
	return nil, httpapi.BadRequest("INVALID_OPTION")
}

// setOption changes a setting while the admin runs.
func (a *api) setOption(r *http.Request, _ url.Values) (any, error) {
	if err := a.mayConfigure(r); err != nil {
		return nil, err
	}
	if err := a.maySet(r); err != nil {
		a.refused(r, "configure", err)
		return nil, err
	}
	value, err := io.ReadAll(io.LimitReader(r.Body, maxOption+1))
	if err != nil {
		return nil, httpapi.BadRequest("INVALID_VALUE")
	}
	if len(value) == 0 || len(value) > maxOption {
		return nil, &httpapi.Error{Status: http.StatusRequestEntityTooLarge, Code: "INVALID_VALUE"}
	}
	key := param(r, "option")
	if err := a.changeSetting(key, value); err != nil {
		return nil, err
	}
	a.tell(r, "configure", key+"="+strings.TrimSpace(string(value)))
	a.Source.Poke()
	return a.optionNow(key)
}

func (a *api) maySet(r *http.Request) error {
	switch role := signin.FromContext(r.Context()).Role; {
	case role == signin.Nobody:
		return mayLook(r)
	case role < signin.Admin:
		return &httpapi.Error{Status: http.StatusForbidden, Code: "FORBIDDEN"}
	case a.ReadOnly:
		return httpapi.Errorf(http.StatusForbidden, "READ_ONLY: this admin only shows: nothing can be changed with it")
	}
	return nil
}

// changeSetting changes a setting, if there are any.
func (a *api) changeSetting(key string, value []byte) error {
	if a.Set == nil {
		return httpapi.BadRequest("INVALID_OPTION")
	}
	if err := a.Set(key, value); err != nil {
		return httpapi.RefusedSetting(key, err)
	}
	return nil
}

// reloadSettings reads all settings again.
func (a *api) reloadSettings(r *http.Request, _ url.Values) (any, error) {
	if err := a.mayConfigure(r); err != nil {
		return nil, err
	}
	if err := a.maySet(r); err != nil {
		a.refused(r, "reload", err)
		return nil, err
	}
	found, err := a.Reload()
	if err != nil {
		err = httpapi.NotReloaded(err)
		a.refused(r, "reload", err)
		return nil, err
	}
	keys := make([]string, len(found.Changed))
	for i, d := range found.Changed {
		keys[i] = d.Key
	}
	a.tell(r, "reload", strings.Join(keys, ","))
	a.Source.Poke()
	return found, nil
}

// tell writes down what somebody has done to the admin itself.
func (a *api) tell(r *http.Request, action, detail string) {
	who := signin.FromContext(r.Context())
	a.Audit.End(a.Audit.Begin(audit.Entry{
		Who: who.Name, Role: who.Role.String(), How: who.How, From: who.Remote, UserAgent: who.UserAgent, Via: "api",
		Action: action, Detail: detail, URL: urlOf(r),
	}))
}
