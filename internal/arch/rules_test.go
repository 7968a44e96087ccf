package arch

// module is the import path of the repository's root.
const module = "github.com/millrace-mq/millrace"

// folder is a rule for the packages in a folder and below it. A package obeys
// the rule with the longest matching path, and always may import what lies in
// the same rule's folder.
type folder struct {
	path       string
	mayImport  []string // folders of this repository
	mayNot     []string // standard packages, with all below them
	pure       bool     // no goroutine and no look at the clock either
	thirdParty []string // modules from outside
	inTests    []string // such that its tests, and nothing else of it, may use too
}

// The arrows: apps → daemons → internal → protocol, and clients → protocol.
// Daemons know neither each other nor the clients: what both need is either
// the wire (protocol) or plumbing (internal).
var folders = []folder{
	{path: "protocol"},
	{path: "internal", mayImport: []string{"protocol"}, thirdParty: []string{httprouter}},
	{path: "internal/e2e", mayImport: []string{"clients", "internal", "protocol"}, inTests: []string{compress}}, // tests all of it
	{path: "internal/access", mayImport: []string{"internal"}, thirdParty: []string{toml}},
	{path: "internal/program/logs", mayImport: []string{"internal/logtest"}}, // in tests
	{path: "internal/program", mayImport: []string{"protocol"}, thirdParty: []string{toml, term, systemd}},
	{path: "internal/e2e/cluster", mayImport: []string{"clients", "internal", "protocol"}}, // its writers and readers are our own clients
	{path: "internal/e2e/browser", mayImport: []string{"clients", "admin/cluster", "admin/history", "internal", "protocol"}, thirdParty: []string{chromedp, cdproto}},
	{path: "internal/e2e/scripts", mayImport: []string{"internal"}, inTests: []string{testscript}},
	{path: "internal/e2e/cluster/network", thirdParty: []string{sys}},
	{path: "internal/e2e/docs", mayImport: []string{"internal"}, inTests: []string{sys}},
	{path: "qd", mayImport: []string{"internal", "protocol"}, thirdParty: []string{httprouter, diskqueue}},
	{path: "lookupd", mayImport: []string{"internal", "protocol"}, thirdParty: []string{httprouter}},
	{path: "lookupd/metrics", mayImport: []string{"internal", "protocol"}, thirdParty: []string{prometheus}},
	{path: "admin", mayImport: []string{"internal", "protocol"}, thirdParty: []string{httprouter, toml}},
	{path: "admin/fleet", pure: true, mayNot: []string{"context", "io", "log", "net", "os", "sync", "syscall"}},
	{path: "admin/history", mayImport: []string{"admin/fleet"}, mayNot: []string{"net", "os"}},
	{path: "admin/trouble", mayImport: []string{"admin/fleet", "admin/history"}, pure: true, mayNot: []string{"net", "os"}},
	{path: "admin/cluster", mayImport: []string{"admin/fleet", "admin/audit", "internal", "protocol"}},
	{path: "admin/sampler", mayImport: []string{"admin/fleet", "admin/audit", "admin/cluster", "admin/history", "admin/trouble", "internal", "protocol"}, thirdParty: []string{jsontext}},
	{path: "admin/signin", mayImport: []string{"internal"}, thirdParty: []string{toml, oidc, oauth, crypto, securecookie}},
	{path: "admin/audit", mayImport: []string{"internal"}},
	{path: "admin/guard", mayImport: []string{"admin/signin", "internal"}, thirdParty: []string{compress}},
	{path: "admin/search", mayImport: []string{"admin/fleet"}, pure: true, mayNot: []string{"net", "os"}},
	{path: "admin/messages", mayImport: []string{"admin/fleet", "admin/audit", "admin/signin", "admin/cluster", "internal", "protocol"}},
	{path: "admin/actions", mayImport: []string{"admin/fleet", "admin/audit", "admin/signin", "admin/cluster", "internal", "protocol"}},
	{path: "admin/web", mayImport: []string{"admin/fleet", "admin/audit", "admin/signin", "admin/cluster", "admin/messages", "admin/search", "admin/actions", "admin/history", "admin/sampler", "internal", "protocol"}, thirdParty: []string{compress}, inTests: []string{html}},
	{path: "admin/web/body", pure: true, mayNot: []string{"context", "log", "os", "sync", "syscall"}},
	{path: "admin/api", mayImport: []string{"admin/fleet", "admin/audit", "admin/signin", "admin/cluster", "admin/messages", "admin/search", "admin/actions", "admin/history", "admin/sampler", "admin/trouble", "internal", "protocol"}, thirdParty: []string{httprouter}}, // trouble in tests
	{path: "clients", mayImport: []string{"protocol"}, thirdParty: []string{snappy}, inTests: []string{prometheus}},                                                                                                                                                         // in an example
	{path: "clients/go/spool", mayImport: []string{"clients"}, thirdParty: []string{diskqueue}},
	{path: "clients/conformance", mayImport: []string{"clients", "protocol"}, thirdParty: []string{snappy}},
	{path: "clients/conformance/script", mayImport: []string{"protocol"}, pure: true, mayNot: []string{"context", "io", "log", "net", "os", "sync", "syscall"}},
	{path: "apps", mayImport: []string{"qd", "lookupd", "admin", "clients", "internal", "protocol"}},
	{path: "apps/to_file", mayImport: []string{"apps/internal", "clients", "internal", "protocol"}, thirdParty: []string{compress}},
	{path: "apps/internal/record", pure: true, mayNot: []string{"context", "log", "net", "os", "syscall"}, thirdParty: []string{jsontext}},
	{path: "apps/internal/fields", pure: true, mayNot: []string{"context", "log", "net", "os", "syscall"}, thirdParty: []string{jsontext}},
	{path: "apps/stat", mayImport: []string{"admin", "internal", "protocol"}, thirdParty: []string{term}, inTests: []string{pty}},
	{path: "apps/stat/board", mayImport: []string{"admin/fleet", "admin/history"}, pure: true, mayNot: []string{"context", "io", "log", "net", "os", "sync", "syscall"}},
	{path: "apps/to_http/pool", pure: true, mayNot: []string{"context", "io", "log", "net", "os", "sync", "syscall"}},
	{path: "apps/to_http/endpoint", mayNot: []string{"os"}}, // knows no messages, and no daemon
	{path: "apps/pub", mayImport: []string{"apps/internal", "clients", "internal", "protocol"}, thirdParty: []string{compress, jsontext}, inTests: []string{pty}},
	{path: "apps/bench/load", mayImport: []string{"protocol"}, thirdParty: []string{snappy, compress}},
	{path: "apps/bench/pipeline", mayImport: []string{"apps/bench", "clients", "internal", "qd"}, thirdParty: []string{compress}}, // clients and qd in tests
	{path: "apps/bench/work", mayImport: []string{"apps/bench", "internal", "protocol"}, thirdParty: []string{snappy, compress}},  // in tests

	// Inside qd, too, arrows point down: to what is asked of a disk, to the core,
	// and from the broker, which puts them together, to all of them.
	{path: "qd/disk"},
	{path: "qd/layer", thirdParty: []string{snappy, compress}},
	{path: "qd/broker", mayImport: []string{"internal", "protocol", "qd/acks", "qd/disk", "qd/journal", "qd/queue", "qd/spill", "qd/takeover"}, thirdParty: []string{diskqueue, sketches}}, // diskqueue in tests
	{path: "qd/auth"},
	{path: "qd/journal", mayImport: []string{"protocol", "qd/disk"}},
	{path: "qd/acks", mayImport: []string{"qd/disk"}},
	{path: "qd/takeover", mayImport: []string{"protocol"}, thirdParty: []string{diskqueue}},
	{
		path: "qd/metrics", mayImport: []string{"internal", "protocol", "qd/stats", "qd/limits", "qd/broker", "qd/peers", "qd/queue", "qd/session"},
		thirdParty: []string{prometheus},
	},
	{path: "qd/spill", mayImport: []string{"protocol", "qd/queue"}, thirdParty: []string{diskqueue}},

	// The core gets time as a value and is locked by its owner, so that every
	// history can be replayed in a test without waiting.
	{
		path: "qd/queue", mayImport: []string{"protocol"}, pure: true,
		mayNot: []string{"context", "io", "log", "net", "os", "os/signal", "sync", "syscall"},
	},

	// So does who has which topic. It joins hosts and ports as net does.
	{
		path: "lookupd/registry", mayImport: []string{"protocol"}, pure: true,
		mayNot: []string{"context", "io", "log", "net/http", "os", "os/signal", "sync", "syscall"},
	},
}

