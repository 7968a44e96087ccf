package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

// What the Makefile tells the test.
const (
	axeIs          = "MILLRACE_AXE"         // axe.min.js; axe does not look if it is empty
	screenshotsAre = "MILLRACE_SCREENSHOTS" // folder that gets pictures; a temporary one if it is empty
)

// folder is where the programs are built to, and pictures go that nobody asked for.
var folder string

// Chromium is started once; each test has a tab, or several, in a context of
// cookies of its own.
var chromium context.Context

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	path, err := find()
	if err != nil {
		fmt.Println("skipped: the browser tests need chromium:", err)
		if os.Getenv("CI") == "true" {
			return 1
		}
		return 0
	}
	if folder, err = os.MkdirTemp("", "millrace-browser-"); err != nil {
		fmt.Fprintln(os.Stderr, "browser:", err)
		return 1
	}
	defer os.RemoveAll(folder)
	// Root may not have Chromium's sandbox, and /dev/shm of a container is small.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.UserDataDir(filepath.Join(folder, "profile")))
	all, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	var end context.CancelFunc
	chromium, end = chromedp.NewContext(all)
	defer end()
	if err := chromedp.Do(chromium); err != nil {
		fmt.Fprintln(os.Stderr, "browser: starting", path+":", err)
		return 1
	}
	testenv.TextLogs(func(variable, value string) { _ = os.Setenv(variable, value) })
	status := m.Run()
	_ = chromedp.Cancel(chromium) // waits for the process, which writes to the folder
	return status
}

// find returns the path of a Chromium.
func find() (string, error) {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("none of chromium, chromium-browser and google-chrome is in the PATH; CHROMIUM may name one")
}

// programs returns the folder that the programs are in.
var programs = sync.OnceValues(func() (string, error) {
	return testenv.Build(folder, "qd", "lookupd", "admin", "standalone")
})
