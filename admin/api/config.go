package api

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/httpapi"
	"github.com/millrace-mq/millrace/internal/program"
)

// maxOption is most bytes of a setting's value.
const maxOption = 1 << 20

const (
	lookupdsKey = "nsqlookupd_http_addresses"
	levelKey    = "log_level"
)

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
	switch {
	case key == lookupdsKey:
		return append([]string{}, a.Cluster.Lookupds()...), nil
	case key == levelKey && a.LogLevel != nil:
		return program.LevelNumber(a.LogLevel.Level()), nil
	case a.Option != nil:
		if v, known := a.Option(key); known {
			return v, nil
		}
	}
	return nil, httpapi.BadRequest("INVALID_OPTION")
}

// setOption changes a setting while the admin runs.
func (a *api) setOption(r *http.Request, _ url.Values) (any, error) {
	if err := a.mayConfigure(r); err != nil {
		return nil, err
	}
	who := signin.FromContext(r.Context())
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
	if err := a.set(key, value); err != nil {
		return nil, err
	}
	number := a.Audit.Begin(audit.Entry{
		Who: who.Name, Role: who.Role.String(), How: who.How, From: who.Remote, UserAgent: who.UserAgent, Via: "api",
		Action: "configure", Detail: key + "=" + strings.TrimSpace(string(value)), URL: urlOf(r),
	})
	a.Audit.End(number)
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

func (a *api) set(key string, value []byte) error {
	switch {
	case key == lookupdsKey:
		var addresses []string
		if json.Unmarshal(value, &addresses) != nil {
			return httpapi.BadRequest("INVALID_VALUE")
		}
		if err := a.Cluster.SetLookupds(addresses); err != nil {
			return httpapi.BadRequest("INVALID_VALUE: " + err.Error())
		}
		return nil
	case key == levelKey && a.LogLevel != nil:
		level, err := program.ParseLevel(strings.TrimSpace(string(value)))
		if err != nil {
			return httpapi.BadRequest("INVALID_VALUE")
		}
		a.LogLevel.Set(level)
		return nil
	}
	return httpapi.BadRequest("INVALID_OPTION")
}
