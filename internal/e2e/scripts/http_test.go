package scripts

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// client asks daemons and servers on this machine. It keeps no connections: those it
// asks are killed.
var client = &http.Client{
	Timeout:       patience,
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// ask is the command http. An answer of 400 or above is a failure, which "! http" wants.
func ask(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: [!] http METHOD URL [body-file]")
	}
	body := ""
	if len(args) == 3 {
		body = ts.ReadFile(args[2])
	}
	url := args[1]
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	request, err := http.NewRequest(args[0], url, strings.NewReader(body))
	ts.Check(err)
	answer, err := client.Do(request)
	ts.Check(err)
	defer answer.Body.Close()
	_, err = io.Copy(ts.Stdout(), answer.Body)
	ts.Check(err)
	fmt.Fprintln(ts.Stderr(), answer.Status)
	_ = answer.Header.Write(ts.Stderr())
	if failed := answer.StatusCode >= 400; failed != neg {
		ts.Fatalf("%s %s: %s", args[0], url, answer.Status)
	}
}

// audit is the books at the end: a message that is neither finished nor named was lost
// sight of. Answers take their time, so it asks until they agree.
func audit(ts *testscript.TestScript, args []string) {
	at := ts.Getenv(variable(args[0], "HTTP"))
	if at == "" {
		ts.Fatalf("there is no qd %q", args[0])
	}
	expected := map[string]int{}
	for _, word := range args[1:] {
		place, count, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(count)
		if err != nil {
			ts.Fatalf("%q: must be TOPIC/CHANNEL=MESSAGES, or TOPIC=MESSAGES for what no channel has yet", word)
		}
		expected[place] = n
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // another process: it has no event for us
		wrong, err := unexplained(at, expected)
		if err == nil && len(wrong) == 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("after %v %s has unexplained messages: %v %s", patience, args[0], err, strings.Join(wrong, "; "))
		}
	}
}

// unexplained is what a qd has, and should not have.
func unexplained(at string, expected map[string]int) (wrong []string, err error) {
	var stats struct {
		Topics []struct {
			Name     string `json:"topic_name"`
			Depth    int    `json:"depth"`
			Channels []struct {
				Name     string `json:"channel_name"`
				Depth    int    `json:"depth"`
				InFlight int    `json:"in_flight_count"`
				Deferred int    `json:"deferred_count"`
			} `json:"channels"`
		} `json:"topics"`
	}
	answer, err := client.Get("http://" + at + "/stats?format=json&include_clients=false")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&stats); err != nil {
		return nil, err
	}
	has := map[string]int{}
	for _, t := range stats.Topics {
		has[t.Name] = t.Depth
		for _, c := range t.Channels {
			has[t.Name+"/"+c.Name] = c.Depth + c.InFlight + c.Deferred
		}
	}
	for place := range expected {
		if _, ok := has[place]; !ok {
			wrong = append(wrong, "there is no "+place)
		}
	}
	for place, n := range has {
		if n != expected[place] {
			wrong = append(wrong, fmt.Sprintf("%s has %d messages, want %d", place, n, expected[place]))
		}
	}
	slices.Sort(wrong)
	return wrong, nil
}
