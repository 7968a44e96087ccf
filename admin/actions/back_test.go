package actions_test

import (
	"net/http"
	"testing"

	"github.com/millrace-mq/millrace/admin/actions"
	"github.com/millrace-mq/millrace/admin/cluster/clustertest"
)

// Who publishes to a topic while it is deleted brings it back, and that is said.
func TestDeletedAndBackAgain(t *testing.T) {
	b := start(t, noSettings, clustertest.Nodes(3), clustertest.Topics(1))
	comesBack := func(path string) {
		b.Nodes[1].HandlePath(path, func(w http.ResponseWriter, r *http.Request) {}) // says that it is done
	}
	comesBack("/channel/delete")
	b.expect("delete-channel topic-00000/channel-0", "lookupd-0 ok\nqd-0 ok\n"+
		"qd-1 ok (topic-00000/channel-0 is there again: somebody publishes to it or consumes it)\nqd-2 ok")
	comesBack("/topic/delete")
	b.expect("delete-topic topic-00000", "lookupd-0 ok\nqd-0 ok\n"+
		"qd-1 ok (topic-00000 is there again: somebody publishes to it or consumes it)\nqd-2 ok")
}

// It is not looked for thousands of topics.
func TestNoLookBackForMany(t *testing.T) {
	b := start(t, noSettings, clustertest.Topics(10))
	if _, err := b.Do(t.Context(), admin, "api", actions.Request{Action: "delete-topic", Targets: many(9)}); err != nil {
		t.Fatal(err)
	}
	if n := b.Nodes[0].Requests("/stats"); n != 0 {
		t.Errorf("%d times it was asked what it has", n)
	}
	b.expect("delete-topic topic-00009", "lookupd-0 ok\nqd-0 ok")
	if n := b.Nodes[0].Requests("/stats"); n != 1 {
		t.Errorf("%d times it was asked what it has, want 1", n)
	}
}
