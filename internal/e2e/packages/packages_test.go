// Package packages tests what deploy/ has: that units are sound and hardened, that the .deb
// installs and its qd starts, that the image's root is enough to run in, and that compose
// file and chart ask programs for what these have. It holds no code.
package packages

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-mq/millrace/internal/e2e/testenv"
)

const root = "../../.."

// patience is how long anything may take, on a machine with much else to do.
const patience = 2 * time.Minute

func command(t *testing.T, environment []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), environment...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, errs.String())
	}
	return string(out)
}

func programs(t *testing.T) string {
	t.Helper()
	folder, err := testenv.Build(t.TempDir(), "qd", "lookupd", "admin")
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestUnits(t *testing.T) {
	testenv.Need(t, "systemd-analyze")
	built := programs(t)
	for _, daemon := range []string{"qd", "lookupd", "admin"} {
		text, err := os.ReadFile(root + "/deploy/systemd/millrace-" + daemon + ".service")
		if err != nil {
			t.Fatal(err)
		}
		// systemd-analyze looks for the program, which is not installed here.
		unit := filepath.Join(t.TempDir(), "millrace-"+daemon+".service")
		here := strings.ReplaceAll(string(text), "/usr/bin/"+daemon, filepath.Join(built, daemon))
		if err := os.WriteFile(unit, []byte(here), 0o644); err != nil {
			t.Fatal(err)
		}
		if out := command(t, nil, "systemd-analyze", "verify", "--man=no", unit); out != "" {
			t.Errorf("%s: %s", daemon, out)
		}
		// 15 is an exposure of 1.5.
		command(t, nil, "systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=15", unit)
	}
}

// The daemon tells who has started it.
func TestNotify(t *testing.T) {
	folder := t.TempDir()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(folder, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	told := func(want string) {
		t.Helper()
		if err := l.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for b := make([]byte, 4096); ; {
			n, err := l.Read(b)
			if err != nil {
				t.Fatalf("it has not told %q: %v", want, err)
			}
			if strings.Contains(string(b[:n]), want) {
				return
			}
		}
	}
	config := filepath.Join(folder, "qd.toml")
	if err := os.WriteFile(config, []byte("drain_timeout = \"20s\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(programs(t), "qd"), "--config="+config, "--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--data-path="+folder)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+l.LocalAddr().String(), "WATCHDOG_USEC=400000")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // an error is that it has ended
	told("READY=1")
	told("WATCHDOG=1")
	told("WATCHDOG=1")
	_ = cmd.Process.Signal(syscall.SIGHUP) // what fails is not told of
	told("RELOADING=1\nMONOTONIC_USEC=")
	told("READY=1")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	told("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestDebIsInstalled(t *testing.T) {
	if os.Geteuid() != 0 {
		testenv.Missing(t, "root, without whom no package is installed")
	}
	testenv.Need(t, "dpkg", "unshare", "setpriv", "curl", "tar", "gzip")
	dist := t.TempDir()
	command(t, []string{"PROGRAMS=qd lookupd admin", "FORMATS=deb", "ARCHES=" + runtime.GOARCH, "DIST=" + dist}, root+"/deploy/dist.sh")
	debs, _ := filepath.Glob(dist + "/*.deb") // the pattern is right
	if len(debs) != 1 {
		t.Fatalf("there are the packages %q", debs)
	}
	if err := exec.Command("unshare", "--mount", "--net", "true").Run(); err != nil {
		testenv.Missing(t, "namespaces, in which the package is installed")
	}
	out := command(t, nil, "unshare", "--mount", "--net", "sh", "testdata/machine.sh", debs[0], t.TempDir())
	for _, line := range []string{"/etc/millrace/qd.toml root:millrace 640", "OK", "the messages in /var/lib/millrace are kept", "all is as it should be"} {
		if !strings.Contains(out, line) {
			t.Errorf("there is no %q in\n%s", line, out)
		}
	}
}

// make reproducible compares all that is released.
func TestPackagesAreTheSameAgain(t *testing.T) {
	testenv.Need(t, "tar", "gzip")
	dist := t.TempDir()
	// Of whichever commit: somebody may make one in the meantime.
	what := []string{"PROGRAMS=to_file", "ARCHES=" + runtime.GOARCH, "DIST=" + dist, "COMMIT=" + strings.Repeat("c", 40), "SOURCE_DATE_EPOCH=1780000000"}
	var sums [2]string
	for i := range sums {
		command(t, what, root+"/deploy/dist.sh")
		sums[i] = read(t, dist+"/SHA256SUMS")
		if files := strings.Count(sums[i], "\n"); files != 4 {
			t.Errorf("there are %d files, and should be archive, SBOM, .deb and .rpm:\n%s", files, sums[i])
		}
	}
	if sums[0] != sums[1] {
		t.Errorf("made again it is\n%s and was\n%s", sums[1], sums[0])
	}
}

// Docker is not needed to know that the root of its image is enough.
func TestImage(t *testing.T) {
	if os.Geteuid() != 0 {
		testenv.Missing(t, "root, without whom nobody changes his root directory")
	}
	image := filepath.Join(t.TempDir(), "image")
	command(t, []string{"PROGRAMS=qd"}, root+"/deploy/rootfs.sh", image)
	if err := os.Chown(image+"/data", 65532, 65532); err != nil { // COPY --chown
		t.Fatal(err)
	}
	for dir := image; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/usr/bin/qd", "--tcp-address=127.0.0.1:0", "--http-address=/data/http", "--stop-timeout=0")
	for _, m := range setting.FindAllStringSubmatch(read(t, root+"/deploy/Dockerfile"), -1) {
		cmd.Env = append(cmd.Env, m[0])
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: image, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	cmd.Dir = "/data"
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		t.Log(lines.Text())
		if strings.Contains(lines.Text(), "qd listens") {
			_ = cmd.Process.Signal(os.Interrupt)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

var setting = regexp.MustCompile(`(?m)\b(QD|LOOKUPD)_([A-Z_]+)=(\S+)`)

// Every flag and variable in deploy/ is one that its program has.
func TestFlagsInFiles(t *testing.T) {
	built := programs(t)
	for _, m := range setting.FindAllStringSubmatch(read(t, root+"/deploy/Dockerfile"), -1) {
		name := strings.ToLower(strings.ReplaceAll(m[2], "_", "-"))
		command(t, nil, filepath.Join(built, strings.ToLower(m[1])), "--"+name+"="+m[3], "--version")
	}
	for _, c := range containers(t) {
		if i := slices.Index([]string{"qd", "lookupd", "admin"}, c[0]); i < 0 {
			t.Errorf("%q is no daemon", c)
			continue
		}
		command(t, nil, filepath.Join(built, c[0]), append(slices.Clone(c[1:]), "--version")...)
	}
}

// containers are the commands of the compose file's and the chart's.
func containers(t *testing.T) (all [][]string) {
	t.Helper()
	if out, err := exec.Command("go", "-C", root+"/internal/tools/chart", "mod", "download").CombinedOutput(); err != nil {
		testenv.Missing(t, fmt.Sprintf("Helm's engine, without which no chart is rendered: %v %.200s", err, out))
	}
	chart, err := filepath.Abs(root + "/build/tools/chart") // where it is up to date it is not linked again
	if err != nil {
		t.Fatal(err)
	}
	// Nothing is optimized: where it was never compiled that saves a third of the time for k8s.io.
	command(t, nil, "go", "-C", root+"/internal/tools/chart", "build", "-buildvcs=false", "-gcflags=k8s.io/...=-N -l -dwarf=false", "-ldflags=-s -w", "-o", chart, ".")
	var compose []struct {
		Services map[string]struct{ Command []string }
	}
	decode(t, command(t, nil, chart, root+"/deploy/compose.yaml"), &compose)
	for _, s := range compose[0].Services {
		all = append(all, s.Command)
	}
	guarded := `{"access":{"secret":"access"},"tls":{"secret":"tls","required":true}}`
	for _, values := range []string{`{}`, guarded, `{"admin":{"usersSecret":"users"},"serviceMonitor":{"enabled":true}}`} {
		all = append(all, objects(t, command(t, nil, chart, root+"/deploy/helm/millrace", values))...)
	}
	for _, wrong := range []string{`{"qd":{"replicas":0}}`, `{"qd":{"replica":3}}`, `{"image":{"digest":"latest"}}`} {
		if out, err := exec.Command(chart, root+"/deploy/helm/millrace", wrong).CombinedOutput(); err == nil {
			t.Errorf("the chart takes %s: %s", wrong, out)
		}
	}
	return all
}

// objects looks at what Kubernetes would be given, and returns containers' commands.
func objects(t *testing.T, text string) (all [][]string) {
	t.Helper()
	var found []struct {
		Kind     string
		Metadata struct{ Name string }
		Data     map[string]string
		Spec     struct {
			Endpoints []struct {
				Relabelings []struct{ TargetLabel, Replacement string }
			}
			Template struct {
				Spec struct {
					TerminationGracePeriodSeconds int
					Containers                    []struct{ Command, Args []string }
				}
			}
		}
	}
	decode(t, text, &found)
	alerts := read(t, root+"/deploy/prometheus/alerts.yml")
	kinds := map[string]int{}
	for _, o := range found {
		kinds[o.Kind]++
		for _, e := range o.Spec.Endpoints {
			if r := e.Relabelings; len(r) != 1 || r[0].TargetLabel != "job" || !strings.Contains(alerts, `job="`+r[0].Replacement+`"`) {
				t.Errorf("figures of %s get the labels %v: no alert goes by them", o.Metadata.Name, r)
			}
		}
		for _, c := range o.Spec.Template.Spec.Containers {
			all = append(all, slices.Concat(c.Command, c.Args))
		}
		switch o.Metadata.Name {
		case "mq-millrace-dashboard":
			if o.Data["millrace.json"] != read(t, root+"/deploy/grafana/millrace.json") {
				t.Error("the chart's dashboard is another one than deploy/grafana has")
			}
		case "mq-millrace-qd":
			if grace := o.Spec.Template.Spec.TerminationGracePeriodSeconds; o.Kind == "StatefulSet" && grace != 82 {
				t.Errorf("qd has %d s to end, and needs 52 s and something to write", grace)
			}
		}
	}
	if kinds["StatefulSet"] != 2 || kinds["PodDisruptionBudget"] != 2 || kinds["NetworkPolicy"] != 1 {
		t.Errorf("there are %v", kinds)
	}
	return all
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
