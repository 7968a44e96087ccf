// Command sbom writes what programs are made of: the modules that Go has linked into them,
// with their checksums, in CycloneDX's JSON. The same programs give the same bytes.
package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	version := flag.String("version", "", "`version` of the programs")
	flag.Parse()
	bom, err := describe(*version, flag.Args())
	if err == nil {
		err = cdx.NewBOMEncoder(os.Stdout, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// describe is the BOM of programs: each depends on its modules and the standard library.
func describe(version string, programs []string) (*cdx.BOM, error) {
	bom := cdx.NewBOM()
	bom.SerialNumber = "" // would be another one each time
	bom.Metadata = &cdx.Metadata{Component: &cdx.Component{
		BOMRef: "millrace", Type: cdx.ComponentTypeApplication, Name: "millrace", Version: version,
		PackageURL: "pkg:golang/github.com/millrace-mq/millrace@v" + version,
	}}
	modules := make(map[string]cdx.Component)
	var apps []cdx.Component
	var needs []cdx.Dependency
	for _, path := range programs {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading what %s is made of: %w", path, err)
		}
		name := filepath.Base(path)
		apps = append(apps, cdx.Component{BOMRef: name, Type: cdx.ComponentTypeApplication, Name: name, Version: version})
		uses := []string{standard(modules, info.GoVersion)}
		for _, m := range info.Deps {
			uses = append(uses, module(modules, m))
		}
		needs = append(needs, cdx.Dependency{Ref: name, Dependencies: &uses})
	}
	for _, m := range modules {
		apps = append(apps, m)
	}
	byRef := func(a, b cdx.Component) int { return strings.Compare(a.BOMRef, b.BOMRef) }
	slices.SortFunc(apps, byRef)
	bom.Components, bom.Dependencies = &apps, &needs
	return bom, nil
}

// standard adds Go's own library, which has its own vulnerabilities.
func standard(all map[string]cdx.Component, version string) string {
	version = strings.TrimPrefix(version, "go")
	ref := "pkg:golang/std@" + version
	all[ref] = cdx.Component{BOMRef: ref, Type: cdx.ComponentTypeLibrary, Name: "std", Version: version, PackageURL: ref}
	return ref
}

// module adds m, or what stands in for it.
func module(all map[string]cdx.Component, m *debug.Module) string {
	if m.Replace != nil {
		m = m.Replace
	}
	ref := "pkg:golang/" + m.Path + "@" + m.Version
	c := cdx.Component{BOMRef: ref, Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: ref}
	// h1: is Go's: the SHA-256 of the list of the module's files and theirs.
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && len(sum) > 0 {
		c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	}
	all[ref] = c
	return ref
}
