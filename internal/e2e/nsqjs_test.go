package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// nodeModules names the folder that npm has installed nsqjs to.
const nodeModules = "MILLRACE_NODE_MODULES"

// nsqjsLimit is for all scenarios, which take some seconds.
const nsqjsLimit = 3 * time.Minute

// counted are the lines of a test report in which Node.js says how it went.
var counted = regexp.MustCompile(`(?m)^# (pass|fail|cancelled|skipped|todo) (\d+)$`)

// What nsqjs, NSQ's client for Node.js, can do. The scenarios are its programs,
// in nsqjs/scenarios.js; here is what they run against.
func TestNsqjs(t *testing.T) {
	modules := os.Getenv(nodeModules)
	if modules == "" {
		t.Skip("skipped: nsqjs is not installed; make nsqjs does that")
	}
	ca := newAuthority(t)
	server, client := ca.issue("qd"), ca.issue("client")
	type addresses struct {
		TCP  string `json:"tcp"`
		HTTP string `json:"http"`
	}
	l := newLookup(t)
	lookupd := l.start(t)
	house := struct {
		Open    addresses `json:"open"`
		Second  addresses `json:"second"`
		Strict  addresses `json:"strict"`
		Lookupd string    `json:"lookupd"`
		CA      string    `json:"ca"`
		Cert    string    `json:"cert"`
		Key     string    `json:"key"`
	}{Lookupd: l.http, CA: ca.file, Cert: client.cert, Key: client.key}
	var daemons []*process
	run := func(at *addresses, flags ...string) {
		d := newDaemon(t, append(flags, "--lookupd-tcp-address="+l.tcp)...)
		daemons = append(daemons, d.start(t))
		*at = addresses{d.tcp, d.http}
	}
	run(&house.Open, "--tls-cert="+server.cert, "--tls-key="+server.key, "--https-address=")
	run(&house.Second)
	auth := httptest.NewServer(http.HandlerFunc(authorize))
	t.Cleanup(auth.Close)
	run(&house.Strict, "--tls-cert="+server.cert, "--tls-key="+server.key, "--https-address=", "--tls-root-ca-file="+ca.file,
		"--tls-client-auth-policy=require-verify", "--tls-required=tcp-https", "--auth-http-address="+auth.Listener.Addr().String())

	where, err := json.Marshal(house)
	if err != nil {
		t.Fatal(err)
	}
	report, err := runScenarios(t, append(os.Environ(), "NODE_PATH="+modules, "MILLRACE_HOUSE="+string(where)))
	counts := map[string]int{}
	for _, m := range counted.FindAllStringSubmatch(report, -1) {
		counts[m[1]], _ = strconv.Atoi(m[2])
	}
	if err != nil || counts["pass"] == 0 || counts["fail"]+counts["cancelled"]+counts["skipped"]+counts["todo"] > 0 {
		t.Fatalf("nsqjs: %v of the scenarios: %v\n%s", counts, err, report)
	}
	t.Logf("nsqjs: %d scenarios passed", counts["pass"])
	for _, p := range append(daemons, lookupd) {
		p.stop(os.Interrupt) // what is left is not waited for
	}
}

// authorize is an auth server. It lets those who know the secret use topics
// whose names begin with strict.
func authorize(w http.ResponseWriter, r *http.Request) {
	type authorization struct {
		Topic       string   `json:"topic"`
		Channels    []string `json:"channels"`
		Permissions []string `json:"permissions"`
	}
	answer := struct {
		TTL            int             `json:"ttl"`
		Identity       string          `json:"identity"`
		Authorizations []authorization `json:"authorizations"`
	}{TTL: 60, Identity: "Ali Baba"}
	switch r.FormValue("secret") {
	case "open sesame":
		answer.Authorizations = []authorization{{"^strict", []string{".*"}, []string{"publish", "subscribe"}}}
	case "break":
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(answer) // the daemon may have gone
}

func runScenarios(t *testing.T, env []string) (report string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), nsqjsLimit)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "--test-reporter=tap", "nsqjs/scenarios.js")
	node.Env = env
	node.WaitDelay = time.Second
	out, err := node.CombinedOutput()
	return string(out), err
}
