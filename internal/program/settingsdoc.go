package program

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// SettingsTable is a table in Markdown of what can be set on fs, whose name is the
// program's: key, flag, variable, default, and whether a reload changes it. live are the
// keys that one changes.
func SettingsTable(fs *flag.FlagSet, live []string) string {
	var b strings.Builder
	b.WriteString("| Key in the file | Flag | Environment | Default | Reload | What |\n|---|---|---|---|---|---|\n")
	for _, o := range Options(fs) {
		reload := "restart"
		if slices.Contains(live, o.Key) {
			reload = "yes"
		}
		unit, text := flag.UnquoteUsage(o.Flag)
		switch current(o.Flag).(type) {
		case bool:
			unit = "true or false"
		case time.Duration:
			unit = "duration"
		}
		value := o.Flag.DefValue
		if value != "" && !strings.Contains(text, "(default") {
			value = "`" + value + "`"
		} else {
			value = ""
		}
		text = strings.ReplaceAll(text, "|", "\\|")
		fmt.Fprintf(&b, "| `%s` | `--%s` | `%s` | %s | %s | %s: %s |\n", o.Key, o.Flag.Name, variable(fs, o.Flag.Name), value, reload, unit, text)
	}
	return b.String()
}
