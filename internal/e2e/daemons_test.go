package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// address returns a loopback address that nobody listens on, another one each time.
func address(t *testing.T) string {
	t.Helper()
	a, err := testenv.Address()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A lookup is where a lookupd listens, whether it runs or not.
type lookup struct {
	tcp, http string
}

func newLookup(t *testing.T) lookup { return lookup{address(t), address(t)} }

// start starts the lookupd and waits until it answers.
func (l lookup) start(t *testing.T) *process {
	t.Helper()
	p := start(t, nil, "lookupd", "--tcp-address="+l.tcp, "--http-address="+l.http)
	answering(t, p, l.http)
	return p
}

// lists tells whether the lookupd names a producer of topic.
func (l lookup) lists(topic string) bool {
	var answer struct {
		Producers []json.RawMessage `json:"producers"`
	}
	status, err := getJSON("http://"+l.http+"/lookup?topic="+topic, &answer)
	return err == nil && status == http.StatusOK && len(answer.Producers) > 0
}

// A daemon is a qd's addresses and data folder, whether it runs or not.
type daemon struct {
	tcp, http, data string
	flags           []string
}

func newDaemon(t *testing.T, flags ...string) daemon {
	return daemon{address(t), address(t), t.TempDir(), flags}
}

func (d daemon) args() []string {
	return append([]string{
		"--tcp-address=" + d.tcp, "--http-address=" + d.http,
		"--broadcast-address=127.0.0.1", "--data-path=" + d.data,
	}, d.flags...)
}

// start starts the qd and waits until it answers.
func (d daemon) start(t *testing.T) *process {
	t.Helper()
	p := start(t, nil, "qd", d.args()...)
	answering(t, p, d.http)
	return p
}

// post sends body and wants 200.
func (d daemon) post(t *testing.T, path, body string) {
	t.Helper()
	post(t, d.http, path, body)
}

func post(t *testing.T, address, path, body string) {
	t.Helper()
	r, err := http.Post("http://"+address+path, "", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if answer, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s %s", path, r.Status, answer)
	}
}

// channelStats is what /stats says of one channel, as far as the tests ask.
type channelStats struct {
	Name     string `json:"channel_name"`
	Depth    int    `json:"depth"`
	InFlight int    `json:"in_flight_count"`
	Deferred int    `json:"deferred_count"`
	Messages int    `json:"message_count"`
}

// stats returns the channels of topic by name, and how many messages were
// published to the topic since the daemon started. All is zero while it
// cannot be asked.
func (d daemon) stats(topic string) (published int, channels map[string]channelStats) {
	var answer struct {
		Topics []struct {
			Name     string         `json:"topic_name"`
			Messages int            `json:"message_count"`
			Channels []channelStats `json:"channels"`
		} `json:"topics"`
	}
	channels = map[string]channelStats{}
	if _, err := getJSON("http://"+d.http+"/stats?format=json&topic="+topic, &answer); err != nil {
		return 0, channels
	}
	for _, t := range answer.Topics {
		for _, c := range t.Channels {
			channels[c.Name] = c
		}
		published += t.Messages
	}
	return published, channels
}

// drained tells whether the named channels hold nothing at all.
func (d daemon) drained(topic string, names ...string) bool {
	_, channels := d.stats(topic)
	for _, name := range names {
		c, ok := channels[name]
		if !ok || c.Depth+c.InFlight+c.Deferred > 0 {
			return false
		}
	}
	return true
}

// client gives up on a daemon that accepts and says nothing.
var client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func getJSON(url string, into any) (status int, err error) {
	r, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	return r.StatusCode, json.NewDecoder(r.Body).Decode(into)
}

// answering waits until p answers pings on address, and fails if p ends.
func answering(t *testing.T, p *process, address string) {
	t.Helper()
	eventually(t, p.name+" to answer on "+address, func() bool {
		if !p.running() {
			t.Fatalf("%s ended with status %d instead of answering on %s", p.name, p.status(), address)
		}
		r, err := client.Get("http://" + address + "/ping")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// files returns what matches pattern in dir, sorted by name.
func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// content returns the files' bytes, one after the other.
func content(t *testing.T, names []string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range names {
		c, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(c)
	}
	return b.String()
}
