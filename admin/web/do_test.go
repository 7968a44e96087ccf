package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/signin"
)

// post sends a form in a role.
func post(u *UI, role signin.Role, at string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", at, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	u.ServeHTTP(w, r.WithContext(signin.NewContext(r.Context(), signin.Who{Name: "ada", Role: role})))
	return w
}

func TestFormBeginsAnAction(t *testing.T) {
	u := newUI(t, Settings{Base: "/mq"}, fleetOf(2, 3))
	w := post(u, signin.Operator, "/do/pause-channel", url.Values{
		"topic": {"orders.00001"}, "channel": {"billing"}, "reason": {"a deploy"}, "for": {"90m"}, "until": {""}, "nonsense": {"x"},
	})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/mq/audit/1" {
		t.Errorf("%d, Location %q", w.Code, w.Header().Get("Location"))
	}
	want := actions.Request{
		Action: "pause-channel", Targets: []actions.Target{{Topic: "orders.00001", Channel: "billing"}},
		Args: url.Values{"reason": {"a deploy"}, "for": {"90m"}}, URL: "/do/pause-channel",
	}
	if begun := u.Actions.(*doer).begun; len(begun) != 1 || !reflect.DeepEqual(begun[0], want) {
		t.Errorf("begun: %+v, want %+v", begun, want)
	}
}

// What cannot be undone is not done by a form alone, scripts or not: its name must have
// been typed.
func TestNameIsTyped(t *testing.T) {
	one := url.Values{"topic": {"orders.00001"}}
	two := url.Values{"topic": {"orders.00001", "orders.00002"}}
	node := url.Values{"node": {"queue-00.internal:4151"}}
	tests := []struct {
		action string
		form   url.Values
		typed  string
		begun  bool
	}{
		{"delete-topic", one, "", false},
		{"delete-topic", one, "orders.00002", false},
		{"delete-topic", one, "Orders.00001", false},
		{"delete-topic", one, " orders.00001 ", true},
		{"delete-topic", two, "orders.00001", false},
		{"delete-topic", two, "2", true},
		{"drain-node", node, "queue-00.internal:4151", true},
		{"drain-node", node, "queue-00", false},
		{"pause-topic", one, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.action+" "+tt.typed, func(t *testing.T) {
			u := newUI(t, Settings{}, fleetOf(2, 3))
			form := url.Values{"confirm": {tt.typed}}
			for k, v := range tt.form {
				form[k] = v
			}
			w := post(u, signin.Admin, "/do/"+tt.action, form)
			if begun := len(u.Actions.(*doer).begun) == 1; begun != tt.begun {
				t.Errorf("begun %v, want %v", begun, tt.begun)
			}
			if !tt.begun {
				if text := document(t, w.Body.String()); w.Code != http.StatusBadRequest || !strings.Contains(text, "Nothing has been done") {
					t.Errorf("%d: %.300s", w.Code, text)
				}
			}
		})
	}
}

