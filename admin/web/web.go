// Package web is the admin UI as pages: HTML made on the server from the newest
// snapshot, which costs the daemons nothing, and sent again over server-sent events
// when it has changed. Everything reads without JavaScript, and forms are forms.
//
// A page is a line in routes.go, a file with what it shows, and a template:
//
//   - its path, such as "/topics/{topic}"; v.Param("topic") is the unescaped part;
//   - show(u, v) returns what the template gets. It sets v.Title and, if they fit,
//     v.Crumbs and v.API (the path of the same data for "copy as curl"). Embed *view in
//     the returned struct, and the template has .Can, .Self, .Snapshot, .Now and the rest.
//     An error made by notFound or forbidden is shown as a page of that status;
//   - templates/NAME.html has {{define "main"}}…{{end}}: what is inside <main>. Nothing
//     in it may depend on more than the URL, the viewer's role and the snapshot, for
//     viewers of one role share what was rendered.
//
// What a page needs beyond the snapshot is an interface declared here, next to the
// page, and a field of Parts. URLs are made by the template function url, which
// escapes each part and knows the base path; numbers, rates, ages and sizes by num,
// rate, age, dur and bytes; icons by icon. There is no style attribute and no script
// in a page: Content-Security-Policy refuses both.
package web

import (
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/program"
)

// Settings are what the pages know of where they are served.
type Settings struct {
	Base        string // path below which everything lies, such as "/mq"; empty for "/"
	ClusterName string // in the header; empty: none
	Environment string // a badge in the header; "production" is red; empty: none
	ReadOnly    bool   // nothing may be changed, whoever asks
	SignIn      bool   // users are configured: there is somebody to sign in and out
	Version     string
}

// Parts are what the pages are made of. Source must be there; without another one,
// what it would show is left out.
type Parts struct {
	Source   Source
	History  History
	Actions  Actions
	Messages Messages
	Daemons  Daemons
	Audit    AuditLog
	Ways     func() signin.Ways             // to sign in, as they are now
	Who      func(*http.Request) signin.Who // who sends a request that still goes on, as of now
	Own      func() []program.Setting       // the admin's own settings
	Stopping <-chan struct{}                // closed when the server is to stop: it does not wait for streams; may be nil
}

// UI serves the pages below Settings.Base, which whoever is in front of it has cut
// off. It is safe for concurrent use.
type UI struct {
	Settings
	Parts
	log    *slog.Logger
	assets *assets
	pages  []page
	shared *template.Template
	mux    *http.ServeMux
	now    func() time.Time

	viewers atomic.Int64 // streams of events under way
	renders renders
	asked   asked
}

// New makes the pages. It panics if a template does not parse, which tests find.
func New(s Settings, p Parts, log *slog.Logger) *UI {
	s.Base = strings.TrimRight(s.Base, "/")
	u := &UI{Settings: s, Parts: p, log: log, assets: embedded(), mux: http.NewServeMux(), now: time.Now}
	u.pages = u.parsePages(routes())
	u.mux.HandleFunc("GET /static/{version}/{file...}", u.assets.serve)
	u.mux.HandleFunc("GET /events", u.events)
	u.mux.HandleFunc("GET /find", u.find)
	u.mux.HandleFunc("POST /do/{action}", u.begin)
	u.mux.HandleFunc("POST /theme", u.setTheme)
	u.mux.HandleFunc("GET /topics/{topic}/messages/{id}/raw", u.raw)
	u.mux.HandleFunc("/", u.servePage)
	return u
}

// ServeHTTP answers a request for a page or what belongs to it.
func (u *UI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// ServeMux would redirect to the cleaned path, and knows nothing of Base.
	if p := r.URL.Path; p == "" || p[0] != '/' || p != "/" && path.Clean(p) != strings.TrimSuffix(p, "/") {
		u.fail(w, r, notFound("There is no page at this address."))
		return
	}
	u.mux.ServeHTTP(w, r)
}
