package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/qd/auth"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// rules returns an answer with the authorizations, each without its braces.
func rules(each ...string) string {
	return `{"ttl":60,"authorizations":[{` + strings.Join(each, `},{`) + `}]}`
}

func TestRights(t *testing.T) {
	const (
		both   = `"permissions":["publish","subscribe"]`
		toPub  = `"permissions":["publish"]`
		toSub  = `"permissions":["subscribe"]`
		anyCh  = `"channels":[".*"]`
		shipCh = `"channels":["^bill$","^ship$"]`
	)
	for _, c := range []struct {
		name, answer   string
		topic, channel string
		publish        bool
		subscribe      bool
	}{
		{"both", rules(`"topic":"^orders$",` + anyCh + `,` + both), "orders", "ship", true, true},
		{"another topic", rules(`"topic":"^orders$",` + anyCh + `,` + both), "orders2", "ship", false, false},
		{"not anchored", rules(`"topic":"orders",` + anyCh + `,` + both), "old-orders-2", "ship", true, true},
		{"publish only", rules(`"topic":"orders",` + anyCh + `,` + toPub), "orders", "ship", true, false},
		{"subscribe only", rules(`"topic":"orders",` + anyCh + `,` + toSub), "orders", "ship", false, true},
		{"no permissions", rules(`"topic":"orders",` + anyCh), "orders", "ship", false, false},
		{"one of the channels", rules(`"topic":"orders",` + shipCh + `,` + toSub), "orders", "ship", false, true},
		{"none of the channels", rules(`"topic":"orders",` + shipCh + `,` + toSub), "orders", "shipping", false, false},
		{"publish, whatever the channels", rules(`"topic":"orders",` + shipCh + `,` + both), "orders", "x", true, false},
		{"publish, without channels", rules(`"topic":"orders",` + both), "orders", "ship", true, false},
		{"the second rule", rules(`"topic":"a",`+anyCh+`,`+both, `"topic":"b",`+anyCh+`,`+both), "b", "ship", true, true},
		{"rules are not mixed", rules(`"topic":"a",`+anyCh+`,`+toSub, `"topic":"b",`+shipCh+`,`+toSub), "b", "x", false, false},
		{"an empty topic matches", rules(`"topic":"",` + anyCh + `,` + both), "orders", "ship", true, true},
		{"no rules", `{"ttl":60,"authorizations":[]}`, "orders", "ship", false, false},
		{"none named", `{"ttl":60}`, "orders", "ship", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := auth.Parse([]byte(c.answer), noon)
			if err != nil {
				t.Fatal(err)
			}
			if got := g.MayPublish(c.topic); got != c.publish {
				t.Errorf("MayPublish(%s) = %v", c.topic, got)
			}
			if got := g.MaySubscribe(c.topic, c.channel); got != c.subscribe {
				t.Errorf("MaySubscribe(%s, %s) = %v", c.topic, c.channel, got)
			}
		})
	}
}

func TestParse(t *testing.T) {
	many := strings.Repeat(`,{"topic":"^tenant-1234\\.","channels":[".*"],"permissions":["publish"]}`, 2000)
	if g, err := auth.Parse([]byte(`{"ttl":60,"authorizations":[`+many[1:]+`]}`), noon); err != nil || g.Permissions() != 2000 {
		t.Errorf("many authorizations: %v", err)
	}
	g, err := auth.Parse([]byte(`{"ttl":3600,"identity":"me","identity_url":"http://me","other":[{}],
		"authorizations":[{"topic":"a"},{"topic":"b","channels":null,"permissions":["publish"]}]}`), noon)
	if err != nil {
		t.Fatal(err)
	}
	if g.Identity != "me" || g.IdentityURL != "http://me" || g.Permissions() != 2 || !g.Expires.Equal(noon.Add(time.Hour)) {
		t.Errorf("got %q %q, %d permissions until %s", g.Identity, g.IdentityURL, g.Permissions(), g.Expires)
	}
	for ttl, want := range map[string]time.Duration{
		"1":                   time.Second,
		"31535999":            365*24*time.Hour - time.Second,
		"31536001":            365 * 24 * time.Hour,
		"9223372036":          365 * 24 * time.Hour, // the last to fit a Duration
		"9223372036854775807": 365 * 24 * time.Hour,
	} {
		g, err := auth.Parse([]byte(`{"ttl":`+ttl+`}`), noon)
		if err != nil || g.Expires.Sub(noon) != want {
			t.Errorf("ttl %s: %v, %v", ttl, g, err)
		}
	}
}

