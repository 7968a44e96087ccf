package clients

import (
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/secure/securetest"
)

// What runs already is named by environment variables: brokers as
// host:port[/httphost:port], separated by commas, the second being the HTTP face,
// by which topics are deleted; and a file of the roots that vouch for them, if they
// offer TLS.
const (
	brokersAre    = "MILLRACE_BROKERS"
	brokersRoots  = "MILLRACE_BROKERS_CA"
	topicsOfTests = "clients-test-"
)

// broker is a daemon that scenarios run against, Millrace's or NSQ's.
type broker struct {
	tcp  string
	node *node  // to ask over HTTP; nil if it has no HTTP face
	ca   string // file of the roots that vouch for it; "" if it does not offer TLS
}

// brokers are those named by the environment, or else a qd that is started.
func brokers(t *testing.T) (list []broker) {
	t.Helper()
	named := os.Getenv(brokersAre)
	if named == "" {
		return []broker{ownBroker(t)}
	}
	for _, entry := range strings.Split(named, ",") {
		tcp, web, hasWeb := strings.Cut(strings.TrimSpace(entry), "/")
		b := broker{tcp: tcp, ca: os.Getenv(brokersRoots)}
		if hasWeb {
			b.node = &node{name: tcp, http: web}
		}
		list = append(list, b)
	}
	return list
}

func ownBroker(t *testing.T) broker {
	t.Helper()
	signer, err := securetest.NewAuthority("the test's authority")
	must(t, err)
	cert, key, err := signer.Issue("qd", time.Time{})
	must(t, err)
	dir := t.TempDir()
	for name, text := range map[string][]byte{"ca.pem": signer.PEM, "cert.pem": cert, "key.pem": key} {
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	n := newQD(t, "qd", nil, "--tls-cert="+filepath.Join(dir, "cert.pem"), "--tls-key="+filepath.Join(dir, "key.pem"))
	startAll(t, n)
	return broker{n.tcp, n, filepath.Join(dir, "ca.pem")}
}

// topic is a new name. The topic is deleted after the test, if the broker can be
// told to.
func (b broker) topic(t *testing.T) string {
	name := topicsOfTests + strings.ToLower(rand.Text()[:10])
	t.Cleanup(func() {
		if b.node != nil {
			_ = b.node.ask(http.MethodPost, "/topic/delete?topic="+name, nil) // a test that failed may have made none
		}
	})
	return name
}
