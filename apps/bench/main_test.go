package main

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/apps/bench/null"
	"github.com/millrace-mq/millrace/internal/program"
)

func run(t *testing.T, args string) (status int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	status = itself().Run(t.Context(), strings.Fields(args), program.Stdio{Out: &o, Err: &e})
	return status, o.String(), e.String()
}

func TestCommandLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- null.Run(ctx, l, 200) }()
	defer func() {
		cancel()
		<-ended
	}()
	at := " --tcp-address " + l.Addr().String() + " --seconds 0.01 --messages 2000"

	if status, out, errs := run(t, "publish"+at); status != 0 || errs != "" || !strings.Contains(out, "| publish | null ") {
		t.Errorf("publish: %d, %q, %q", status, out, errs)
	}
	var answer struct {
		Rows []struct {
			Result struct {
				Messages int64
				Rate     float64
			}
		}
	}
	status, out, errs := run(t, "both --json --batch 10"+at)
	if err := json.Unmarshal([]byte(out), &answer); err != nil || status != 0 || len(answer.Rows) != 1 {
		t.Fatalf("both --json: %d, %q, %q: %v", status, out, errs, err)
	}
	if r := answer.Rows[0].Result; r.Messages <= 0 || r.Rate <= 0 {
		t.Errorf("both --json: %+v", r)
	}
	for args, want := range map[string]string{
		"publish --window 0 --size 3":                "bench publish: --size 3: must be 16 or more\nbench publish: --window 0: must be 1 or more",
		"drain --null --start x":                     "--null and --start both name the broker",
		"fanout --topics 3":                          "unknown flag --topics: bench fanout --help lists the flags",
		"all --rounds 0":                             "--rounds 0",
		"null --tcp-address " + l.Addr().String():    "opening the TCP port: ",
		"both --snappy --deflate 10":                 "bench both: --deflate 10: must be 1 to 9, or 0 for none\nbench both: --snappy and --deflate both name a compression",
		"single --null --deflate 1":                  "the null broker has neither TLS nor compression",
		"layers --rounds 0":                          "--rounds 0",
		"layers --deflate 1":                         "unknown flag --deflate",
		"http --tls":                                 "unknown flag --tls",
		"latency --tcp-address " + l.Addr().String(): "what the null broker does not do",
		"registry --daemons 1 --channels -1":         "bench registry: --daemons 1: must be 2 or more\nbench registry: --channels -1: must be 0 or more",
		"registry --producers 9 --daemons 9":         "--producers 9: must be less than the 9 --daemons",
		"registry --daemons 20000":                   "--daemons 20000, --conns 64: need 20128 open files, of which there may be ",
		"registry --zipf 1":                          "--zipf 1: must be above 1 and at most 10, or 0",
		"registry --churn 101":                       "--churn 101: must be above 0 and at most 100",
		"registry --churn NaN --seconds NaN":         "--churn NaN: must be above 0 and at most 100\nbench registry: --seconds NaN: must be above 0 and at most 3600",
		"registry --cycle 0s --stall 0s":             "--cycle 0s: must be positive\nbench registry: --stall 0s: must be positive",
		"registry --topics 16777217":                 "--topics 16777217: must be 16777216 or less",
		"registry --grow":                            "--grow: needs --start, for each cluster has a lookupd of its own",
		"clients --rounds 0 --size 7":                "bench clients: --rounds 0: must be 1 or more\nbench clients: --size 7: must be 8 or more",
		"clients --seconds NaN":                      "--seconds NaN: must be above 0 and at most 3600",
		"registry --size 100":                        "unknown flag --size",
		"idle --nsqd-tcp-address 127.0.0.1:1":        "connecting to the broker",
		"single --start /no/such/program":            "starting the broker",
	} {
		status, out, errs := run(t, args)
		if status != 1 || out != "" || !strings.Contains(errs, want) || strings.Count(errs, "\n") != strings.Count(want, "\n")+1 {
			t.Errorf("%s: %d, %q, %q, want %q", args, status, out, errs, want)
		}
	}
}

func TestEveryWorkloadIsExplained(t *testing.T) {
	for _, c := range commands() {
		status, out, _ := run(t, c.Name+" --help")
		if status != 0 || c.Synopsis == "" || !strings.Contains(out, "--") {
			t.Errorf("%s --help: %d, %q", c.Name, status, out)
		}
	}
}
