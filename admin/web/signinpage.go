package web

import (
	"bytes"
	"net/http"

	"github.com/millrace-mq/millrace/admin/signin"
)

// signInPage asks who somebody is.
type signInPage struct {
	*view
	Ways    signin.Ways
	To      string // where to go afterwards
	Name    string // that was typed
	Wrong   string // why the last attempt failed; empty: there was none
	Already bool   // somebody is signed in
}

func (u *UI) signIn(v *view) (any, error) { return u.signInPage(v), nil }

func (u *UI) signInPage(v *view) signInPage {
	v.Title = "Sign in"
	p := signInPage{view: v, To: back(v.Query.Get("back")), Already: v.Who.Role > signin.Nobody}
	if u.Ways != nil {
		p.Ways = u.Ways()
	}
	return p
}

// Refuse is a signin.Refuse: it shows as a page why a request gets no further. Who
// could not sign in gets the form again, with all but the password still in it.
func (u *UI) Refuse(w http.ResponseWriter, r *http.Request, status int, what, why string) {
	if r.URL.Path != "/sign-in" || r.Method != http.MethodPost {
		u.fail(w, r, &problem{status, what, why})
		return
	}
	v := u.plainView(r)
	data := u.signInPage(v)
	data.Wrong, data.Name, data.To = why, r.PostForm.Get("name"), back(r.PostForm.Get("back"))
	form, _ := u.match("/sign-in")
	var main bytes.Buffer
	if err := form.template.ExecuteTemplate(&main, "main", data); err != nil {
		u.fail(w, r, err)
		return
	}
	u.write(w, r, rendered{status: status, view: v, main: main.Bytes(), once: true})
}
