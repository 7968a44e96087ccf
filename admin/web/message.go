package web

import (
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/millrace-mq/millrace/admin/audit"
	"github.com/millrace-mq/millrace/admin/messages"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/admin/web/body"
)

// Bodies are shown so far, and further by "show more".
const (
	firstShow = 16 << 10
	moreShow  = 256 << 10
)

// messagePage is one message, on each node that has one of this ID.
type messagePage struct {
	*view
	Topic, ID, Node string
	Found           []foundMessage
	Failed          []audit.Result
	Forms           []body.Form
	Can             map[string]bool
}

// foundMessage is a message on a node, with as much of its body as is shown.
type foundMessage struct {
	messages.Message
	Body  body.View
	Shown int64  // bytes of the body that Body shows
	More  int    // what to show of it next; 0: there is no more, or no more is told
	Rest  bool   // there is more that the node does not show
	Raw   string // where it is downloaded
}

func (u *UI) message(v *view) (any, error) {
	p := messagePage{view: v, Topic: v.Param("topic"), ID: strings.ToLower(v.Param("id")), Node: v.Query.Get("node"), Forms: body.Forms(), Can: u.can(v, "revive", "copy", "move", "delete-dead")}
	v.Title, v.API = "Message "+p.ID, u.path("/api/message", "?id", p.ID, "topic", p.Topic, "node", p.Node)
	v.Crumbs = []crumb{{"Topics", "/topics"}, {p.Topic, u.path("/topics", p.Topic)}}
	if u.Messages == nil {
		return nil, errors.New("no reader of messages was given to the pages")
	}
	found, failed, err := u.Messages.Find(v.Context(), v.Who, p.ID, p.Topic, p.Node)
	if err != nil {
		return nil, lookingProblem(err)
	}
	show, _ := strconv.Atoi(v.Query.Get("size"))
	form, _ := body.ParseForm(v.Query.Get("as"))
	for _, m := range found {
		p.Found = append(p.Found, u.showMessage(m, max(show, firstShow), form))
	}
	p.Failed = failed
	return p, nil
}

// showMessage shows up to limit bytes of a message's body.
func (u *UI) showMessage(m messages.Message, limit int, form body.Form) foundMessage {
	f := foundMessage{Message: m, Raw: u.rawURL(m.Topic, m.ID, m.Node)}
	if m.Bytes == nil {
		return f
	}
	data, cut := m.Bytes, m.Truncated
	switch {
	case len(data) > limit:
		data, cut = data[:limit], true
		f.More = moreShow
		if limit >= moreShow {
			f.More = messages.MaxWhole
		}
	case m.Truncated:
		f.Rest = true
	}
	f.Shown = int64(len(data))
	f.Body = body.Show(data, cut, form)
	return f
}

// Dead are the channels in which the message is dead.
func (f foundMessage) Dead() []string {
	var names []string
	for _, c := range f.Channels {
		if c.State == "dead" {
			names = append(names, c.Channel)
		}
	}
	return names
}

// raw sends a message's body as a file. Its type is one that no browser shows, so
// that whatever somebody has published cannot run as a page of ours.
func (u *UI) raw(w http.ResponseWriter, r *http.Request) {
	topic, id := unsegment(r.PathValue("topic")), r.PathValue("id")
	m, err := u.whole(r, topic, id)
	if err != nil {
		u.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": fileName(topic) + "-" + id + ".bin"}))
	h.Set("Content-Length", strconv.Itoa(len(m.Bytes)))
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(m.Bytes) // who has gone does not miss it
}

// whole is one message with all of its body.
func (u *UI) whole(r *http.Request, topic, id string) (m messages.Message, err error) {
	who := signin.FromContext(r.Context())
	switch {
	case u.Messages == nil:
		return m, errors.New("no reader of messages was given to the pages")
	case !u.Messages.Sees(who):
		return m, forbidden("Bodies of messages are not shown to the role %s.", who.Role)
	}
	found, failed, err := u.Messages.Find(r.Context(), who, id, topic, r.URL.Query().Get("node"))
	switch {
	case err != nil:
		return m, lookingProblem(err)
	case len(found) == 0:
		return m, &problem{http.StatusBadGateway, "The message cannot be read", "Not all nodes answered: " + failures(failed) + "."}
	case len(found) > 1:
		return m, badRequest("Several nodes have a message of this ID: go to the message, and download the one that you mean.")
	case found[0].Unreadable:
		return m, &problem{http.StatusBadGateway, "The message cannot be read", "Its node cannot read the body: it is damaged, or not in memory."}
	case found[0].Truncated:
		return m, &problem{http.StatusBadGateway, "The message is too large", "A node shows at most 1 MiB of a body; a consumer gets all of it."}
	}
	return found[0], nil
}

// failures are the nodes that failed, and why, in a line.
func failures(failed []audit.Result) string {
	texts := make([]string, len(failed))
	for i, f := range failed {
		texts[i] = f.Node + ": " + f.Error
	}
	return strings.Join(texts, "; ")
}

// fileName is a topic's name as a part of a file's: what some systems do not allow
// there, such as "#", becomes "_".
func fileName(topic string) string {
	return strings.TrimLeft(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '_'
	}, topic), ".")
}
