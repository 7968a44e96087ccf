package access

import "strings"

// Words says in words what somebody may who has the rights; empty if that is nothing.
func (r Rights) Words() string {
	var all []string
	for _, w := range []struct {
		action Action
		words  string
	}{
		{Publish, "publish"}, {Subscribe, "consume"}, {Look, "read messages"}, {Stats, "see figures and settings"},
		{Manage, "create, empty and delete"}, {Register, "register as a daemon, to which consumers then connect"},
	} {
		if r.Has(w.action) {
			all = append(all, w.words)
		}
	}
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}