// Modules from outside. A new one is a decision: name it here, and give it
// only to the folders that need it.
const (
	httprouter = "github.com/julienschmidt/httprouter"
	diskqueue  = "github.com/nsqio/go-diskqueue"
	toml       = "github.com/BurntSushi/toml"
	snappy     = "github.com/golang/snappy"
	compress   = "github.com/klauspost/compress"
	prometheus = "github.com/prometheus/client_golang"
	sketches   = "github.com/DataDog/sketches-go"
	sys        = "golang.org/x/sys"
	jsontext   = "github.com/go-json-experiment/json"

	oidc         = "github.com/coreos/go-oidc/v3"
	oauth        = "golang.org/x/oauth2"
	crypto       = "golang.org/x/crypto"
	chromedp     = "github.com/chromedp/chromedp"
	cdproto      = "github.com/chromedp/cdproto"
	securecookie = "github.com/gorilla/securecookie"
	html         = "golang.org/x/net/html"
	term         = "golang.org/x/term"
	pty          = "github.com/creack/pty"
	testscript   = "github.com/rogpeppe/go-internal/testscript"
	systemd      = "github.com/coreos/go-systemd/v22/daemon"
)

// forTests are modules that every test may use, and nothing else.
var forTests = []string{"go.uber.org/goleak"}
