package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// tokenPrefix is how tokens begin, so that one can be recognized where it should not
// be, and is no flag.
const tokenPrefix = "mr_"

// NewToken returns a token of 256 random bits, and the lines of an access file that
// name whoever shows it.
func NewToken(name string) (token, lines string, err error) {
	if err := checkName(name); err != nil {
		return "", "", fmt.Errorf("new-token %q: the name %w", name, err)
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // it never fails
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(random)
	return token, fmt.Sprintf("[[token]]\nname = %q\nsha256 = \"%x\"\n", name, sha256.Sum256([]byte(token))), nil
}

// ReadToken reads a file that holds a token and nothing else but space around it. flag
// is how the file was named, for the error.
func ReadToken(flag, path string) (string, error) {
	// #nosec G304 -- the operator's file
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("%s %s: cannot be read: %w", flag, path, err)
	}
	token := strings.TrimSpace(string(text))
	switch {
	case token == "":
		return "", fmt.Errorf("%s %s: is empty: it must hold a token", flag, path)
	case len(text) > maxSecret || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("%s %s: must hold one token alone, in a line", flag, path)
	}
	return token, nil
}

// Append adds lines to the access file, which is made if there is none, unless it then
// could not be read. A daemon that reads the file meanwhile sees all of the lines or
// none.
func Append(path, lines string) error {
	// #nosec G304 -- the operator's file
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("access-file: reading what is there: %w", err)
	}
	if len(text) > 0 {
		lines = "\n" + lines
		if !strings.HasSuffix(string(text), "\n") {
			lines = "\n" + lines
		}
	}
	if _, err := Parse(path, append(text, lines...)); err != nil {
		return err
	}
	// One write at the end of the file: what others have added meanwhile stays.
	// #nosec G302 G304 -- the operator's file: hashes of tokens, no secrets; the umask decides
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("access-file: adding the token: %w", err)
	}
	_, err = f.WriteString(lines)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("access-file %s: adding the token: %w: see whether its end is whole", path, err)
	}
	return nil
}

// NewTokenFlag declares --new-token on fs. What it returns is called when the flags are
// known; if a token was asked for, it makes one, writes it to out, and its lines to the
// access file or, if that is empty, to out.
func NewTokenFlag(fs *flag.FlagSet) (issue func(accessFile string, out io.Writer) (asked bool, err error)) {
	name := fs.String("new-token", "", "make a token for who is called `name` in the access file, print it and end; its lines are added to --access-file, or printed")
	return func(accessFile string, out io.Writer) (bool, error) {
		asked := false
		fs.Visit(func(f *flag.Flag) { asked = asked || f.Name == "new-token" })
		if !asked {
			return false, nil
		}
		token, lines, err := NewToken(*name)
		if err != nil {
			return true, err
		}
		if accessFile != "" {
			if err := Append(accessFile, lines); err != nil {
				return true, err
			}
			lines = ""
		} else {
			lines = "\n" + lines
		}
		_, err = fmt.Fprintf(out, "%s\n%s", token, lines)
		return true, err
	}
}
