package admin

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/millrace-mq/millrace/admin/api"
	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/guard"
	"github.com/millrace-mq/millrace/admin/messages"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/admin/web"
	"github.com/millrace-mq/millrace/internal/program"
	"github.com/millrace-mq/millrace/internal/secure"
)

// publishBytes bounds the form that publishes a message: its body, escaped.
const publishBytes = 8 << 20

// faces puts together what answers requests: the guard before all, then who somebody
// is, then pages or the API.
type faces struct {
	*Daemon
	ui *web.UI
}

func (f *faces) handler() (http.Handler, error) {
	s := f.now()
	base, err := s.base()
	if err != nil {
		return nil, err
	}
	people := s.whoComes(base)
	people.Refuse, people.Signed, people.Access = f.refuse, f.signed, f.access
	who, err := signin.New(people, f.log)
	if err != nil {
		return nil, err
	}
	if err := f.open(who); err != nil {
		return nil, err
	}
	g, err := guard.New(guard.Settings{Base: base, Open: !who.Configured(), Bodies: map[string]int64{"/do/publish": publishBytes, "/api/actions": publishBytes}, Refuse: f.refuse}, f.log)
	if err != nil {
		return nil, err
	}
	see, _ := signin.ParseRole(s.Bodies) // Validate has looked at it
	reader := messages.New(see, f.cluster, f.sampler.Latest)
	own := func() []program.Setting {
		return f.running.List(func(s *Settings) { s.LogLevel = program.LevelName(s.LogLevel, f.level) })
	}
	f.ui = web.New(f.pages(base, who), web.Parts{
		Source: f.sampler, History: f.past.store, Actions: f.actions, Messages: reader, Daemons: f.cluster, Audit: f.audit,
		Own: own, Ways: who.Ways, Who: who.Who, Stopping: f.stopping,
	}, f.log)
	scripts := api.New(api.Settings{
		Source: f.sampler, Cluster: f.cluster, History: f.past.store, Messages: reader, Actions: f.actions, Audit: f.audit,
		ClusterName: s.ClusterName, Environment: s.Environment, Own: own, Set: f.running.Set, Reload: f.Reload, ReadOnly: s.ReadOnly,
		ConfigFrom: s.ConfigFrom, Log: f.log,
	})
	mux := http.NewServeMux()
	mux.Handle("/", f.ui)
	// With and without a slash: ServeMux would redirect, and knows nothing of the base path.
	for _, path := range []string{"/api", "/api/", "/config", "/config/", "/ping"} {
		mux.Handle(path, scripts)
	}
	mux.HandleFunc("POST /sign-in", who.SignIn)
	mux.HandleFunc("POST /sign-out", who.SignOut)
	mux.HandleFunc("GET /oidc/begin", who.BeginOIDC)
	mux.HandleFunc("GET /oidc/callback", who.EndOIDC)
	return g.Wrap(who.Wrap(mux)), nil
}

// pages is what the pages know of where they are served.
func (f *faces) pages(base string, who *signin.Signin) web.Settings {
	s := f.now()
	return web.Settings{
		Base: strings.TrimSuffix(base, "/"), ClusterName: s.ClusterName, Environment: s.Environment, ReadOnly: s.ReadOnly,
		SignIn: who.Configured(), Version: program.Version,
	}
}

// refuse shows why somebody gets no further, as a page once there are pages.
func (f *faces) refuse(w http.ResponseWriter, r *http.Request, status int, what, why string) {
	if f.ui == nil {
		http.Error(w, what+": "+why, status)
		return
	}
	f.ui.Refuse(w, r, status, what, why)
}

// signed writes down who has signed in or out, or could not.
func (f *faces) signed(who signin.Who, action, refused string) {
	n := f.audit.Begin(audit.Entry{
		Who: who.Name, Role: who.Role.String(), How: who.How, From: who.Remote, UserAgent: who.UserAgent, Via: "page", Action: action, Refused: refused,
	})
	f.audit.End(n)
}

// clientTLS is how daemons that use TLS are asked.
func (s *Settings) clientTLS(log *slog.Logger) (func(server string) *tls.Config, error) {
	config, err := secure.Client(s.Client, log)
	if err != nil {
		return nil, fmt.Errorf("asking daemons: %w", err)
	}
	return config, nil
}
