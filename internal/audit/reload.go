package audit

import (
	"fmt"
	"strings"

	"github.com/millrace-mq/millrace/internal/program"
)

// Reloaded says what a reload of settings has changed.
func Reloaded(r program.Reloaded) string {
	var all []string
	for _, d := range r.Changed {
		all = append(all, fmt.Sprintf("%s: %s -> %s", d.Key, d.From, d.To))
	}
	for _, d := range r.NeedsRestart {
		all = append(all, d.Key+" needs a restart")
	}
	return strings.Join(all, "; ")
}
