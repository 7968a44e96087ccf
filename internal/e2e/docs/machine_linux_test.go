package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// asMachine is the environment variable with which the test's own program is started as
// the first process of a page's machine.
const asMachine = "MILLRACE_DOCS_MACHINE"

// apart lets cmd start with a network, processes and mounts of its own. Somebody who is
// not root is root there, where the system lets him.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() == 0 {
		return
	}
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
}

// machine is what the first process does: it makes the machine, goes to the repository,
// and becomes the shell. shell is a path; the rest comes by environment. Without a shell
// it only tries whether such a machine can be had.
func machine(shell string) error {
	if err := settle(os.Getenv("D"), repositoryPath()); err != nil || shell == "-" {
		return err
	}
	if err := os.Unsetenv(asMachine); err != nil {
		return err
	}
	script := filepath.Join(os.Getenv("D"), "driver.sh")
	return fmt.Errorf("becoming %s: %w", shell, syscall.Exec(shell, []string{filepath.Base(shell), script}, os.Environ()))
}

// settle makes what the processes of a page see: a loopback device, their own /proc, an
// empty /tmp, and the repository, in which writing changes a copy in memory. scratch, and
// what else in /tmp is needed, stays what it is.
func settle(scratch, repository string) error {
	if err := loopback(); err != nil {
		return err
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keeping mounts to oneself: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	tmp := filepath.Join(scratch, "tmp")
	layers := filepath.Join(scratch, "layers")
	for _, dir := range []string{tmp, layers} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=1777"); err != nil {
			return fmt.Errorf("mounting a tmpfs: %w", err)
		}
	}
	upper, work, merged := filepath.Join(layers, "upper"), filepath.Join(layers, "work"), filepath.Join(layers, "merged")
	for _, dir := range []string{upper, work, merged} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	layered := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", repository, upper, work)
	if err := syscall.Mount("overlay", merged, "overlay", 0, layered); err != nil {
		return fmt.Errorf("laying a copy over the repository: %w", err)
	}
	if err := bind(merged, under(tmp, repository)); err != nil {
		return err
	}
	for _, dir := range []string{scratch, os.Getenv("GOCACHE"), os.Getenv("GOMODCACHE")} {
		if at := under(tmp, dir); at != dir {
			if err := bind(dir, at); err != nil {
				return err
			}
		}
	}
	if err := syscall.Mount(tmp, "/tmp", "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("mounting /tmp: %w", err)
	}
	return os.Chdir(repository)
}

// under is where path has to be in tmp to be at path when tmp is /tmp: path itself if
// it is elsewhere.
func under(tmp, path string) string {
	if rest, ok := strings.CutPrefix(path, "/tmp/"); ok {
		return filepath.Join(tmp, rest)
	}
	return path
}

func bind(dir, at string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(dir, at, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %s at %s: %w", dir, at, err)
	}
	return nil
}

// loopback sets the new network's only device going.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("making a socket: %w", err)
	}
	defer func() { _ = unix.Close(s) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_LOOPBACK)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("setting the loopback device going: %w", err)
	}
	return nil
}

// repositoryPath is the absolute path of the repository.
func repositoryPath() string {
	path, err := filepath.Abs(repository)
	if err != nil {
		panic(err) // there is no working directory
	}
	return path
}