// TestParseRefuses has answers in which a secret stands that errors must not
// repeat.
func TestParseRefuses(t *testing.T) {
	const secret = "7357"
	for text, want := range map[string]string{
		``:                                       "the answer is not JSON from byte 0 on",
		`<html>7357</html>`:                      "the answer is not JSON from byte 1 on",
		`{"ttl":60} 7357`:                        "the answer is not JSON from byte 12 on",
		`{"ttl":60`:                              "the answer is not JSON from byte 9 on",
		`[7357]`:                                 "the answer must not be a JSON array",
		`"7357"`:                                 "the answer must not be a JSON string",
		`{}`:                                     "ttl is 0, must be positive",
		`null`:                                   "ttl is 0, must be positive",
		`{"ttl":0}`:                              "ttl is 0, must be positive",
		`{"ttl":-1}`:                             "ttl is -1, must be positive",
		`{"ttl":"7357"}`:                         "ttl must not be a JSON string",
		`{"ttl":1.7357}`:                         "ttl must not be a JSON number",
		`{"ttl":7357000000000000000000}`:         "ttl must not be a JSON number",
		`{"ttl":60,"authorizations":{"7357":1}}`: "authorizations must not be a JSON object",
		rules(`"channels":["a"]`):                "authorization 1 has no topic",
		rules(`"topic":"a"`, `"topic":null`):     "authorization 2 has no topic",
		rules(`"topic":"(7357"`):                 "authorization 1: topic: missing closing )",
		rules(`"topic":"a","channels":["b","[7357"]`):                                       "authorization 1: channel 2: missing closing ]",
		rules(`"topic":"a{1001}"`):                                                          "authorization 1: topic: invalid repeat count",
		rules(`"topic":"a","permissions":["publish","7357"]`):                               "authorization 1: permission 2 is neither publish nor subscribe",
		rules(`"topic":"a","permissions":["Publish"]`):                                      "authorization 1: permission 1 is neither publish nor subscribe",
		rules(`"topic":"a"`, `"topic":"b","permissions":[""]`):                              "authorization 2: permission 1 is neither publish nor subscribe",
		rules(`"topic":"a","permissions":"publish"`):                                        "authorizations.permissions must not be a JSON string",
		rules(`"topic":"a","channels":["a{999}"` + strings.Repeat(`,"a{999}"`, 9999) + `]`): "authorization 1: channel 100: the answer's expressions have more than 100000 steps",
		`{"ttl":60,"a":` + strings.Repeat("[", 20000) + `7357`:                              "the answer is not JSON from byte",
	} {
		g, err := auth.Parse([]byte(text), noon)
		if err == nil {
			t.Errorf("%.60s: accepted as %+v", text, g)
		} else if got := err.Error(); !strings.HasPrefix(got, want) || strings.Contains(got, secret) {
			t.Errorf("%.60s:\n got %s\nwant %s", text, got, want)
		}
	}
}

// FuzzParse looks for an answer that is neither refused nor sound.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"ttl":1}`), "t", "c")
	f.Add([]byte(rules(`"topic":".*","channels":["a|b"],"permissions":["publish","subscribe"]`)), "t", "a")
	f.Fuzz(func(t *testing.T, text []byte, topic, channel string) {
		g, err := auth.Parse(text, noon)
		if err != nil {
			return
		}
		if !g.Expires.After(noon) {
			t.Errorf("expires %s before it came", g.Expires)
		}
		if may := g.MayPublish(topic) || g.MaySubscribe(topic, channel); may && g.Permissions() == 0 {
			t.Error("something is allowed by nothing")
		}
	})
}