// What is refused comes back with what was entered, and says all that is wrong.
func TestFormComesBack(t *testing.T) {
	u := newUI(t, Settings{}, fleetOf(2, 3))
	u.Actions.(*doer).refusal = &actions.Refused{Status: http.StatusUnprocessableEntity, Code: "INVALID_ARGUMENT", Sentence: "for is no duration\nuntil lies in the past"}
	w := post(u, signin.Operator, "/do/pause-topic", url.Values{"topic": {"orders.00001"}, "reason": {`a "deploy" </textarea>`}, "for": {"soon"}})
	page := w.Body.String()
	text := document(t, page)
	if w.Code != http.StatusUnprocessableEntity {
		t.Errorf("%d, want 422", w.Code)
	}
	for _, want := range []string{"for is no duration", "until lies in the past"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, want := range []string{`value="a &#34;deploy&#34; &lt;/textarea&gt;"`, `value="soon"`, `<input type="hidden" name="topic" value="orders.00001">`} {
		if !strings.Contains(page, want) {
			t.Errorf("the form has no %s", want)
		}
	}
	if strings.Contains(page, "data-events") || strings.Contains(page, "reason=") {
		t.Error("what was entered has become an address")
	}
}

func TestFormNeedsTheRole(t *testing.T) {
	tests := []struct {
		role   signin.Role
		action string
		code   int
	}{
		{signin.Viewer, "pause-topic", http.StatusForbidden},
		{signin.Operator, "pause-topic", http.StatusOK},
		{signin.Operator, "delete-topic", http.StatusForbidden},
		{signin.Admin, "delete-topic", http.StatusOK},
	}
	for _, tt := range tests {
		u := newUI(t, Settings{}, fleetOf(2, 3))
		if w := get(u, tt.role, "/do/"+tt.action+"?topic=orders.00001"); w.Code != tt.code {
			t.Errorf("GET %s as %s: %d, want %d", tt.action, tt.role, w.Code, tt.code)
		}
		w := post(u, tt.role, "/do/"+tt.action, url.Values{"topic": {"orders.00001"}, "confirm": {"orders.00001"}})
		if begun := len(u.Actions.(*doer).begun) == 1; begun != (tt.code == http.StatusOK) {
			t.Errorf("POST %s as %s: %d, begun %v", tt.action, tt.role, w.Code, begun)
		}
		if tt.code == http.StatusForbidden && w.Code != http.StatusForbidden {
			t.Errorf("POST %s as %s: %d", tt.action, tt.role, w.Code)
		}
	}
}

// A bulk choice is asked about first: its form does nothing yet, but shows what it would.
func TestBulkChoiceIsAskedAbout(t *testing.T) {
	u := newUI(t, Settings{}, fleetOf(2, 3))
	w := post(u, signin.Admin, "/do/delete-topic", url.Values{"ask": {"true"}, "topic": {"orders.00000", "orders.00002"}})
	text := document(t, w.Body.String())
	if w.Code != http.StatusOK || len(u.Actions.(*doer).begun) != 0 {
		t.Errorf("%d, begun %v", w.Code, u.Actions.(*doer).begun)
	}
	for _, want := range []string{"2 targets", "orders.00000", "orders.00002", "Type 2 to say that you mean it", "It is done on 2 nodes", "that cannot be undone"} {
		if !strings.Contains(text, want) {
			t.Errorf("the form does not say %q", want)
		}
	}
}

func TestTargetsOf(t *testing.T) {
	tests := []struct {
		query string
		want  []actions.Target
	}{
		{"", nil},
		{"topic=&channel=", nil},
		{"topic=a", []actions.Target{{Topic: "a"}}},
		{"topic=a&topic=b", []actions.Target{{Topic: "a"}, {Topic: "b"}}},
		{"topic=a&channel=c&channel=d", []actions.Target{{Topic: "a", Channel: "c"}, {Topic: "a", Channel: "d"}}},
		{"node=h:1&id=7", []actions.Target{{Node: "h:1", ID: "7"}}},
		{"topic=a&channel=c&pick=h:1/0a&pick=h:2/0b", []actions.Target{{Topic: "a", Channel: "c", Node: "h:1", ID: "0a"}, {Topic: "a", Channel: "c", Node: "h:2", ID: "0b"}}},
		{"topic=a&pick=nonsense", []actions.Target{{Topic: "a", ID: "nonsense"}}},
	}
	for _, tt := range tests {
		q, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		if got := targetsOf(q); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.query, got, tt.want)
		}
	}
	many := url.Values{"topic": make([]string, 1000), "channel": make([]string, 1000)}
	for i := range 1000 {
		many["topic"][i], many["channel"][i] = "t", "c"
	}
	if got := len(targetsOf(many)); got != maxFormTargets {
		t.Errorf("a million targets became %d", got)
	}
}

// Settings are shown as they are, so that who changes one does not reset the others.
func TestFormShowsSettingsAsTheyAre(t *testing.T) {
	s := fleetOf(1, 1)
	s.Topics[0].Nodes[0].Policy.MaxMessages = 5000
	s.Topics[0].Nodes[0].Policy.Overflow = "drop-oldest"
	page := get(newUI(t, Settings{}, s), signin.Admin, "/do/topic-policy?topic=orders.00000").Body.String()
	for _, want := range []string{`name="max_messages" value="5000"`, `<option value="drop-oldest" selected>`, `<option value="disk" selected>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the form has no %s", want)
		}
	}
}

// Browsers and people leave the zone out; all our times are in UTC.
func TestTimeWithoutAZoneIsUTC(t *testing.T) {
	a, _ := actions.Find("pause-topic")
	got := argsOf(a, url.Values{"until": {"2026-03-14T15:00"}})
	if got.Get("until") != "2026-03-14T15:00:00Z" {
		t.Errorf("until %q", got.Get("until"))
	}
}
