// Command admin shows what all daemons are doing, in a browser, and changes it.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/millrace-mq/millrace/admin"
	"github.com/millrace-mq/millrace/admin/signin"
	"github.com/millrace-mq/millrace/internal/access"
	"github.com/millrace-mq/millrace/internal/program"
)

func main() {
	itself.Main()
}

// declare declares the flags of an admin, and returns what they say once they are read.
func declare(fs *flag.FlagSet) func() *admin.Settings {
	settings := admin.DefaultSettings()
	settings.Flags(fs)
	fs.Bool(hashFlag, false, "read a password from standard input, print what stands for it in --users-file, and end")
	program.Instead(fs, hashFlag)
	program.ConfigFile(fs)
	origins := program.OriginsOf(fs)
	return func() *admin.Settings {
		settings.Origins = origins()
		return &settings
	}
}

const hashFlag = "hash-password"

func setup(fs *flag.FlagSet, std program.Stdio) func(context.Context) error {
	read, issue := declare(fs), access.NewTokenFlag(fs)
	program.Instead(fs, "new-token")
	program.Checkable(fs, func() error { return read().Validate() }, func() error { return read().CheckFiles() })
	return func(ctx context.Context) error {
		if fs.Lookup(hashFlag).Value.String() == "true" {
			return hashPassword(ctx, std)
		}
		if asked, err := issue(read().AccessFile, std.Out); asked {
			return err
		}
		if asked, err := issue(read().AccessFile, std.Out); asked {
			return err
		}
		hangups := program.CatchHangups()
		defer hangups.Release()
		settings := read()
		settings.Reread = program.Again(fs, declare)
		if err := settings.Validate(); err != nil {
			return err
		}
		log, level, err := program.Logger(std.Err, settings.LogSettings())
		if err != nil {
			return err
		}
		if os.Getenv("GOMEMLIMIT") == "" {
			debug.SetMemoryLimit(settings.HistoryMemory + besides)
		}
		d, err := admin.Listen(*settings, log, level)
		if err != nil {
			return err
		}
		defer hangups.Serve(program.TellingOfReload(func() { _, _ = d.Reload() }))() // which logs how it went
		return program.RunSupervised(ctx, ctx, d)
	}
}

// besides is what an admin of 10,000 topics needs beside their past: snapshots, answers of
// daemons, pages. Go would let the heap grow to twice what is in use before it collects.
const besides = 144 << 20

// maxLine is the most bytes of a line that is read for a password: more than one has, so
// that none that is too long is cut and taken.
const maxLine = 4096

// hashPassword reads a line and prints its hash. It does not wait for the line longer than
// ctx.
func hashPassword(ctx context.Context, std program.Stdio) error {
	var line string
	read := make(chan error, 1)
	go func() { // who reads a terminal cannot be told to stop
		var err error
		line, err = bufio.NewReader(io.LimitReader(std.In, maxLine)).ReadString('\n')
		read <- err
	}()
	select {
	case err := <-read:
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the password from standard input: %w", err)
		}
	case <-ctx.Done():
		return errors.New("hash-password: interrupted")
	}
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return errors.New("hash-password: type a password, or pipe one line into standard input")
	}
	hashed, err := signin.Hash(password)
	if err != nil {
		return fmt.Errorf("hashing the password: %w", err)
	}
	_, err = fmt.Fprintln(std.Out, hashed)
	return err
}
