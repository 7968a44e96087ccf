package actions_test

import (
	"net/http"
	"testing"

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
