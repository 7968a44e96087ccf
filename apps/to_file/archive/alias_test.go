package archive_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/apps/to_file/archive"
)

// However a directory is called, and whatever leads to it: what is written in
// the place where it belongs stays there, finished or not, and so does what is
// there already.
func TestWorkDirThatIsTheOutputDir(t *testing.T) {
	for what, lead := range map[string]func(dir string) (work string){
		"by a link": func(dir string) string {
			must(t, os.Symlink("out", filepath.Join(dir, "work")))
			return filepath.Join(dir, "work")
		},
		"by another path": func(dir string) string {
			t.Chdir(dir)
			return "out"
		},
		"one below, by a link": func(dir string) string {
			must(t, os.Mkdir(filepath.Join(dir, "work"), 0o700))
			must(t, os.Mkdir(filepath.Join(dir, "out", "t"), 0o700))
			must(t, os.Symlink("../out/t", filepath.Join(dir, "work", "t")))
			return filepath.Join(dir, "work")
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			out := filepath.Join(dir, "out")
			must(t, os.Mkdir(out, 0o700))
			name, err := archive.Pattern{Format: "<TOPIC>/<TOPIC><REV>", Topic: "t", Revision: true}.Name()
			must(t, err)
			work := lead(dir)
			foreign := filepath.Join(out, "t", "t-000100") // finished, as far as anybody knows
			must(t, os.MkdirAll(filepath.Dir(foreign), 0o700))
			must(t, os.WriteFile(foreign, []byte("not a li"), 0o600))
			next := func() *archive.Archive {
				a, err := archive.New(archive.Config{Name: name, OutputDir: out, WorkDir: work, RotateInterval: time.Hour})
				must(t, err)
				must(t, a.Prepare())
				return a
			}
			for range 3 {
				a := next()
				must(t, a.Append(noon, rec("kept")))
				must(t, a.Close())
				must(t, a.Append(noon.Add(time.Second), rec("left")))
				must(t, a.Sync())
				a.Abandon()
			}
			must(t, next().Close())
			want := map[string]string{foreign: "not a li"}
			for rev := range 6 {
				want[filepath.Join(out, archive.Revision("t/t<REV>", rev))] = []string{"kept\n", "left\n"}[rev%2]
			}
			got := map[string]string{}
			files, err := filepath.Glob(filepath.Join(out, "t", "*"))
			must(t, err)
			for _, path := range files {
				b, err := os.ReadFile(path)
				must(t, err)
				got[path] = string(b)
			}
			check(t, got, want)
		})
	}
}
