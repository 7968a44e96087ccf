package web

import (
	"encoding/json"
	"net/http"

	"github.com/millrace-mq/millrace/admin/fleet"
	"github.com/millrace-mq/millrace/admin/search"
	"github.com/millrace-mq/millrace/admin/signin"
)

// maxPalette is how many names the palette offers: more are not looked through.
const maxPalette = 12

// found is a line of the palette.
type found struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	URL  string `json:"url"`
}

// find answers the palette while somebody types: names of the newest snapshot, which
// costs the daemons nothing. Until something is typed, it offers what is worst.
func (u *UI) find(w http.ResponseWriter, r *http.Request) {
	if signin.FromContext(r.Context()).Role < signin.Viewer {
		http.Error(w, "sign in first", http.StatusUnauthorized)
		return
	}
	s, q := u.Source.Latest(), r.FormValue("q")
	list := []found{}
	if q == "" {
		list = u.worstPlaces(s)
	}
	if id, ok := asMessageID(q); ok {
		list = append(list, found{"message", id, u.url("/search", "?q", id)})
	}
	hits, _ := search.Names(s, q, maxPalette)
	for _, h := range hits {
		name, at := u.placeOf(h)
		list = append(list, found{h.Kind.String(), name, u.Base + at})
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(list) // who has gone does not miss it
}

// worstPlaces are the topics and channels with the worst troubles, each once.
func (u *UI) worstPlaces(s *fleet.Snapshot) []found {
	list := []found{}
	seen := map[string]bool{}
	for _, t := range s.Troubles {
		f := found{"topic", t.Topic, u.url("/topics", t.Topic)}
		if t.Channel != "" {
			f = found{"channel", t.Topic + "/" + t.Channel, u.url("/topics", t.Topic, t.Channel)}
		}
		if t.Topic == "" || seen[f.URL] {
			continue
		}
		seen[f.URL] = true
		if list = append(list, f); len(list) == maxPalette {
			break
		}
	}
	return list
}
