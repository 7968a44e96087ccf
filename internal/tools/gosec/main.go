// Command gosec looks for what is unsafe, as a tool of go vet: so a package is looked
// at again only when it has changed, and what gosec's own command brings besides (three
// services that propose fixes) is not built.
//
//	go build -C internal/tools -o build/gosec ./gosec && go vet -vettool=build/gosec ./...
//
// All rules are on. What is not true of a line is answered there: // #nosec Gnnn -- why.
package main

import (
	"strings"

	"github.com/securego/gosec/v2/goanalysis"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/unitchecker"
)

func main() {
	gosec := *goanalysis.Analyzer
	gosec.Run = exceptTests
	unitchecker.Main(&gosec)
}

// exceptTests leaves test files out, as gosec's own command does: what they are given
// comes from themselves, and they have no one to protect.
func exceptTests(pass *analysis.Pass) (any, error) {
	p := *pass
	p.Report = func(d analysis.Diagnostic) {
		if !strings.HasSuffix(pass.Fset.Position(d.Pos).Filename, "_test.go") {
			pass.Report(d)
		}
	}
	return goanalysis.Analyzer.Run(&p)
}
