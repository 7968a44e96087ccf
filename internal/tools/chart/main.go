// Command chart renders a chart with Helm's own engine, as "helm template" does, and prints
// an array of JSON with what Kubernetes would be given. Its arguments are the chart's folder
// and a document of values in JSON or YAML. With one argument, a YAML file, it prints that.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	var all []any
	var err error
	switch len(args) {
	case 1:
		var text []byte
		// #nosec G703 -- whoever runs this has named the file
		if text, err = os.ReadFile(args[0]); err == nil {
			all, err = documents(args[0], string(text))
		}
	case 2:
		all, err = render(args[0], args[1])
	default:
		err = errors.New("give a chart and values, or a YAML file")
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(all)
}

func render(folder, text string) ([]any, error) {
	values, err := chartutil.ReadValues([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("reading the values: %w", err)
	}
	for _, m := range lint.All(folder, values, "default", true).Messages {
		if m.Severity >= support.WarningSev {
			return nil, fmt.Errorf("lint: %w", m)
		}
	}
	c, err := loader.Load(folder)
	if err != nil {
		return nil, fmt.Errorf("loading the chart: %w", err)
	}
	options := chartutil.ReleaseOptions{Name: "mq", Namespace: "queues", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, values, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{Strict: true}.Render(c, all)
	if err != nil {
		return nil, err
	}
	var objects []any
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		found, err := documents(name, files[name])
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// documents are those of a YAML file, but for empty ones.
func documents(name, text string) (all []any, err error) {
	d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		var one map[string]any
		switch err := d.Decode(&one); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(one) > 0 {
			all = append(all, one)
		}
	}
}
