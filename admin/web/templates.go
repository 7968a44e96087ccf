package web

import (
	"embed"
	"html/template"
	"strings"
)

//go:embed templates/*.html
var templateFiles embed.FS

// shared are the templates that every page may use.
var shared = []string{"templates/layout.html", "templates/parts.html", "templates/looking.html"}

// parsePages gives each page its template, beside the shared ones: every page has a
// "main" of its own.
func (u *UI) parsePages(pages []page) []page {
	base := template.Must(template.New("").Funcs(u.funcs()).ParseFS(templateFiles, shared...))
	u.shared = base
	for i := range pages {
		p := &pages[i]
		p.segments = strings.Split(strings.Trim(p.path, "/"), "/")
		p.template = template.Must(template.Must(base.Clone()).ParseFS(templateFiles, "templates/"+p.name+".html"))
	}
	return pages
}
