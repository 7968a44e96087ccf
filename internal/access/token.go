package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
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

// Append adds lines to the access file, which is made if there is none, unless it then
// could not be read. A daemon that reads the file meanwhile sees all of the lines or
// none.
func Append(path, lines string) error {
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
