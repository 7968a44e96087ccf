package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// repository is the root of the repository.
const repository = "../../.."

// pages are the documents that people follow.
func pages(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"*.md", "docs/*.md", "clients/*/README.md", "deploy/*.md", "deploy/*/*.md", "deploy/*/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(repository, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			name, err := filepath.Rel(repository, path)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, filepath.ToSlash(name))
		}
	}
	if len(names) < 10 {
		t.Fatalf("only %d pages were found: %v", len(names), names)
	}
	return names
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code    = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// Links from page to page lead somewhere, to headings as well.
func TestLinks(t *testing.T) {
	for _, name := range pages(t) {
		text, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			file, place, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, ":") {
				continue // elsewhere in the world
			}
			at := filepath.Join(repository, name)
			if file != "" {
				at = filepath.Join(filepath.Dir(at), filepath.FromSlash(file))
			}
			if _, err := os.Stat(at); err != nil {
				t.Errorf("%s: %s leads nowhere", name, m[1])
			} else if place != "" && !slices.Contains(headings(t, at), place) {
				t.Errorf("%s: %s leads to no heading of that page", name, m[1])
			}
		}
	}
}

// headings are the fragments by which the headings of a page are linked to.
func headings(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range heading.FindAllStringSubmatch(string(text), -1) {
		plain := dropped.ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(plain, " ", "-"))
	}
	return all
}

// The index of docs names every page in it.
func TestIndex(t *testing.T) {
	index, err := os.ReadFile(filepath.Join(repository, "docs/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range pages(t) {
		if dir, file := filepath.Split(name); dir == "docs/" && file != "README.md" && !strings.Contains(string(index), "]("+file+")") {
			t.Errorf("docs/README.md does not name %s", name)
		}
	}
}
