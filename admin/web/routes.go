package web

import "github.com/millrace-mq/millrace/admin/signin"

// routes are all pages. Where two fit an address, the first one is meant.
func routes() []page {
	return []page{
		{path: "/", name: "overview", nav: "/", role: signin.Viewer, show: (*UI).overview},
		{path: "/topics", name: "topics", nav: "/topics", role: signin.Viewer, show: (*UI).topics},
		{path: "/topics/{topic}", name: "topic", nav: "/topics", role: signin.Viewer, show: (*UI).topic},
		{path: "/topics/{topic}/{channel}", name: "channel", nav: "/topics", role: signin.Viewer, show: (*UI).channel},
		{path: "/topics/{topic}/{channel}/messages", name: "messages", nav: "/topics", role: signin.Viewer, show: (*UI).messages, still: true},
		{path: "/topics/{topic}/messages/{id}", name: "message", nav: "/topics", role: signin.Viewer, show: (*UI).message, still: true},
		{path: "/do/{action}", name: "do", role: signin.Viewer, show: (*UI).do},
		{path: "/nodes", name: "nodes", nav: "/nodes", role: signin.Viewer, show: (*UI).nodes},
		{path: "/nodes/{node}", name: "node", nav: "/nodes", role: signin.Viewer, show: (*UI).node},
		{path: "/lookup", name: "lookup", nav: "/lookup", role: signin.Viewer, show: (*UI).lookup},
		{path: "/search", name: "search", role: signin.Viewer, show: (*UI).search, still: true},
		{path: "/audit", name: "audit", nav: "/audit", role: signin.Viewer, show: (*UI).audit},
		{path: "/audit/{number}", name: "entry", nav: "/audit", role: signin.Viewer, show: (*UI).auditEntry},
		{path: "/settings", name: "settings", nav: "/settings", role: signin.Viewer, show: (*UI).settings, still: true},
		{path: "/counter", name: "counter", nav: "/counter", role: signin.Viewer, show: (*UI).counter},
		{path: "/sign-in", name: "sign-in", role: signin.Nobody, show: (*UI).signIn, still: true},
	}
}

// menu is what can be reached from everywhere.
var menu = []navEntry{
	{Name: "What is wrong", Path: "/", Icon: "pulse", Key: "h", Count: "troubles"},
	{Name: "Topics", Path: "/topics", Icon: "topics", Key: "t", Count: "topics"},
	{Name: "Nodes", Path: "/nodes", Icon: "nodes", Key: "n", Count: "nodes"},
	{Name: "Lookup", Path: "/lookup", Icon: "lookup", Key: "l"},
	{Name: "Counter", Path: "/counter", Icon: "counter", Key: "c"},
	{Name: "Audit", Path: "/audit", Icon: "audit", Key: "a"},
	{Name: "Settings", Path: "/settings", Icon: "settings", Key: "s"},
}
