package api

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/internal/httpapi"
)

const profiles = "/debug/pprof/"

func routeDebug(r *httpapi.Router) {
	r.Plain("GET", profiles+"*profile", profile)
	r.Plain("POST", profiles+"symbol", pprof.Symbol)
	r.Plain("PUT", "/debug/setblockrate", setBlockRate)
	r.Plain("POST", "/debug/freememory", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
}

// profile exists because pprof.Index does not know these four.
func profile(w http.ResponseWriter, r *http.Request) {
	switch strings.TrimPrefix(r.URL.Path, profiles) {
	case "cmdline":
		pprof.Cmdline(w, r)
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
}

// setBlockRate has every blocking event of that many nanoseconds on average
// recorded for /debug/pprof/block.
func setBlockRate(w http.ResponseWriter, r *http.Request) {
	rate, err := strconv.Atoi(r.URL.Query().Get("rate"))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, "invalid block rate : %v", err)
		return
	}
	runtime.SetBlockProfileRate(rate)
}
