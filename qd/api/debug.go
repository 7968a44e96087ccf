package api

import (
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/httpapi"
)

func routeDebug(r *httpapi.Router) {
	r.Profiles()
	r.Plain("PUT", "/debug/setblockrate", access.Manage, setBlockRate)
	r.Plain("POST", "/debug/freememory", access.Manage, func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
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
