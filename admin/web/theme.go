package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// themeCookie remembers the choice of a browser. The server reads it, so a page is
// never drawn in one theme and then in the other.
const themeCookie = "millrace_theme"

// theme is dark, light, or empty for what the system has.
func theme(r *http.Request) string {
	c, err := r.Cookie(themeCookie)
	if err != nil || c.Value != "dark" && c.Value != "light" {
		return ""
	}
	return c.Value
}

// setTheme is the switch for browsers without JavaScript, and tells the others' next page.
func (u *UI) setTheme(w http.ResponseWriter, r *http.Request) {
	// #nosec G124 -- HttpOnly and SameSite are set, and Secure where the browser came by TLS
	c := &http.Cookie{
		Name: themeCookie, Value: r.PostFormValue("theme"), Path: u.Base + "/",
		MaxAge: int((365 * 24 * time.Hour).Seconds()), HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
	}
	if c.Value != "dark" && c.Value != "light" {
		c.Value, c.MaxAge = "", -1
	}
	http.SetCookie(w, c)
	// #nosec G710 -- only to a path below ours: see back
	http.Redirect(w, r, u.Base+back(r.PostFormValue("back")), http.StatusSeeOther)
}

// back is a path and query of ours, or the first page if it is anything else: a form
// must not send anybody to another host, nor out of the base path.
func back(to string) string {
	t, err := url.Parse(to)
	if err != nil || t.Scheme != "" || t.Host != "" || t.User != nil || !strings.HasPrefix(to, "/") ||
		strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") || slices.Contains(strings.Split(t.Path, "/"), "..") {
		return "/"
	}
	return withQuery(t.EscapedPath(), t.Query())
}
