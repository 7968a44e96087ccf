// Package testenv is what end-to-end tests begin with: our programs, and addresses for
// daemons that are to come back to them.
package testenv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// ProgramsAre is the environment variable that names the folder with the programs, where
// whoever starts the tests has built them.
const ProgramsAre = "MILLRACE_PROGRAMS"

// Build returns the folder that the programs are in: the one that ProgramsAre names, or
// folder, into which it builds those of apps with the names, or all of them if it is given
// none.
func Build(folder string, names ...string) (string, error) {
	if built := os.Getenv(ProgramsAre); built != "" {
		return built, nil
	}
	if len(names) == 0 {
		names = []string{"..."}
	}
	args := []string{"build", "-o", folder + string(filepath.Separator)}
	for _, name := range names {
		args = append(args, "github.com/millrace-mq/millrace/apps/"+name)
	}
	// #nosec G204 -- whoever runs this has named the command
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return folder, nil
}

// TextLogs has set set the environment variables by which the programs log text: tests look
// for parts of lines, and whoever reads of a failure reads them.
func TextLogs(set func(variable, value string)) {
	for _, program := range []string{"QD", "LOOKUPD", "ADMIN", "STANDALONE", "PUB", "STAT", "TAIL", "TO_FILE", "TO_HTTP", "TO_QD"} {
		set(program+"_LOG_FORMAT", "text")
	}
}

var taken = struct {
	mu        sync.Mutex
	addresses map[string]bool
}{addresses: map[string]bool{}}

// Address returns a loopback address that nobody listens on, another one each time, for a
// program that is started afterwards; one's own process takes Listen.
func Address() (string, error) {
	l, err := Listen()
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Listen listens on an address that Address will not return. The port stays below those
// that Linux gives to outgoing connections: a client that dials a daemon which is down
// could otherwise be given the daemon's own port, and keep it from coming back. Listening
// again at once after a Close may fail: a process that is just being started by another
// goroutine has the socket, too, until it is the program.
func Listen() (net.Listener, error) {
	taken.mu.Lock()
	defer taken.mu.Unlock()
	for range 1000 {
		// #nosec G404 -- chance of a test
		a := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000))
		if taken.addresses[a] {
			continue
		}
		l, err := net.Listen("tcp", a)
		if err != nil {
			continue
		}
		taken.addresses[a] = true
		return l, nil
	}
	return nil, errors.New("no free port was found in a thousand tries")
}
