package signin

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
)

const keyBytes = 64

// loadKey reads the key that is in a file, or makes both. Without a file it is a new
// one.
func loadKey(path string, log *slog.Logger) ([]byte, error) {
	if path == "" {
		return newKey(), nil
	}
	key, err := readKey(path, log)
	if errors.Is(err, os.ErrNotExist) {
		if err = makeKey(path); err == nil || errors.Is(err, os.ErrExist) {
			key, err = readKey(path, log) // ours, or that of who was faster
		}
	}
	if err != nil {
		return nil, fmt.Errorf("session-key-file %s: %w", path, err)
	}
	return key, nil
}

func newKey() []byte {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails
	return key
}

func readKey(path string, log *slog.Logger) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > 4096 {
		return nil, errors.New("is no key: remove it, and a new one is made")
	}
	// #nosec G304 -- the operator's file
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != keyBytes {
		return nil, errors.New("is no key: remove it, and a new one is made")
	}
	if info.Mode().Perm()&0o077 != 0 {
		log.Warn("others may read the session key, and could sign in as anybody: chmod 600", "file", path)
	}
	return key, nil
}

// makeKey makes a file with a new key. It is there whole or not at all, and replaces
// none that is there.
func makeKey(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(newKey()) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// derive returns a key for one purpose.
func derive(key []byte, purpose string) []byte {
	derived, err := hkdf.Key(sha256.New, key, nil, "millrace admin "+purpose, 32)
	if err != nil {
		panic(err) // only for a length that there is not
	}
	return derived
}
