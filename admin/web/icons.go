package web

import "html/template"

// strokes are the icons: paths on a grid of 16 by 16, drawn with a line of the text's
// colour. They say nothing that does not stand beside them as a word.
var strokes = map[string]string{
	"failure":  "M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2zM8 4.8v3.7M8 11v.2",
	"warning":  "M8 1.8 15 14H1zM8 6v3.8M8 11.8v.2",
	"note":     "M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM8 7.3v3.9M8 4.8V5",
	"ok":       "M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM5 8.2l2.1 2.1L11 6.2",
	"paused":   "M5.5 3v10M10.5 3v10",
	"down":     "M3.5 3.5l9 9M12.5 3.5l-9 9",
	"draining": "M8 2v8M4.5 7 8 10.5 11.5 7M3 14h10",
	"pulse":    "M1 8.5h3l2-5.5 3.5 10L11.8 8.5H15",
	"topics":   "M2 3.5h12M2 8h12M2 12.5h7",
	"nodes":    "M2 2.5h12v4H2zM2 9.5h12v4H2zM4.5 4.5h.1M4.5 11.5h.1",
	"lookup":   "M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM10.8 5.2 9.3 9.3l-4.1 1.5 1.5-4.1z",
	"counter":  "M2 13.5V9M6 13.5v-7M10 13.5V8M14 13.5v-11",
	"audit":    "M3 1.5h10v13H3zM5.5 5h5M5.5 8h5M5.5 11h3",
	"settings": "M2 4.5h6M12 4.5h2M2 11.5h2M8 11.5h6M10 2.7v3.6M6 9.7v3.6",
	"search":   "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.7 10.7 14.5 14.5",
	"menu":     "M2 4h12M2 8h12M2 12h12",
	"sun":      "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1.1 1.1M11.9 11.9 13 13M13 3l-1.1 1.1M4.1 11.9 3 13",
	"moon":     "M13.8 9.7A6.2 6.2 0 0 1 6.3 2.2a6.2 6.2 0 1 0 7.5 7.5z",
	"system":   "M1.5 2.5h13v8.5h-13zM5.5 14h5M8 11v3",
	"hold":     "M5.5 3v10M10.5 3v10",
	"go":       "M4.5 2.5 12.5 8l-8 5.5z",
	"up":       "M4 9.5 8 5.5l4 4",
	"downward": "M4 6.5l4 4 4-4",
	"copy":     "M5.5 5.5h8v8h-8zM2.5 10.5v-8h8",
	"lock":     "M3.5 7h9v7h-9zM5.5 7V4.5a2.5 2.5 0 0 1 5 0V7",
	"person":   "M8 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2.5 14c.6-3 2.7-4.3 5.5-4.3s4.9 1.3 5.5 4.3",
}

// icon draws one of strokes; what has none gets nothing.
func icon(name string) template.HTML {
	d, ok := strokes[name]
	if !ok {
		return ""
	}
	// #nosec G203 -- one of the strokes above
	return template.HTML(`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d="` + d + `"/></svg>`)
}
