//go:build !linux

package docs

import (
	"testing"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// TestPages only reads the pages: there are no namespaces to run them in.
func TestPages(t *testing.T) {
	for _, name := range pages(t) {
		readPage(t, name)
	}
	testenv.Missing(t, "Linux, without which no command of the documents is tried")
}
